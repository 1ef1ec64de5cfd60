"""Rows as a Parquet file, in which nothing is padded.

Arrow gives every object of a column all keys that any of them has. So a column is kept as Arrow's own type only where that
adds nothing but nulls of texts and numbers (messages with a role, a content and perhaps a weight); whatever is nested
deeper (tool calls, schemas, unknown keys that hold objects) is kept as JSON text, which the readers here take as well.
"""

import io
from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

Object = dict[str, object]
_SCALARS = (str, bool, int, float)


def parquet(rows: Sequence[Object]) -> bytes:
    """Lay rows out as a Parquet file: a column for each key, in the order in which keys first appear."""
    plain: list[dict[str, Any]] = [msgspec.json.decode(msgspec.json.encode(row)) for row in rows]
    names = list(dict.fromkeys(name for row in plain for name in row))
    columns = {name: _column([row.get(name) for row in plain]) for name in names}
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, compression="zstd")
    return out.getvalue()


def _column(values: Sequence[Any]) -> pa.Array:
    """Give a column, as JSON text where Arrow has no type that holds its values as they are."""
    if _is_plain(values):
        try:
            found = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # texts among numbers, or one beyond 64 bits
            found = None
        if found is not None and not pa.types.is_null(found.type):
            return found
    return pa.array([one if one is None or isinstance(one, str) else _text(one) for one in values], pa.string())


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _is_plain(values: Sequence[Any]) -> bool:
    """Say whether values are scalars of one kind, lists of such, or lists of objects that hold scalars alone."""
    there = [one for one in values if one is not None]
    if all(isinstance(one, list) for one in there):
        inner = [part for one in there for part in one]
        if inner and all(isinstance(part, dict) for part in inner):
            held = {
                name: [part[name] for part in inner if part.get(name) is not None] for part in inner for name in part
            }
            return all(_is_one_kind(found) for found in held.values())
        return _is_one_kind(inner)
    return _is_one_kind(there)


def _is_one_kind(values: Sequence[Any]) -> bool:
    return len({type(one) for one in values}) == 1 and isinstance(values[0], _SCALARS)
