"""Conversations as UltraChat lays them out: ``data`` is a list of texts, the user's and the assistant's in turn."""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, as_object, objects, rest, with_rest
from formtune.dialects.exchanges import alternating, alternating_of, are_texts
from formtune.records import Conversation, Record
from formtune.sources import Row

NAME = "ultrachat"
SUMMARY = "Conversations as a list of texts, of user and assistant in turn, in 'data' (UltraChat)."
NEEDS = "a column 'data' that holds a list of texts"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"data"})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for lists of texts."""
    table = objects(rows)
    fitting = sum(are_texts(value.get("data")) for value in table)
    if fitting * 2 <= len(table):
        return None
    return Evidence(0.98 * fitting / len(table), f"'data' of texts in {fitting} of {len(table)} rows", columns)


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the texts as messages."""
    value = as_object(row)
    yield Conversation(messages=alternating(value.get("data")), origin=row.origin, extra=rest(value, {"data"}))


def write(record: Record) -> Object | None:
    """Write the messages as texts; None where there is a system text, or a tool."""
    texts = alternating_of(record)
    return None if texts is None else with_rest({"data": texts}, record.extra)
