"""Rows of JSON and JSON lines.

Faults of JSON are told with line and column. Nothing of a value is lost: numbers stay as they are written, and a key
that stands twice in one object is told.
"""

import codecs
import io
from collections.abc import Callable, Iterator
from dataclasses import replace

import msgspec

from formtune.errors import DataError
from formtune.records import LeftOut, Origin
from formtune.sources.encodings import Strays, is_utf8
from formtune.sources.json_arrays import Element, Place, elements_of, fault_in, objects_in
from formtune.sources.json_parts import spans_in
from formtune.sources.json_values import FAULTS, LongNumber, Repeated, find_fault, repeated_keys, value_of
from formtune.sources.lines import Opened, lines_of
from formtune.sources.rows import Row
from formtune.sources.streams import BUFFER_BYTES, decode

_SPACE = b" \t\r\n"
Mend = Callable[[str, int, bytes], bytes]  # of a file, the number of a line and its bytes: what is read in its place


def jsonl_rows(opened: Opened, mend: Mend | None = None) -> Iterator[Row | LeftOut]:
    """Read JSON lines; a line that is not JSON, or neither an object nor a string, is left out. Empty lines do not count.

    Several objects in one line, which a lost line break leaves, are several rows.

    Raises:
        DataError: when the file is in another encoding than UTF-8.
    """
    reader = LineReader(opened)
    for number, line in lines_of(opened):
        yield from reader.rows(line if mend is None else mend(opened.path, number, line), number)


class LineReader:
    """Reads lines of one file, in any order: what each holds does not depend on the others."""

    def __init__(self, opened: Opened) -> None:
        self._path = opened.path
        self._strays = Strays(opened)

    def rows(self, line: bytes, number: int) -> list[Row | LeftOut]:
        """Read a line without its line break; empty where it is empty.

        Raises:
            DataError: when the line is not UTF-8, and the file is in another encoding.
        """
        origin = Origin(self._path, number)
        try:
            value = value_of(line)
            repeated = repeated_keys(line, value)
        except FAULTS as error:
            if not is_utf8(line):
                return [self._strays.left_out(line, origin)]
            return list(_faulty_line(line, error, origin))
        row = _as_row(value, origin)
        return [row, _told(repeated, origin)] if repeated else [row]


def json_rows(opened: Opened) -> Iterator[Row | LeftOut]:
    """Read a JSON document: the elements of an array, or one object. JSON lines under such a name are read too.

    Objects over several lines each, one after another, are rows as well.

    Raises:
        DataError: when the document is not JSON (with line and column), or holds no rows.
    """
    if opened.stream.peek(BUFFER_BYTES).lstrip(_SPACE).startswith(b"["):
        return _elements(opened)
    return _document(opened)


def _document(opened: Opened) -> Iterator[Row | LeftOut]:
    with opened.stream as stream:
        data = stream.read()
    try:
        value = value_of(data)
        repeated = repeated_keys(data, value)
    except FAULTS as error:
        if "trailing characters" not in str(error):
            raise fault_in(data, error, Place(opened.path)) from error
        yield from _several(data, opened)
        return
    if not isinstance(value, dict):
        raise DataError(
            f"The file holds {_name(value)}, not rows.", "Give an array of objects, or JSON lines.", at=opened.path
        )
    yield Row(value, Origin(opened.path, 1), data)
    if repeated:
        yield _told(repeated, Origin(opened.path, 1))


def _several(data: bytes, opened: Opened) -> Iterator[Row | LeftOut]:
    """Read a text that holds more than one value: objects over several lines each, or JSON lines."""
    objects = objects_in(data) if b"\n" in (data.split(b"}", 1)[0]).strip(_SPACE) else None
    if objects is None:
        yield from jsonl_rows(replace(opened, stream=io.BufferedReader(io.BytesIO(data))))
        return
    position, line = 0, 1
    for one in objects:
        start = data.index(one, position)
        line += data.count(b"\n", position, start)
        yield from _value(one, Origin(opened.path, line), column=start - data.rfind(b"\n", 0, start))
        position = start


def _elements(opened: Opened) -> Iterator[Row | LeftOut]:
    reader = ElementReader(opened)
    for element in elements_of(opened):
        yield from reader.rows(element)


class ElementReader:
    """Reads elements of the array that one file holds, in any order: what each is does not depend on the others."""

    def __init__(self, opened: Opened) -> None:
        self._strays = Strays(opened, spans_in)

    def rows(self, element: Element) -> list[Row | LeftOut]:
        """Read an element: one row, and what of it is lost.

        Raises:
            DataError: when it is not UTF-8, and the file is in another encoding.
        """
        origin, raw = Origin(element.place.path, element.line), element.raw
        try:
            value = value_of(raw)
            repeated = repeated_keys(raw, value)
        except FAULTS as error:
            if not is_utf8(raw):
                return [self._strays.left_out(raw, origin, column=element.column())]
            return [_faulty(raw, error, origin, column=element.column())]
        row = _as_row(value, origin)
        return [row, _told(repeated, origin)] if repeated else [row]


def _value(raw: bytes, origin: Origin, *, column: int) -> Iterator[Row | LeftOut]:
    """Read a value that begins at a character of a line."""
    try:
        value = value_of(raw)
        repeated = repeated_keys(raw, value)
    except FAULTS as error:
        yield _faulty(raw, error, origin, column=column)
        return
    yield _as_row(value, origin)
    if repeated:
        yield _told(repeated, origin)


def _faulty_line(line: bytes, error: Exception, origin: Origin) -> Iterator[Row | LeftOut]:
    """Read what can be read of a line that is not one JSON value, or say what is wrong with it."""
    bare = line.removeprefix(codecs.BOM_UTF8)  # of a file that was joined to another
    if not bare.strip():
        return
    objects = objects_in(bare) if len(bare) < len(line) or "trailing characters" in str(error) else None
    try:
        values = [value_of(one) for one in objects or ()]
    except FAULTS:
        values = []
    if values:
        for one in objects or ():
            yield from _value(one, origin, column=1)
    else:
        yield _faulty(line, error, origin, column=1)


def _faulty(raw: bytes, error: Exception, origin: Origin, *, column: int) -> LeftOut:
    decode(raw, origin.file, first_line=origin.line or 1)
    fault = find_fault(raw, error)
    before = raw[: fault.byte]
    line = (origin.line or 1) + before.count(b"\n")
    n_before = len(before[before.rfind(b"\n") + 1 :].decode(errors="replace"))
    place = n_before + (1 if b"\n" in before else column)
    return LeftOut(fault.reason, Origin(origin.file, line), detail=f"column {place}: {fault.problem}", column=place)


def _told(repeated: list[Repeated], origin: Origin) -> LeftOut:
    """Say which values of a row were lost to a key that stands twice."""
    first, *others = [
        LeftOut(
            "a key that stands twice in one object",
            origin,
            path=one.path,
            detail=f"{one.lost} was lost, {one.kept} was kept",
            found=one.lost,
            kept=True,
        )
        for one in repeated
    ]
    return msgspec.structs.replace(first, further=tuple(others))


def _as_row(value: object, origin: Origin) -> Row | LeftOut:
    if isinstance(value, (dict, str)):
        return Row(value, origin)
    return LeftOut("neither a JSON object nor a text", origin, detail=_name(value), column=1)


def _name(value: object) -> str:
    names = {bool: "a truth value", int: "a number", float: "a number", list: "a list"}
    names |= {LongNumber: "a number", str: "a text"}
    return names.get(type(value), "null")
