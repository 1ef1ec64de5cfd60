"""Lists of messages, as the dialects of conversations share them."""

from collections.abc import Iterable

import msgspec

from formtune.dialects.columns import Object, RowFault
from formtune.records import Message

# Newer and older names of the same roles.
_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


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
