"""Tokens that are pieces of a character, put together again for a reader: ``<0xE8>`` ``<0xB7>`` ``<0x9D>`` is 距."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from formtune.reports.data import ShownToken

_BYTES = re.compile(r"(?:<0x[0-9A-F]{2}>)+")


@dataclass(frozen=True, slots=True)
class Group:
    """Neighboring tokens; ``text`` is what they spell where each alone is only bytes, else it is empty."""

    tokens: Sequence[ShownToken]
    text: str = ""


def grouped(tokens: Sequence[ShownToken]) -> list[Group]:
    """Put byte tokens together as soon as they spell whole characters; every other token is a group of its own."""
    return list(_groups(tokens))


def hexadecimal(text: str) -> str:
    """Write byte tokens in short.

    >>> hexadecimal("<0xE8><0xB7>")
    'E8 B7'
    """
    return text.replace("><0x", " ").replace("<0x", "").replace(">", "")


def _groups(tokens: Sequence[ShownToken]) -> Iterator[Group]:
    waiting: list[ShownToken] = []
    for token in tokens:
        if not _BYTES.fullmatch(token.text):
            yield from (Group([one]) for one in waiting)
            waiting = []
            yield Group([token])
            continue
        waiting.append(token)
        if spelled := _spelled(waiting):
            yield Group(waiting, spelled)
            waiting = []
    yield from (Group([one]) for one in waiting)


def _spelled(tokens: Sequence[ShownToken]) -> str:
    """Read the bytes of tokens as text; empty where they end within a character."""
    try:
        return bytes.fromhex(hexadecimal("".join(token.text for token in tokens))).decode("utf-8")
    except UnicodeDecodeError:
        return ""
