"""The elements of a JSON array one by one, in constant memory, each with its line.

The array is cut between elements, a few megabytes at a time. Where an element ends cannot be seen from the middle of
the text, so an end is guessed and then proved: ``[`` + what stands before it + ``]`` is valid JSON only if the comma
behind it parts two elements of the outermost array.
"""

import re
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import msgspec

from formtune.errors import DataError
from formtune.sources.json_parts import MARK, parted
from formtune.sources.json_values import BRACKET, FAULTS, find_fault
from formtune.sources.lines import BLOCK_BYTES, Opened, pieces_of
from formtune.sources.streams import ArchiveCut, decode

_SPACE = b" \t\r\n"
_N_GUESSES = 4
_FIRST_KEY = re.compile(rb'\s*\[\s*\{\s*("(?:[^"\\]|\\.)*")\s*:')
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


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of an array's text, which ``before`` and ``behind`` make a whole array."""

    text: bytes
    place: Place
    before: bytes = b""
    behind: bytes = b""

    @property
    def whole(self) -> bytes:
        return self.before + self.text + self.behind

    def behind_comma(self, comma: int) -> "_Part":
        """Give what stands behind a comma between two elements."""
        return _Part(self.text[comma + 1 :], self.place.after(self.text[: comma + 1]), b"[0,", self.behind)


def elements_of(opened: Opened) -> Iterator[Element]:
    """Read the elements of the array that is the whole document; then close.

    An element that is not JSON is given as well, where it is certain where it ends (:mod:`formtune.sources.json_parts`).

    Raises:
        DataError: when the document is not a valid array; it names line and column. What stood before was given.
        ArchiveCut: when it stood in an archive that is cut; the elements before the break were given.
    """
    with opened.stream:  # open until the last one is read, for whoever asks how the file begins
        yield from _elements_of(opened)


def _elements_of(opened: Opened) -> Iterator[Element]:
    text, before, place = b"", b"", Place(opened.path, opened.first_line)
    first_key, n_wanted = b"", 0
    try:
        for piece in pieces_of(opened):
            text += piece
            first_key = first_key or (b"" if before else _first_key(text))
            if len(text) < max(n_wanted, BLOCK_BYTES):  # shorter is the last piece, or of a longer element
                continue
            end, raws = _guessed(text, before, first_key) or (_last_comma(text, before), None)
            if not end:
                n_wanted = 2 * len(text)  # an element that is longer than a piece is not looked through each time
                continue
            end = yield from _inside(_Part(text[:end], place, before, b"]"), raws, first_key=first_key)
            if end:
                place, text, before = place.after(text[: end + 1]), text[end + 1 :], b"[0,"
            n_wanted = 0 if end else 2 * len(text)
    except ArchiveCut as cut:
        end = _last_comma(text, before) or 0
        if end:
            end = yield from _inside(_Part(text[:end], place, before, b"]"), None, first_key=first_key)
        cut.line = place.after(text[:end]).line
        raise
    yield from _inside(_Part(text, place, before), None, first_key=first_key)


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


def _inside(part: _Part, raws: list[msgspec.Raw] | None, *, first_key: bytes) -> Generator[Element, None, int]:
    """Give the elements of a part; ``raws`` are they, where they are known.

    Returns:
        Where the elements that were given end, at a comma or at the end of the text. It is 0 for none.
    """
    try:
        raws = _decode_raws(part.whole) if raws is None else raws
    except FAULTS as error:
        if not first_key:
            raise fault_in(part.whole, error, part.place, skipped=len(part.before)) from error
        return (yield from _around_faults(part, first_key))
    begin = 0 if part.before else part.text.index(b"[") + 1
    yield from _given(part, _spans(part.text, islice(raws, 1 if part.before else 0, None), begin))
    return len(part.text)


def _around_faults(part: _Part, first_key: bytes) -> Generator[Element, None, int]:
    """Give the elements of a part of which some are not JSON, as far as it is certain where each ends.

    Raises:
        DataError: where that is not certain, and what stands further on cannot help.
    """
    found = parted(part.text, is_begun=bool(part.before), goes_on=bool(part.behind), first_key=first_key)
    yield from _given(part, found.spans)
    if found.is_certain:
        return found.end
    rest = part.behind_comma(found.end) if found.end else part
    try:
        _decode_raws(rest.whole)
    except FAULTS as error:
        raise fault_in(rest.whole, error, rest.place, skipped=len(rest.before)) from error
    raise AssertionError("what is not certain is not JSON")


def _spans(text: bytes, raws: Iterable[msgspec.Raw], position: int) -> Iterator[tuple[int, int]]:
    """Say where elements stand that were decoded."""
    for raw in raws:
        gap = _GAP.match(text, position)
        assert gap is not None
        position = gap.end() + len(memoryview(raw))
        yield gap.end(), position


def _given(part: _Part, spans: Iterable[tuple[int, int]]) -> Iterator[Element]:
    """Give elements by where they stand, each with its line."""
    text, line, position = part.text, part.place.line, 0
    for start, end in spans:
        line += text.count(b"\n", position, start)
        element = text[start:end]
        yield Element(element, line, text, start, part.place)
        line += element.count(b"\n")
        position = end


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
    pattern = re.compile(rb"\}\s*(,)\s*\{\s*" + re.escape(first_key) + rb"\s*:")
    begin = len(text) * 3 // 4
    return [match.start(1) for match in pattern.finditer(text, begin)][: -_N_GUESSES - 1 : -1]


def _last_comma(text: bytes, before: bytes) -> int | None:
    """Find the last comma between two elements, by reading from the beginning; None where there is none."""
    depth, position, last = (1 if before else 0), 0, None
    for match in MARK.finditer(text):
        if match.start() != position:  # a string that is not closed in this piece
            break
        position = match.end()
        mark = text[position - 1 : position]
        if mark == b",":
            last = position - 1 if depth == 1 else last
        else:
            depth += 1 if mark in b"[{" else -1
    return None if last is not None and text[:last].strip(_SPACE) == b"[" else last
