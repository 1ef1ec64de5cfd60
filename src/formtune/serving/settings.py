"""What a server allows, and who may ask."""

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from formtune.errors import SettingError

KEY_VARIABLE = "FORMTUNE_API_KEY"
SHORTEST_KEY = 16


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one client may ask for.

    Attributes:
        body_size_bytes: a longer request body is answered with 413.
        max_tokens: the most tokens of one answer; more is refused with 400.
        default_max_tokens: tokens of an answer when the request does not say.
        n_inputs: the most texts in one call of ``/v1/classify``.
        queue_size: requests that wait or run at the same time; the next is answered with 429.
        timeout_s: seconds from the request to the end of its answer; then 504.
        drain_s: seconds that running answers get after SIGTERM.
    """

    body_size_bytes: int = 1 << 20
    max_tokens: int = 1024
    default_max_tokens: int = 256
    n_inputs: int = 64
    queue_size: int = 64
    timeout_s: float = 120.0
    drain_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a server tells of itself, beside its answers.

    Attributes:
        quiet: nothing but errors goes to standard error: neither address and readiness nor a line a request.
        listening: told the URL as soon as the address is taken.
    """

    quiet: bool = False
    listening: Callable[[str], object] | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """An API key, kept as its SHA-256 only."""

    digest: bytes

    def matches(self, given: str) -> bool:
        """Compare in a time that does not depend on where the two differ."""
        return hmac.compare_digest(self.digest, hashlib.sha256(given.encode("utf-8", "replace")).digest())


def read_key(file: str | Path | None) -> Key | None:
    """Read the key that clients must send: from the file, else from ``FORMTUNE_API_KEY``; None without either.

    Raises:
        SettingError: when the file cannot be read, or the key is short or holds more than printable ASCII.
    """
    if file is None:
        text, at = os.environ.get(KEY_VARIABLE), KEY_VARIABLE
    else:
        text, at = _file_text(Path(file)), str(file)
    return None if text is None else _key(text.strip(), at=at)


def _file_text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else "It is not UTF-8 text"
        raise SettingError(
            f"The API key cannot be read: {problem}.", "Give a text file that holds the key.", at=file
        ) from error


def _key(text: str, *, at: str) -> Key:
    if len(text) < SHORTEST_KEY or not text.isascii() or not text.isprintable() or " " in text:
        raise SettingError(
            f"The API key must be one word of at least {SHORTEST_KEY} printable ASCII characters.",
            "Make one with: openssl rand -hex 32.",
            at=at,
        )
    return Key(hashlib.sha256(text.encode()).digest())


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach the address.

    >>> is_loopback("localhost"), is_loopback("127.0.0.2"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_host(host: str, key: Key | None) -> None:
    """Refuse to serve other machines without a key.

    Raises:
        SettingError: when the host is not a loopback address and no key is set.
    """
    if key is None and not is_loopback(host):
        raise SettingError(
            f"The host {host!r} can be reached from other machines, and no API key is set.",
            f"Give --api-key-file or set {KEY_VARIABLE}, or leave --host at 127.0.0.1.",
            at="--host",
        )
