"""Conversations as OpenAI lays them out: ``messages`` with roles, tool calls, names and weights, beside ``tools``."""

from collections.abc import Iterator, Sequence

import msgspec

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, objects, rest
from formtune.dialects.conversations import as_row, is_messages, json_text, messages_in
from formtune.records import Conversation, Record
from formtune.sources import Row

NAME = "messages"
SUMMARY = "Conversations as a list of messages with roles, in OpenAI's layout, with tools and weights."
NEEDS = "a column 'messages' that holds a list of messages with 'role' and 'content'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"messages", "tools"})

_KEYS = frozenset({"role", "content", "weight", "loss_weight", "name", "tool_calls", "tool_call_id"})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for a list of messages; with a truth value beside it, rows are judgments (KTO) and not for this dialect."""
    table = objects(rows)
    fitting = sum(is_messages(value.get("messages")) for value in table)
    if not table or fitting * 2 <= len(table) or any(isinstance(value.get("label"), bool) for value in table):
        return None
    return Evidence(0.98 * fitting / len(table), f"'messages' with roles in {fitting} of {len(table)} rows", columns)


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the messages and tools; unknown keys of messages go aside under ``messages``, message by message."""
    value = as_object(row)
    found = value.get("messages")
    if not isinstance(found, list) or not found:
        raise RowFault("no messages")
    aside = [_unknown(part) for part in found]
    others = {name: content for name, content in value.items() if name not in ("messages", "tools")}
    yield Conversation(
        messages=messages_in(found),
        tools=json_text(value.get("tools"), "tools"),
        origin=row.origin,
        extra=rest({**others, **({"messages": aside} if any(aside) else {})}, ()),
    )


def write(record: Record) -> Object | None:
    """Write the messages, with tools and tool calls as JSON values."""
    if not isinstance(record, Conversation):
        return None
    extra = msgspec.json.decode(record.extra) if record.extra else {}
    aside = extra.pop("messages", None)
    written = [as_row(message) for message in record.messages]
    if isinstance(aside, list) and len(aside) == len(written):
        written = [{**more, **message} for more, message in zip(aside, written, strict=True)]
    tools = {"tools": msgspec.Raw(record.tools.encode())} if record.tools else {}
    return {**extra, "messages": written, **tools}


def _unknown(part: object) -> Object:
    return {key: found for key, found in part.items() if key not in _KEYS} if isinstance(part, dict) else {}
