"""Conversations as OpenAI lays them out: ``messages`` with roles, tool calls, names and weights, beside ``tools``."""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, objects
from formtune.dialects.conversations import as_row, is_judged, is_messages, messages_in
from formtune.dialects.message_columns import conversation_in, row_of
from formtune.records import Conversation, Record
from formtune.sources import Row

NAME = "messages"
SUMMARY = "Conversations as a list of messages with roles, in OpenAI's layout (and Together's), with tools and weights."
NEEDS = "a column 'messages' that holds a list of messages with 'role' and 'content'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"messages", "tools"})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for a list of messages; judgments (KTO) and preferences are not for this dialect."""
    table = objects(rows)
    fitting = sum(is_messages(value.get("messages")) for value in table)
    if fitting * 2 <= len(table) or is_judged(table):
        return None
    return Evidence(0.98 * fitting / len(table), f"'messages' with roles in {fitting} of {len(table)} rows", columns)


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the messages and tools."""
    yield conversation_in(row, messages_in)


def write(record: Record) -> Object | None:
    """Write the messages, with tools and tool calls as JSON values."""
    return row_of(record, [as_row(one) for one in record.messages]) if isinstance(record, Conversation) else None
