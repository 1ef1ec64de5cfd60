"""What personal data and secrets look like: a pattern each, and a checksum or a rule where there is one.

Sources of the rules: ISO 13616 (IBAN, mod 97), ISO/IEC 7812 (cards, Luhn), GB 11643-1999 (Chinese resident identity
number), the Social Security Administration's ranges, RFC 2606 (example domains), and the prefixes that makers give
their keys.
"""

import ipaddress
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Recognizer:
    """One kind of personal datum or secret.

    Attributes:
        kind: what stands in its place when it is redacted, with a number: ``<EMAIL_1>``.
        pattern: what it looks like; where it has a group, that is the datum.
        is_valid: whether what looks so is so.
        needs: a character without which no text holds it, to pass over most texts quickly; empty for none.
    """

    kind: str
    pattern: re.Pattern[str]
    is_valid: Callable[[str], bool] = lambda _value: True
    needs: str = ""


class Hit(NamedTuple):
    """Where a datum stands in a text."""

    start: int
    end: int
    kind: str
    value: str


def hits_in(text: str, recognizers: Sequence["Recognizer"]) -> list[Hit]:
    """Find all of them, in order; where two overlap, the one that begins first and reaches further."""
    return apart(_hits(text, recognizers))


def apart(hits: Iterable[Hit]) -> list[Hit]:
    """Put hits in order; where two overlap, keep the one that begins first and reaches further."""
    kept: list[Hit] = []
    for hit in sorted(hits, key=lambda hit: (hit.start, -hit.end)):
        if not kept or hit.start >= kept[-1].end:
            kept.append(hit)
    return kept


def _hits(text: str, recognizers: Sequence["Recognizer"]) -> Iterator[Hit]:
    has_digit = any(map(text.__contains__, "0123456789"))
    for one in recognizers:
        if not has_digit if one.needs == "0" else one.needs not in text:
            continue
        for match in one.pattern.finditer(text):
            group = 1 if one.pattern.groups else 0
            if one.is_valid(match[group]):
                yield Hit(match.start(group), match.end(group), one.kind, match[group])


def is_iban(value: str) -> bool:
    """Check country, length and checksum.

    >>> is_iban("GB82 WEST 1234 5698 7654 32"), is_iban("GB83 WEST 1234 5698 7654 32")
    (True, False)
    """
    compact = value.replace(" ", "").upper()
    if _IBAN_LENGTHS.get(compact[:2]) != len(compact):
        return False
    moved = compact[4:] + compact[:4]
    return int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def is_card(value: str) -> bool:
    """Check the maker's prefix, the length and the Luhn checksum.

    >>> is_card("4111 1111 1111 1111"), is_card("4111 1111 1111 1112"), is_card("1111 1111 1111 1117")
    (True, False, False)
    """
    digits = re.sub(r"\D", "", value)
    if not _CARD_PREFIX.fullmatch(digits) or len(set(digits)) < 2:
        return False
    doubled = [int(d) * (1 + n % 2) for n, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def is_resident_id(value: str) -> bool:
    """Check the date of birth and the checksum (ISO 7064 mod 11-2).

    >>> is_resident_id("11010519491231002X"), is_resident_id("110105194912310021")
    (True, False)
    """
    try:
        born = date(int(value[6:10]), int(value[10:12]), int(value[12:14]))
    except ValueError:
        return False
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(digit) * weight for digit, weight in zip(value, weights, strict=False))
    return born.year >= 1900 and "10X98765432"[total % 11] == value[-1].upper()


def is_public_address(value: str) -> bool:
    """Say whether an IP address is one that can belong to somebody.

    >>> is_public_address("8.8.8.8"), is_public_address("192.168.0.1"), is_public_address("8.8.8.888")
    (True, False, False)
    """
    try:
        return ipaddress.ip_address(value).is_global
    except ValueError:
        return False


def is_random(value: str) -> bool:
    """Say whether the characters of a word are as mixed as those of a key: 3.5 bits each, letters and digits.

    >>> is_random("correct_horse_battery_staple"), is_random("q7Rk2mX9vT4bL8wZ1nC5")
    (False, True)
    """
    counts = Counter(value)
    entropy = -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())
    return entropy >= 3.5 and any(c.isdigit() for c in value) and any(c.isalpha() for c in value)


def _is_email(value: str) -> bool:
    domain = value.rpartition("@")[2].lower()
    return not (domain in _EXAMPLES or domain.endswith((".example", ".test", ".invalid", ".localhost")))


