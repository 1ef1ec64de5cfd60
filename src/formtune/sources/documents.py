"""Rows of JSON and JSON lines.

Faults of JSON are told with line and column. The line of every element of an array is known: elements are cut out
as raw bytes first, and the line breaks between them counted.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import msgspec

from formtune.errors import DataError
from formtune.records import LeftOut, Origin
from formtune.sources.lines import Opened, lines_of
from formtune.sources.rows import Row
from formtune.sources.streams import decode

_JSON_SPACE = b" \t\r\n"
_FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_decode_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_any = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a JSON text, and at which byte (0-based)."""

    problem: str
    byte: int


def jsonl_rows(opened: Opened) -> Iterator[Row | LeftOut]:
    """Read JSON lines; a line that is not JSON, or neither an object nor a string, is left out. Empty lines do not count."""
    for number, line in lines_of(opened):
        if not line.strip():
            continue
        origin = Origin(opened.path, number)
        try:
            value = _decode_any(line)
        except _FAULTS as error:
            decode(line, opened.path, first_line=number)
            fault = find_fault(line, error)
            detail = f"column {_column(line, fault.byte)}: {fault.problem}"
            yield LeftOut("not valid JSON", origin, detail=detail)
            continue
        yield _as_row(value, origin)


def json_rows(opened: Opened) -> Iterator[Row | LeftOut]:
    """Read a JSON document: the elements of an array, or one object. JSON lines under such a name are read too.

    Raises:
        DataError: when the document is not JSON (with line and column), or holds no rows.
    """
    with opened.stream as stream:
        data = stream.read()
    decode(data, opened.path)
    head = data.lstrip(_JSON_SPACE)[:1]
    if head == b"[":
        return _elements(data, opened.path)
    try:
        value = _decode_any(data)
    except _FAULTS as error:
        if "trailing characters" in str(error):
            return jsonl_rows(replace(opened, stream=io.BufferedReader(io.BytesIO(data))))
        raise _document_error(data, error, opened.path) from error
    if not isinstance(value, dict):
        raise DataError(
            f"The file holds {_name(value)}, not rows.", "Give an array of objects, or JSON lines.", at=opened.path
        )
    return iter([Row(value, Origin(opened.path, 1), data)])


def find_fault(data: bytes, error: Exception) -> Fault:
    """Say what is wrong with a JSON text, from the decoder's error."""
    if isinstance(error, RecursionError):
        return Fault("nested too deeply", 0)
    message = str(error).removeprefix("JSON is malformed: ")
    place = re.search(r" \(byte (\d+)\)$", message)
    if place:
        byte = int(place.group(1))
        problem = (
            "NaN and Infinity are not JSON" if re.match(rb"-?(NaN|Inf)", data[byte:]) else message[: place.start()]
        )
        return Fault(problem, byte)
    surrogate = re.search(rb"\\u[dD][89a-fA-F]", data)
    if "truncated" in message and surrogate and data.rstrip().endswith((b"}", b"]", b'"')):
        return Fault("a surrogate without its partner", surrogate.start())
    if "truncated" in message:
        return Fault("the text ends too early", len(data))
    return Fault(message.split(" - at")[0], 0)


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


def _elements(data: bytes, path: str) -> Iterator[Row | LeftOut]:
    try:
        raws = _decode_raws(data)
        values = [_decode_any(raw) for raw in raws]
    except _FAULTS as error:
        raise _document_error(data, error, path) from error
    for value, line in zip(values, raw_lines(raws, data, first_line=1), strict=True):
        yield _as_row(value, Origin(path, line))


def _as_row(value: object, origin: Origin) -> Row | LeftOut:
    if isinstance(value, (dict, str)):
        return Row(value, origin)
    return LeftOut("neither a JSON object nor a text", origin, detail=_name(value))


def _document_error(data: bytes, error: Exception, path: str) -> DataError:
    fault = find_fault(data, error)
    line = data.count(b"\n", 0, fault.byte) + 1
    start = data.rfind(b"\n", 0, fault.byte) + 1
    column = _column(data[start:], fault.byte - start)
    return DataError(
        f"This is not valid JSON: {fault.problem} (column {column}).",
        "Correct it; a file with one object a line is named .jsonl.",
        at=f"{path}:{line}",
    )


def _column(line: bytes, byte: int) -> int:
    return len(line[:byte].decode(errors="replace")) + 1


def _name(value: object) -> str:
    names = {bool: "a truth value", int: "a number", float: "a number", str: "a text", list: "a list"}
    return names.get(type(value), "null")
