"""The elements of a JSON array one by one, in constant memory, each with its line.

The array is cut between elements, a few megabytes at a time. Where an element ends cannot be seen from the middle of
the text, so an end is guessed and then proved: ``[`` + what stands before it + ``]`` is valid JSON only if the comma
behind it parts two elements of the outermost array.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import msgspec

from formtune.errors import DataError
from formtune.sources.json_values import BRACKET, FAULTS, find_fault
from formtune.sources.lines import BLOCK_BYTES, Opened, pieces_of
from formtune.sources.streams import ArchiveCut, decode

_SPACE = b" \t\r\n"
_N_GUESSES = 4
_FIRST_KEY = re.compile(rb'\s*\[\s*\{\s*("(?:[^"\\]|\\.)*"\s*):')
# Everything up to the next bracket or comma that does not stand in a string.
_MARK = re.compile(rb'(?:[^"\[\]{},]++|"(?:[^"\\]++|\\.)*+")*+[\[\]{},]', re.DOTALL)
_GAP = re.compile(rb"[ \t\r\n,]*")
_decode_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text begins in a file: its line, and how many characters of that line stand before it."""

    path: str
    line: int = 1
    n_before: int = 0

    def after(self, text: bytes) -> "Place":
        """Give the place behind a text that begins here."""
        n_breaks = text.count(b"\n")
        n_last = len(text[text.rfind(b"\n") + 1 :].decode(errors="replace"))
        return Place(self.path, self.line + n_breaks, n_last + (0 if n_breaks else self.n_before))


@dataclass(frozen=True, slots=True)
class Element:
    """An element of an array: its bytes, the line on which it begins, and where it stands in a text that is at hand."""

    raw: bytes
    line: int
    text: bytes
    start: int
    place: Place

    def column(self) -> int:
        """Count the character of the line at which it begins, from 1."""
        return self.place.after(self.text[: self.start]).n_before + 1


def elements_of(opened: Opened) -> Iterator[Element]:
    """Read the elements of the array that is the whole document.

    Raises:
        DataError: when the document is not a valid array; it names line and column. What stood before was given.
        ArchiveCut: when it stood in an archive that is cut; the elements before the break were given.
    """
    text, before, place = b"", b"", Place(opened.path, opened.first_line)
    first_key, n_wanted = None, 0
    try:
        for piece in pieces_of(opened):
            text += piece
            first_key = _first_key(text) if first_key is None else first_key
            if len(text) < max(n_wanted, BLOCK_BYTES):  # shorter is the last piece, or of a longer element
                continue
            end, raws = _guessed(text, before, first_key) or (_last_comma(text, before), None)
            if not end:
                n_wanted = 2 * len(text)  # an element that is longer than a piece is not looked through each time
                continue
            yield from _inside(text[:end], place, before=before, behind=b"]", raws=raws)
            place, text, before, n_wanted = place.after(text[: end + 1]), text[end + 1 :], b"[0,", 0
    except ArchiveCut as cut:
        end = _last_comma(text, before) or 0
        if end:
            yield from _inside(text[:end], place, before=before, behind=b"]")
        cut.line = place.after(text[:end]).line
        raise
    yield from _inside(text, place, before=before)


def objects_in(data: bytes) -> list[bytes] | None:
    """Part objects that stand one after another with nothing or white space between; None where that is not so."""
    found, start, depth, position = [], 0, 0, 0
    for match in BRACKET.finditer(data):
        if match.start() != position or (depth == 0 and data[position : match.end() - 1].strip(_SPACE)):
            return None
        end = position = match.end()
        depth += 1 if data[end - 1] in b"[{" else -1
        if depth == 0:
            found.append(data[start:end].lstrip(_SPACE))
            start = end
    return found if depth == 0 and not data[start:].strip(_SPACE) else None


def raw_lines(elements: list[msgspec.Raw], inside: bytes, *, first_line: int) -> list[int]:
    """Find the line on which each element of an array begins.

    Args:
        elements: the array's elements, as cut out of the document, in order.
        inside: the bytes of the document, or of the part of it that holds the array.
        first_line: the line on which those bytes begin.
    """
    lines, line, position = [], first_line, 0
    for element in elements:
        raw = bytes(element)
        start = inside.index(raw, position)
        line += inside.count(b"\n", position, start)
        lines.append(line)
        line += raw.count(b"\n")
        position = start + len(raw)
    return lines


def fault_in(data: bytes, error: Exception, place: Place, *, skipped: int = 0) -> DataError:
    """Make the error for a document that is not JSON.

    Args:
        data: the text that was decoded.
        error: what the decoder said.
        place: where the text begins.
        skipped: how many bytes at the beginning of the text do not stand in the file.
    """
    fault = find_fault(data, error)
    before = data[skipped : max(skipped, fault.byte)]
    decode(data[skipped:], place.path, first_line=place.line)
    there = place.after(before)
    return DataError(
        f"This is not valid JSON: {fault.problem} (column {there.n_before + 1}).",
        "Correct it; a file with one object a line is named .jsonl.",
        at=f"{place.path}:{there.line}",
    )


def _inside(
    text: bytes, place: Place, *, before: bytes, behind: bytes = b"", raws: list[msgspec.Raw] | None = None
) -> Iterator[Element]:
    """Give the elements of a part of the array, which ``before`` and ``behind`` make a whole one."""
    whole = before + text + behind
    try:
        raws = _decode_raws(whole) if raws is None else raws
    except FAULTS as error:
        raise fault_in(whole, error, place, skipped=len(before)) from error
    position, line = (0 if before else text.index(b"[") + 1), place.line
    line += text.count(b"\n", 0, position)
    for raw in islice(raws, 1 if before else 0, None):
        gap = _GAP.match(text, position)
        assert gap is not None
        start, position = gap.end(), gap.end() + len(memoryview(raw))
        line += gap[0].count(b"\n")
        element = text[start:position]
        yield Element(element, line, text, start, place)
        line += element.count(b"\n")


def _first_key(text: bytes) -> bytes:
    """Give the first key of an array's first object, quotes and all; empty where there is none."""
    match = _FIRST_KEY.match(text)
    return match[1] if match else b""


def _guessed(text: bytes, before: bytes, first_key: bytes) -> tuple[int, list[msgspec.Raw]] | None:
    """Find a comma that parts two elements, near the end, with the elements before it; None where no guess is right."""
    for end in _guesses(text, first_key):
        try:
            return end, _decode_raws(before + text[:end] + b"]")
        except FAULTS:
            continue
    return None


def _guesses(text: bytes, first_key: bytes) -> list[int]:
    """Guess where elements end: where an object is followed by one that begins with the first one's first key."""
    if not first_key:
        return []
    pattern = re.compile(rb"\}\s*(,)\s*\{\s*" + re.escape(first_key) + rb":")
    begin = len(text) * 3 // 4
    return [match.start(1) for match in pattern.finditer(text, begin)][: -_N_GUESSES - 1 : -1]


def _last_comma(text: bytes, before: bytes) -> int | None:
    """Find the last comma between two elements, by reading from the beginning; None where there is none."""
    depth, position, last = (1 if before else 0), 0, None
    for match in _MARK.finditer(text):
        if match.start() != position:  # a string that is not closed in this piece
            break
        position = match.end()
        mark = text[position - 1 : position]
        if mark == b",":
            last = position - 1 if depth == 1 else last
        else:
            depth += 1 if mark in b"[{" else -1
    return None if last is not None and text[:last].strip(_SPACE) == b"[" else last
