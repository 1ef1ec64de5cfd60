"""Instructions as Firefly's first data set lays them out: the kind of task, its input and its target."""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import (
    Columns,
    Evidence,
    Object,
    as_object,
    filled_in,
    in_rows,
    objects,
    rest,
    share,
    text_in,
    with_rest,
)
from formtune.dialects.exchanges import messages_of, texts_of
from formtune.records import Conversation, Record
from formtune.sources import Row, value_of

NAME = "firefly"
SUMMARY = "The kind of a task, its input and its target (Firefly 1.1M)."
NEEDS = "columns 'kind', 'input' and 'target'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"kind", "input", "target"})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for all three columns."""
    table = objects(rows)
    if not all(any(name in value for value in table) for name in NAMES):
        return None
    why = f"'kind' with 'input' and 'target' {in_rows(table, rows, 'input')}"
    return Evidence(0.95 * share(table, ["input"]), why, columns)


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read one exchange; the kind of task goes aside, and an empty target is yet to be given."""
    value = as_object(row)
    exchange = (filled_in(value, "input"), text_in(value, "target") or None)
    used = {"input", "target", *(["kind"] if value.get("kind") == "" else [])}
    yield Conversation(messages=messages_of(None, [exchange]), origin=row.origin, extra=rest(value, used))


def write(record: Record) -> Object | None:
    """Write one exchange, with an empty kind where none is known; None where there are more, or a system text."""
    found = texts_of(record)
    if found is None or found[0] is not None or len(found[1]) > 1 or not found[1][0][0].strip():
        return None
    [(asked, target)] = found[1]
    kind = (value_of(record.extra) if record.extra else {}).get("kind", "")
    return with_rest({"kind": kind, "input": asked, "target": target or ""}, record.extra)
