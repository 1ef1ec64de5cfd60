"""What rows mean, once their dialect is known: each row by itself."""

from collections.abc import Iterable, Iterator

import msgspec

from formtune.dialects.columns import Columns, Dialect, RowFault
from formtune.records import LeftOut, Record
from formtune.sources import Row


def items_of(
    rows: Iterable[Row | LeftOut], module: Dialect, columns: Columns, *, group: str | None
) -> Iterator[Record | LeftOut]:
    """Read rows into records; what is none is left out, in its place.

    Args:
        rows: of one dialect.
        module: the dialect.
        columns: which column holds what.
        group: the column that names what must not be split, as the data write it.
    """
    for row in rows:
        items = row_items(row, module, columns)
        yield from items if group is None else [_grouped(item, row, group) for item in items]


def row_items(row: Row | LeftOut, module: Dialect, columns: Columns) -> list[Record | LeftOut]:
    """Read one row; what is left out already stays so."""
    if isinstance(row, LeftOut):
        return [row]
    try:
        return list(module.read(row, columns))
    except RowFault as fault:
        return [fault.left_out(row.origin)]
    except RecursionError:  # a value can be read at one depth of calls and not written at another
        return [LeftOut("nested too deeply", row.origin)]


def _grouped(item: Record | LeftOut, row: Row | LeftOut, column: str) -> Record | LeftOut:
    value = row.value.get(column) if isinstance(row, Row) and isinstance(row.value, dict) else None
    has_group = not isinstance(item, LeftOut) and value is not None and value != ""
    return msgspec.structs.replace(item, group=str(value)) if has_group else item
