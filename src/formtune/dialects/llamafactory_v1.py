"""Conversations as LLaMA-Factory's second engine lays them out: content in parts with ``value``, and ``loss_weight``."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from formtune.dialects.calls import call_texts, calls_in, together
from formtune.dialects.columns import Columns, Evidence, Object
from formtune.dialects.conversations import ROLES as ROLE_NAMES
from formtune.dialects.conversations import Spelling, messages_in, spelled
from formtune.dialects.message_columns import conversation_in, marked, row_of
from formtune.records import Conversation, Message, Record
from formtune.sources import Row, value_of

NAME = "llamafactory-v1"
SUMMARY = "Messages whose content is parts with 'type' and 'value', and 'loss_weight' (LLaMA-Factory v1)."
NEEDS = "a column 'messages' that holds a list of messages with content in parts with 'value', or with 'loss_weight'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"messages", "tools"})

_ORDER = ("reasoning", "text", "tool_call")
_KEYS = {"reasoning": "reasoning_content", "tool_call": "tool_calls"}  # where a message has them beside its content
_SPELLING = Spelling(ROLE_NAMES, lambda weight: {"loss_weight": weight}, frozenset({"parts"}))


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for parts with a value, or loss weights; without any, another dialect of messages is likelier."""
    return marked(rows, columns, is_own=_is_own, marks="'value' or 'loss_weight'")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the messages: reasoning first, then text, then tool calls; parts in another order stay parts."""
    yield conversation_in(row, _messages_in)


def write(record: Record) -> Object | None:
    """Write the messages in parts, and the tools as JSON text."""
    if not isinstance(record, Conversation):
        return None
    written = [_written(message) for message in record.messages]
    rows = [row for row in written if row is not None]
    return row_of(record, rows, has_text_tools=True) if len(rows) == len(written) else None


def _is_own(message: Object) -> bool:
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    return "loss_weight" in message or any(isinstance(part, dict) and "value" in part for part in parts)


def _messages_in(found: Iterable[object]) -> tuple[Message, ...]:
    return messages_in(map(_as_message, found))


def _as_message(part: object) -> object:
    """Give a message its parts as reasoning, text and tool calls, where they are these in this order."""
    values = _values(part.get("content")) if isinstance(part, dict) else None
    if values is None or not isinstance(part, dict) or any(values[of] and key in part for of, key in _KEYS.items()):
        return part
    row: Object = {**part, "content": "".join(values["text"])}
    row |= {"reasoning_content": values["reasoning"][0]} if values["reasoning"] else {}
    return row | ({"tool_calls": together(map(calls_in, values["tool_call"]))} if values["tool_call"] else {})


def _values(content: object) -> dict[str, list[str]] | None:
    """Give the texts of parts by their type; None where there are others, two of reasoning, or another order."""
    if not isinstance(content, list) or not all(_is_part(part) for part in content):
        return None
    types = [part["type"] for part in content]
    if types != sorted(types, key=_ORDER.index) or types.count("reasoning") > 1:
        return None
    return {name: [part["value"] for part in content if part["type"] == name] for name in _ORDER}


def _is_part(part: object) -> bool:
    return (
        isinstance(part, dict)
        and set(part) == {"type", "value"}
        and part["type"] in _ORDER
        and isinstance(part["value"], str)
    )


def _written(message: Message) -> Object | None:
    """Write a message; None where its parts would be read as something else, or a call has another layout."""
    row = spelled(msgspec.structs.replace(message, thinking=None, tool_calls=None), _SPELLING)
    calls = call_texts(message.tool_calls) if message.tool_calls else []
    if row is None or calls is None:
        return None
    if message.parts is not None:
        is_apart = message.thinking is None and not calls and _values(value_of(message.parts)) is None
        return row if is_apart else None
    values = {
        "reasoning": [] if message.thinking is None else [message.thinking],
        "text": [message.content] if message.content or not (calls or message.thinking is not None) else [],
        "tool_call": calls,
    }
    return row | {"content": [{"type": name, "value": text} for name, texts in values.items() for text in texts]}
