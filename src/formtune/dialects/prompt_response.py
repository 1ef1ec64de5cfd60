"""Prompts and responses, as Databricks lays them out."""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import (
    Columns,
    Evidence,
    Object,
    as_object,
    filled_in,
    objects,
    rest,
    text_in,
    with_rest,
)
from formtune.dialects.conversations import is_judged
from formtune.dialects.exchanges import messages_of, texts_of
from formtune.records import Conversation, Record
from formtune.sources import Row

NAME = "prompt-response"
SUMMARY = "A prompt and its response, both texts (Databricks)."
NEEDS = "columns 'prompt' and 'response'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"prompt", "response"})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for prompts that are texts, with a response."""
    table = objects(rows)
    fitting = sum(isinstance(value.get("prompt"), str) and "response" in value for value in table)
    if fitting * 2 <= len(table) or is_judged(table) or any("completion" in value for value in table):
        return None
    return Evidence(0.94 * fitting / len(table), f"'prompt' with 'response' in {fitting} of {len(table)} rows", columns)


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read one exchange; an empty response is yet to be given."""
    value = as_object(row)
    exchange = (filled_in(value, "prompt"), text_in(value, "response") or None)
    yield Conversation(messages=messages_of(None, [exchange]), origin=row.origin, extra=rest(value, NAMES))


def write(record: Record) -> Object | None:
    """Write one exchange; None where there are more, or a system text, or tools."""
    found = texts_of(record)
    if found is None or found[0] is not None or len(found[1]) > 1 or not found[1][0][0].strip():
        return None
    [(prompt, response)] = found[1]
    return with_rest({"prompt": prompt, "response": response or ""}, record.extra)