def _is_phone(value: str) -> bool:
    n_digits = sum(c.isdigit() for c in value)
    return 8 <= n_digits <= 15 and len(set(re.sub(r"\D", "", value))) > 2


_EXAMPLES = frozenset({"example.com", "example.org", "example.net"})
_CARD_PREFIX = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|6(?:011|5\d\d)\d{12}|62\d{14,17}"
)
_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AT": 20, "BE": 16, "BG": 22, "BR": 29, "CH": 21, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "EE": 20,
    "ES": 24, "FI": 18, "FR": 27, "GB": 22, "GR": 27, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IS": 26, "IT": 27, "LI": 21,
    "LT": 20, "LU": 20, "LV": 21, "MC": 27, "MT": 31, "NL": 18, "NO": 15, "PL": 28, "PT": 25, "RO": 24, "RS": 22, "SA": 24,
    "SE": 24, "SI": 19, "SK": 24, "SM": 27, "TR": 26, "UA": 29,
}  # fmt: skip


def _ascii(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """Compile a pattern to which Chinese characters around a number are no letters of a word."""
    return re.compile(pattern, re.ASCII | flags)


EMAIL = Recognizer(
    "EMAIL",
    _ascii(r"(?<!\w)[A-Za-z0-9][\w.+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,4}[A-Za-z]{2,24}\b"),
    _is_email,
    "@",
)
PHONE = Recognizer(
    "PHONE",
    _ascii(
        r"(?<![\w.+-])(?:\+\d{1,3}[ .-]?(?:\(?\d{1,4}\)?[ .-]?){2,5}\d{2,4}"  # international
        r"|\(\d{3}\) ?\d{3}[-. ]\d{4}|\d{3}[-.]\d{3}[-.]\d{4}"  # North America
        r"|1[3-9]\d{9}|0\d{9,10})(?![\w-])"  # Chinese mobile; with the 0 of a trunk call
    ),
    _is_phone,
    "0",
)
IBAN = Recognizer("IBAN", _ascii(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)"), is_iban, "0")
CARD = Recognizer("CARD", _ascii(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])"), is_card, "0")
RESIDENT_ID = Recognizer("RESIDENT_ID", _ascii(r"(?<!\w)[1-9]\d{16}[\dXx](?!\w)"), is_resident_id, "0")
ADDRESS = Recognizer(
    "IP_ADDRESS",
    _ascii(r"(?<![\w.:])(?:(?:\d{1,3}\.){3}\d{1,3}|(?:[0-9A-Fa-f]{1,4}:){3,7}[0-9A-Fa-f:]{1,25})(?![\w:]|\.\d)"),
    is_public_address,
    "0",
)
SSN = Recognizer("SSN", _ascii(r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\w-])"), needs="-")
API_KEY = Recognizer(
    "API_KEY",
    _ascii(
        r"(?<![\w-])(?:(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{60,}|glpat-[\w-]{20,}"
        r"|sk-(?:proj-|ant-|svcacct-)?[A-Za-z0-9_-]{32,}|[sr]k_live_[A-Za-z0-9]{20,}|AIza[\w-]{35}|xox[abprs]-[\w-]{20,}"
        r"|hf_[A-Za-z]{34}|npm_[A-Za-z0-9]{36}|pypi-AgE[\w-]{50,}|SG\.[\w-]{22}\.[\w-]{43}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,})"
    ),
)
PRIVATE_KEY = Recognizer(
    "PRIVATE_KEY",
    _ascii(
        r"-----BEGIN (?:[A-Z]{2,12} )?PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]{0,20}PRIVATE KEY(?: BLOCK)?-----|\Z)",
        re.DOTALL,
    ),
    needs="-----BEGIN",
)
ASSIGNED = Recognizer(
    "SECRET",
    _ascii(
        r"(?i:api[_-]?key|secret(?:[_-]?key)?|access[_-]?token|auth[_-]?token|password|passwd|pwd|credentials?)"
        r"[\"']?\s*[:=]\s*[\"']?([A-Za-z0-9+/_~.-]{16,128})"
    ),
    is_random,
)
PERSONAL = (EMAIL, PHONE, IBAN, CARD, RESIDENT_ID, ADDRESS, SSN)
SECRETS = (API_KEY, PRIVATE_KEY, ASSIGNED)
