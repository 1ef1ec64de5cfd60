"""Rows of Parquet files."""

import io
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from formtune.errors import DataError
from formtune.records import Origin
from formtune.sources.json_values import value_of
from formtune.sources.lines import Opened
from formtune.sources.rows import Row, check_names

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

# Under this key of a file's metadata stands which columns are JSON text. A file that has it was written without padding:
# what is null in it was never there.
JSON_COLUMNS = b"formtune.json"
_BATCH_ROWS = 1 << 12
_BATCH_BYTES = 1 << 21  # as columns; as rows of Python they take several times as much
_BUFFER_BYTES = 1 << 20  # of a column, read at once; without it a column of a row group is read whole
_decode_any = msgspec.json.Decoder().decode


def parquet_rows(opened: Opened) -> Iterator[Row]:
    """Read a Parquet file, row group by row group and some megabytes at a time; integers that the Hub's schema names as classes become those names.

    Dates, times and durations become text, which holds nanoseconds too; "not a number" is an empty field.

    Raises:
        DataError: when the file is not Parquet, or a column name stands twice.
    """
    import pyarrow as pa  # a tenth of a second to import, for those who read it
    import pyarrow.parquet as pq

    number = 0
    try:
        with (
            opened.stream as stream
        ):  # what cannot be entered in the middle is read whole: a Parquet file begins at its end
            file = pq.ParquetFile(
                stream if stream.seekable() else io.BytesIO(stream.read()),
                pre_buffer=False,
                buffer_size=_BUFFER_BYTES,
                page_checksum_verification=True,
            )
            schema = file.schema_arrow
            check_names(schema.names, opened.path)
            as_text = pa.schema([field.with_type(_with_text(field.type)) for field in schema])
            names = _class_names(schema.metadata)
            unpadded = (schema.metadata or {}).get(JSON_COLUMNS)
            for batch in _batches(file):
                for value in batch.cast(as_text).to_pylist():
                    number += 1
                    value = _as_written(value, _decode_any(unpadded)) if unpadded else value
                    yield Row(_filled(_with_class_names(value, names)), Origin(opened.path, number))
    except (pa.ArrowException, OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise DataError(
            f"The file is not whole Parquet ({error}).", "Copy or make it again.", at=opened.path
        ) from error


def _batches(file: "pq.ParquetFile") -> "Iterator[pa.RecordBatch]":
    """Read a row group after the other, so many rows at a time that they are no larger than a few megabytes."""
    for n in range(file.num_row_groups):
        about = file.metadata.row_group(n)
        n_rows = _BATCH_BYTES * about.num_rows // max(1, about.total_byte_size)
        yield from file.iter_batches(max(1, min(_BATCH_ROWS, n_rows)), row_groups=[n])


def _as_written(value: dict[str, object], json_columns: list[str]) -> dict[str, object]:
    """Undo what :mod:`formtune.dialects.parquet` did to a row: nulls go, and JSON text is read."""
    there = {name: _without_nulls(found) for name, found in value.items() if found is not None}
    return there | {name: value_of(str(there[name])) for name in json_columns if name in there}


def _without_nulls(value: object) -> object:
    if isinstance(value, list):
        return [_without_nulls(part) for part in value]
    return {name: part for name, part in value.items() if part is not None} if isinstance(value, dict) else value


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
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
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
