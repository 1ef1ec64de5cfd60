"""Conversations as Amazon Bedrock customizes models on them: ``schemaVersion``, and contents that are lists of blocks."""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, rest
from formtune.dialects.layouts import alternates, seen
from formtune.records import Conversation, Message, Record
from formtune.sources import Row, text_of, value_of

NAME = "bedrock"
SUMMARY = "Conversations for Amazon Bedrock (bedrock-conversation-2024): system and messages as blocks of text."
NEEDS = "'schemaVersion' with 'bedrock-conversation-2024', and 'messages' with blocks of text"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"schemaversion", "system", "messages"})

_VERSION = "bedrock-conversation-2024"
_MEDIA = ("image", "video", "document")


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for the version."""
    return seen(rows, columns, lambda value: value.get("schemaVersion") == _VERSION, why=f"{_VERSION!r}")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the system texts, each a message, then the messages."""
    value = as_object(row)
    if value.get("schemaVersion") != _VERSION:
        raise RowFault(f"a schemaVersion that is not {_VERSION!r}")
    said = value.get("messages")
    if not isinstance(said, list) or not said:
        raise RowFault("no messages")
    system = [_message("system", [block]) for block in _blocks(value.get("system") or [])]
    yield Conversation(
        messages=(*system, *map(_said, said)),
        origin=row.origin,
        extra=rest(value, {"schemaVersion", "system", "messages"}),
    )


def write(record: Record) -> Object | None:
    """Write the blocks, and no key but these, which Bedrock would refuse.

    None where user and assistant do not speak in turn, or tools are called.
    """
    if not isinstance(record, Conversation) or record.tools:
        return None
    system = [message for message in record.messages if message.role == "system"]
    said = record.messages[len(system) :]
    contents = [_content(message) for message in (*system, *said)]
    if not alternates(said) or None in contents:
        return None
    first = [block for content in contents[: len(system)] for block in content or ()]
    both = zip(said, contents[len(system) :], strict=True)
    row: Object = {"schemaVersion": _VERSION, **({"system": first} if first else {})}
    return {**row, "messages": [{"role": one.role, "content": content} for one, content in both]}


def _said(found: object) -> Message:
    match found:
        case {"role": "user" | "assistant" as role, "content": content}:
            assert isinstance(found, dict)
            return _message(role, _blocks(content), extra=rest(found, {"role", "content"}))
    raise RowFault("a message without the role 'user' or 'assistant', or without content")


def _blocks(found: object) -> list[Object]:
    if not isinstance(found, list) or not all(isinstance(block, dict) for block in found):
        raise RowFault("content that is not a list of blocks", type(found).__name__)
    return found


def _message(role: str, blocks: Sequence[Object], *, extra: str | None = None) -> Message:
    typed = [_typed(block) for block in blocks]
    texts = [str(block["text"]) for block in typed if block["type"] == "text"]
    parts = None if len(texts) == len(typed) else text_of(typed)
    return Message(role, "".join(texts), parts=parts, extra=extra)


def _typed(block: Object) -> Object:
    """Give a block the type that says what it is, as other dialects have it."""
    kind = next(iter(block), "")
    if len(block) != 1 or not (isinstance(block[kind], str) if kind == "text" else kind in _MEDIA):
        raise RowFault("a block that is neither text nor media", ", ".join(block))
    return {"type": kind, **block}


def _content(message: Message) -> list[Object] | None:
    """Write a message's blocks; None where it holds what has no block."""
    if message.tool_calls or message.role not in ("system", "user", "assistant"):
        return None
    if message.parts is None:
        return [{"text": message.content}]
    typed = value_of(message.parts)
    if not all(isinstance(part, dict) and part["type"] in ("text", *_MEDIA) for part in typed):
        return None
    return [{name: found for name, found in part.items() if name != "type"} for part in typed]
