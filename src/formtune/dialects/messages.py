"""Conversations as OpenAI lays them out: ``messages`` with roles, tool calls, names and weights, beside ``tools``."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, objects, rest
from formtune.records import Conversation, Message, Record
from formtune.sources import Row

NAME = "messages"
SUMMARY = "Conversations as a list of messages with roles, in OpenAI's layout, with tools and weights."
NEEDS = "a column 'messages' that holds a list of messages with 'role' and 'content'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"messages", "tools"})

# Newer and older names of the same roles.
_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
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


def is_messages(value: object) -> bool:
    """Say whether a value is a list of objects with a role."""
    return isinstance(value, list) and bool(value) and all(isinstance(part, dict) and "role" in part for part in value)


def messages_in(found: Iterable[object]) -> tuple[Message, ...]:
    """Read a list of messages.

    Raises:
        RowFault: when a role is unknown, or a content is not text.
    """
    return tuple(map(_message, found))


def as_row(message: Message) -> Object:
    """Write one message; what it does not have is left away."""
    row: Object = {"role": message.role, "content": message.content}
    row.update(
        {key: found for key in ("weight", "name", "tool_call_id") if (found := getattr(message, key)) is not None}
    )
    if message.tool_calls:
        row["tool_calls"] = msgspec.Raw(message.tool_calls.encode())
    return row


def json_text(value: object, what: str) -> str | None:
    """Give a value as JSON text; text that is JSON already stays as it is.

    Raises:
        RowFault: when it is text, but not JSON.
    """
    if value is None or value in ("", []):
        return None
    if not isinstance(value, str):
        return msgspec.json.encode(value).decode()
    try:
        msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        raise RowFault(f"{what} that are not JSON", str(error)) from error
    return value


def _message(part: object) -> Message:
    if not isinstance(part, dict):
        raise RowFault("a message that is not an object", type(part).__name__)
    role = _ROLES.get(str(part.get("role")))
    if role is None:
        raise RowFault("a message with an unknown role", repr(part.get("role")))
    weight = part.get("weight", part.get("loss_weight"))
    if not isinstance(weight, (int, float, type(None))):
        raise RowFault("a message weight that is not a number", repr(weight))
    return Message(
        role=role,
        content=_content(part.get("content")),
        weight=None if weight is None else float(weight),
        name=_optional(part, "name"),
        tool_calls=json_text(part.get("tool_calls"), "tool calls"),
        tool_call_id=_optional(part, "tool_call_id"),
    )


def _content(value: object) -> str:
    """Give a message's text: as it stands, or from its parts."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    parts = value if isinstance(value, list) else [value]
    texts = [_part(part) for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise RowFault("a message with content that is not text")
    return "".join(map(str, texts))


def _part(part: object) -> object:
    if isinstance(part, str) or not isinstance(part, dict):
        return part if isinstance(part, str) else None
    return part.get("text", part.get("value")) if part.get("type") == "text" else None


def _optional(part: Object, key: str) -> str | None:
    found = part.get(key)
    return found if isinstance(found, str) else None


def _unknown(part: object) -> Object:
    return {key: found for key, found in part.items() if key not in _KEYS} if isinstance(part, dict) else {}
