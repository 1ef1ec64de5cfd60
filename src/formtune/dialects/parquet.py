"""Rows as a Parquet file, in which nothing is padded.

Arrow gives every object of a column all keys that any of them has. So a column has a type of Arrow's own only where its values
are scalars of one kind, lists of such, or lists of objects that hold scalars alone (messages with a role, a content and
perhaps a weight); whatever is mixed or nested deeper (tool calls, schemas) is JSON text, and so is a column with a null that
was written as one. Which columns are text for this reason stands in the file, for :mod:`formtune.sources.columnar` to undo.
"""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from formtune.dialects.columns import Object
from formtune.sources import JSON_COLUMNS, text_of, value_of

if TYPE_CHECKING:
    import pyarrow as pa


def parquet(rows: Sequence[Object]) -> bytes:
    """Lay rows out as a Parquet file: a column for each key, in the order in which keys first appear."""
    import pyarrow as pa  # a tenth of a second to import, for those who write it
    import pyarrow.parquet as pq

    plain: list[dict[str, Any]] = [value_of(text_of(row)) for row in rows]
    columns: dict[str, pa.Array] = {}
    as_text = []
    for name in dict.fromkeys(name for row in plain for name in row):
        there = [row[name] for row in plain if name in row]
        found = _typed([row.get(name) for row in plain]) if _is_plain(there) else None
        if found is None:
            found = pa.array([text_of(row[name]) if name in row else None for row in plain], pa.string())
            as_text.append(name)
        columns[name] = found
    out = io.BytesIO()
    table = pa.table(columns).replace_schema_metadata({JSON_COLUMNS: text_of(as_text).encode()})
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def _typed(values: Sequence[Any]) -> "pa.Array | None":
    """Give a column of Arrow's own type; None where there is none that holds every value as it is."""
    import pyarrow as pa

    try:
        found = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # a whole number beyond 64 bits, a lone surrogate
        return None
    return None if pa.types.is_null(found.type) else found


def _is_plain(there: Sequence[Any]) -> bool:
    if not all(isinstance(one, list) for one in there):
        return _is_one_kind(there)
    inner = [part for one in there for part in one]
    if not (inner and all(isinstance(part, dict) for part in inner)):
        return _is_one_kind(inner)
    keys = dict.fromkeys(name for part in inner for name in part)
    return all(_is_one_kind([part[name] for part in inner if name in part]) for name in keys)


def _is_one_kind(values: Sequence[Any]) -> bool:
    return len({type(one) for one in values}) == 1 and type(values[0]) in (str, bool, int, float)  # no longer number
