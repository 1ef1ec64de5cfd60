"""The elements of an array of objects in which some are not JSON, where it is certain where each of them ends.

An element ends at the comma, outside of strings, behind which all brackets that it opened are closed. A fault may hide
that: a quote too many turns what is a string and what is not around, to the next fault of the kind. So it is certain only
where a faulty element begins as the others do, ends in a brace, holds nothing that looks like the border between two
elements, and stands before another one or the array's end.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from formtune.sources.json_values import FAULTS

_SPACE = b" \t\r\n"
# Everything up to the next bracket or comma that does not stand in a string.
MARK = re.compile(rb'(?:[^"\[\]{},]++|"(?:[^"\\]++|\\.)*+")*+[\[\]{},]', re.DOTALL)
_NO_MARKS = re.compile(rb'(?:[^"\[\]{},]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_OPENED_BY = {b"]": b"[", b"}": b"{"}
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode


@dataclass(frozen=True, slots=True)
class Parted:
    """Elements that were told apart.

    Attributes:
        spans: where each begins and ends, without white space around it.
        end: of the text that they fill: at a comma, or the text's own; 0 for none.
        is_certain: whether nothing behind them is in doubt: they fill the text, or what follows is not at hand yet.
    """

    spans: list[tuple[int, int]]
    end: int
    is_certain: bool


def parted(text: bytes, *, is_begun: bool, goes_on: bool, first_key: bytes) -> Parted:
    """Tell the elements of an array's text apart, as far as that is certain.

    Args:
        text: a part of the array, from its beginning or from behind a comma.
        is_begun: whether the array begins before the text.
        goes_on: whether the text ends before a comma between two elements; else it holds the array's end.
        first_key: with which the objects begin, in its quotes.
    """
    found: list[tuple[int, int]] = []
    ends: list[int] = []
    n_certain = 0
    for start, end, is_last in _pieces(text, is_begun=is_begun, goes_on=goes_on):
        element = text[start:end].strip(_SPACE)
        is_valid = _is_json(element)
        if not is_valid and not _is_like_the_others(element, first_key):
            break
        begin = end - len(text[start:end].lstrip(_SPACE))
        found.append((begin, begin + len(element)))
        ends.append(end)
        # A faulty element is certain once another stands behind it, or the array's end.
        n_certain = len(found) - (0 if is_valid or (is_last and not goes_on) else 1)
        if is_last:
            end = len(text) if n_certain == len(found) else 0
            return Parted(found[:n_certain], end or _last(ends[:n_certain]), is_certain=True)
    return Parted(found[:n_certain], _last(ends[:n_certain]), is_certain=False)


def spans_in(text: bytes) -> Iterator[tuple[int, int]]:
    """Say where the elements of an array stand in its beginning, commas and the element that is cut aside.

    It stops in front of an element of which the brackets do not belong together, or a string is not closed.
    """
    return ((start, end) for start, end, _ in _pieces(text, is_begun=False, goes_on=False))


def _pieces(text: bytes, *, is_begun: bool, goes_on: bool) -> Iterator[tuple[int, int, bool]]:
    """Cut an array's text at the commas of the outermost level; say of each piece whether the text ends with it.

    It stops in front of a piece in which brackets do not belong together, or a string is not closed.
    """
    start = position = 0 if is_begun else text.index(b"[") + 1
    opened = [b"["]
    for match in MARK.finditer(text, position):
        if match.start() != position:
            return
        position = match.end()
        mark = text[position - 1 : position]
        if mark == b"," and len(opened) == 1:
            yield start, position - 1, False
            start = position
        elif not _follow(opened, mark):
            return
        elif not opened:
            if not goes_on and not text[position:].strip(_SPACE):
                yield start, position - 1, True
            return
    if goes_on and len(opened) == 1 and _NO_MARKS.fullmatch(text, position):
        yield start, len(text), True


def _follow(opened: list[bytes], mark: bytes) -> bool:
    """Keep count of the brackets that are open; say whether one that closes belongs to the last of them."""
    if mark in _OPENED_BY.values():
        opened.append(mark)
        return True
    return mark == b"," or opened.pop() == _OPENED_BY[mark]


def _last(ends: list[int]) -> int:
    return ends[-1] if ends else 0


def _is_json(element: bytes) -> bool:
    try:
        _decode_raw(element)
    except FAULTS:
        return False
    return True


def _is_like_the_others(element: bytes, first_key: bytes) -> bool:
    """Say whether an element that is not JSON begins and ends as an object of the array, and is no more than one."""
    begin, border = _patterns(first_key)
    return bool(begin.match(element)) and element.endswith(b"}") and not border.search(element)


@lru_cache(maxsize=8)
def _patterns(first_key: bytes) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Compile how an object begins, and how one ends where the next begins."""
    begin = rb"\{\s*" + re.escape(first_key)
    return re.compile(begin), re.compile(rb"\}\s*,\s*" + begin + rb"\s*:")
