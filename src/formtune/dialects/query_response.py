"""Queries and responses as ms-swift lays them out, perhaps with a system text and a history."""

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
from formtune.dialects.conversations import is_judged
from formtune.dialects.exchanges import history_in, history_of, messages_of, texts_of
from formtune.records import Conversation, Record
from formtune.sources import Row

NAME = "query-response"
SUMMARY = "A query and its response, perhaps with a system text and a history (ms-swift)."
NEEDS = "columns 'query' and 'response'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"query", "response", "history", "system"})
_OWN = ("query", "response", "history", "system")


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for both columns; judgments and preferences are not for this dialect."""
    table = objects(rows)
    if not any("response" in value for value in table) or is_judged(table):
        return None
    found = share(table, ["query"])
    why = f"'query' with 'response' {in_rows(table, rows, 'query')}"
    return Evidence(0.95 * found, why, columns) if found > 0.5 else None


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read a conversation: the system text, the history, the query, the response; an empty one is yet to be given."""
    value = as_object(row)
    last = (filled_in(value, "query"), text_in(value, "response") or None)
    yield Conversation(
        messages=messages_of(text_in(value, "system"), [*history_in(value.get("history")), last]),
        origin=row.origin,
        extra=rest(value, _OWN),
    )


def write(record: Record) -> Object | None:
    """Write the last exchange as query and response, and what stands before as history."""
    found = texts_of(record)
    if found is None or not found[1][-1][0].strip():
        return None
    system, exchanges = found
    query, response = exchanges[-1]
    row: Object = {} if system is None else {"system": system}
    row |= {"query": query, "response": response or "", **history_of(exchanges)}
    return with_rest(row, record.extra, _OWN)
