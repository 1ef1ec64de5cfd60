"""Conversations as OpenAI lays them out: ``messages`` with roles, tool calls, names and weights, beside ``tools``."""

from collections.abc import Iterator, Sequence

import msgspec

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, objects, rest, with_rest
from formtune.dialects.conversations import as_row, is_messages, json_text, messages_in
from formtune.records import Conversation, Record
from formtune.sources import Row

NAME = "messages"
SUMMARY = "Conversations as a list of messages with roles, in OpenAI's layout (and Together's), with tools and weights."
NEEDS = "a column 'messages' that holds a list of messages with 'role' and 'content'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"messages", "tools"})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for a list of messages; with a truth value beside it, rows are judgments (KTO) and not for this dialect."""
    table = objects(rows)
    fitting = sum(is_messages(value.get("messages")) for value in table)
    if not table or fitting * 2 <= len(table) or any(isinstance(value.get("label"), bool) for value in table):
        return None
    return Evidence(0.98 * fitting / len(table), f"'messages' with roles in {fitting} of {len(table)} rows", columns)


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the messages and tools."""
    value = as_object(row)
    found = value.get("messages")
    if not isinstance(found, list) or not found:
        raise RowFault("no messages")
    yield Conversation(
        messages=messages_in(found),
        tools=json_text(value.get("tools"), "tools"),
        origin=row.origin,
        extra=rest(value, ("messages", "tools")),
    )


def write(record: Record) -> Object | None:
    """Write the messages, with tools and tool calls as JSON values."""
    if not isinstance(record, Conversation):
        return None
    tools = {"tools": msgspec.Raw(record.tools.encode())} if record.tools else {}
    return with_rest({"messages": [as_row(message) for message in record.messages], **tools}, record.extra)
