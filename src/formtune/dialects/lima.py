"""Conversations as LIMA lays them out: ``conversations`` is a list of texts, the user's and the assistant's in turn."""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, as_object, objects, rest, with_rest
from formtune.dialects.exchanges import alternating, alternating_of, are_texts
from formtune.records import Conversation, Record
from formtune.sources import Row

NAME = "lima"
SUMMARY = "Conversations as a list of texts, of user and assistant in turn, in 'conversations' (LIMA)."
NEEDS = "a column 'conversations' that holds a list of texts"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"conversations"})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for lists of texts."""
    table = objects(rows)
    fitting = sum(are_texts(value.get("conversations")) for value in table)
    if fitting * 2 <= len(table):
        return None
    return Evidence(0.98 * fitting / len(table), f"'conversations' of texts in {fitting} of {len(table)} rows", columns)


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the texts as messages."""
    value = as_object(row)
    yield Conversation(
        messages=alternating(value.get("conversations")), origin=row.origin, extra=rest(value, {"conversations"})
    )


def write(record: Record) -> Object | None:
    """Write the messages as texts; None where there is a system text, or a tool."""
    texts = alternating_of(record)
    return None if texts is None else with_rest({"conversations": texts}, record.extra)
