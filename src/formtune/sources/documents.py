"""Rows of JSON, JSON lines and Parquet files.

Faults of JSON are told with line and column. The line of every element of an array is known: elements are cut out
as raw bytes first, and the line breaks between them counted.
"""

import io
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from formtune.errors import DataError
from formtune.records import LeftOut, Origin
from formtune.sources.lines import Opened, lines_of
from formtune.sources.rows import Row, check_names
from formtune.sources.streams import decode

if TYPE_CHECKING:
    import pyarrow as pa

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


def parquet_rows(opened: Opened) -> Iterator[Row]:
    """Read a Parquet file; integers that the Hub's schema names as classes become those names.

    Dates, times and durations become text, which holds nanoseconds too; "not a number" is an empty field.

    Raises:
        DataError: when the file is not Parquet, or a column name stands twice.
    """
    import pyarrow as pa  # a tenth of a second to import, for those who read it
    import pyarrow.parquet as pq

    with opened.stream as stream:
        data = stream.read()
    number = 0
    try:
        file = pq.ParquetFile(io.BytesIO(data))
        schema = file.schema_arrow
        check_names(schema.names, opened.path)
        as_text = pa.schema([field.with_type(_with_text(field.type)) for field in schema])
        names = _class_names(schema.metadata)
        for batch in file.iter_batches():
            for value in batch.cast(as_text).to_pylist():
                number += 1
                yield Row(_filled(_with_class_names(value, names)), Origin(opened.path, number))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"The file is not whole Parquet ({error}).", "Copy or make it again.", at=opened.path
        ) from error


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


def _with_text(kind: "pa.DataType") -> "pa.DataType":
    """Give the type of a column with text in place of dates, times and durations, at whatever depth."""
    import pyarrow as pa

    if pa.types.is_temporal(kind):
        return pa.string()
    if pa.types.is_dictionary(kind):
        return _with_text(kind.value_type)
    if pa.types.is_struct(kind):
        return pa.struct([part.with_type(_with_text(part.type)) for part in kind])
    if pa.types.is_map(kind):
        return pa.map_(kind.key_type, kind.item_field.with_type(_with_text(kind.item_type)))
    if pa.types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_with_text(kind.value_type)))
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_with_text(kind.value_type)))
    return kind


def _class_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """Find the class names that the ``datasets`` library keeps beside a column of class numbers, or of lists of them.

    What is written there in another way than that library's says nothing, and is not a fault of the data.
    """
    try:
        value = _decode_any((metadata or {}).get(b"huggingface") or b"null")
        features = msgspec.convert(value, _Schema).info.features
    except (*_FAULTS, msgspec.ValidationError):
        return {}
    return {name: found for name, feature in features.items() if (found := _names_in(feature)) is not None}


class _Info(msgspec.Struct, frozen=True):
    features: dict[str, object] = {}


class _Schema(msgspec.Struct, frozen=True):
    """What the ``datasets`` library writes into a Parquet file about its columns."""

    info: _Info = _Info()


def _names_in(feature: object) -> list[str] | None:
    """Give the names of a class column; of a list of classes too, in either way of writing it."""
    if isinstance(feature, list) and len(feature) == 1:
        return _names_in(feature[0])
    if not isinstance(feature, dict):
        return None
    if "feature" in feature:
        return _names_in(feature["feature"])
    names = feature.get("names")
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return names if is_list and feature.get("_type") == "ClassLabel" else None


def _with_class_names(value: dict[str, object], names: Mapping[str, list[str]]) -> dict[str, object]:
    for column in names.keys() & value.keys():
        found = value[column]
        named = [_class_name(part, names[column]) for part in (found if isinstance(found, list) else [found])]
        value[column] = named if isinstance(found, list) else named[0]
    return value


def _class_name(number: object, classes: list[str]) -> object:
    """Name a class; None for -1, that library's sign for a hidden label, and for what has no name."""
    if not isinstance(number, int):
        return number
    return classes[number] if 0 <= number < len(classes) else None


def _filled(value: dict[str, object]) -> dict[str, object]:
    """Empty the fields that hold "not a number"."""
    return {name: None if isinstance(found, float) and math.isnan(found) else found for name, found in value.items()}
