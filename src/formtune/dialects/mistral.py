"""Conversations as Mistral fine-tunes on them: OpenAI's layout, in which a call's id has exactly nine characters.

Weights are 0 or 1, and the assistant has the last word. Ids of another length are written as nine characters made of
them, the same for a call and its answer; calls without ids are given some.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence

import msgspec

from formtune.dialects.calls import Call, calls_of, calls_text, wrapped
from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, objects, rest, with_rest
from formtune.dialects.conversations import as_row, is_messages, json_text, messages_in
from formtune.dialects.layouts import seen, tools_row, with_system
from formtune.dialects.tool_answers import calls_answered
from formtune.records import Conversation, Message, Record
from formtune.sources import Row, value_of

NAME = "mistral"
SUMMARY = "Conversations for fine-tuning Mistral's models: OpenAI's layout with call ids of nine characters."
NEEDS = "'messages' in which every call of a tool has an id of nine letters and digits"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"messages", "tools"})

_ID = re.compile("[a-zA-Z0-9]{9}")


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for calls whose ids all have nine letters and digits; without calls, nothing tells it from OpenAI's."""
    ids = [one for value in objects(rows) for one in _ids(value.get("messages"))]
    if not ids or not all(isinstance(one, str) and _ID.fullmatch(one) for one in ids):
        return None
    why = "'messages' with call ids of nine characters"
    return seen(rows, columns, lambda value: is_messages(value.get("messages")), why=why)


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
        extra=rest(value, {"messages", "tools"}),
    )


def write(record: Record) -> Object | None:
    """Write the messages and tools, with ids for the calls and answers that have none.

    None where a weight is neither 0 nor 1, nobody can say which call a tool's answer without an id belongs to, the system
    speaks twice, or another than the assistant has the last word.
    """
    if not isinstance(record, Conversation) or not record.messages or record.messages[-1].role != "assistant":
        return None
    if any(message.weight not in (None, 0, 1) for message in record.messages) or with_system(record.messages) is None:
        return None
    named = _named(record.messages)
    if named is None:
        return None
    messages = [{**as_row(message), "role": message.role} for message in named]  # "developer" is OpenAI's alone
    return with_rest({"messages": messages, **tools_row(wrapped(record.tools))}, record.extra)


def _ids(messages: object) -> Iterator[object]:
    """Give the ids of a conversation's calls and of their answers."""
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict):
            calls = message.get("tool_calls")
            yield from (call.get("id") for call in (calls if isinstance(calls, list) else ()) if isinstance(call, dict))
            yield from [message["tool_call_id"]] if message.get("tool_call_id") is not None else []


def _named(messages: Sequence[Message]) -> list[Message] | None:
    """Give every call and every answer an id of nine characters; None where nobody can say which call is answered."""
    named = [_with_ids(message, place) for place, message in enumerate(messages)]
    called = [message for message in named if message is not None]
    if len(called) < len(named):
        return None
    ids = [call.id if call else None for call in calls_answered(called)]
    out = [
        message if message.tool_call_id or found is None else msgspec.structs.replace(message, tool_call_id=found)
        for message, found in zip(called, ids, strict=True)
    ]
    return out if all(message.tool_call_id for message in out if message.role == "tool") else None


def _with_ids(message: Message, place: int) -> Message | None:
    """Give a message's calls, or the call that it answers, ids of nine characters; None where a call has another layout."""
    calls = calls_of(message.tool_calls)
    if calls is None:
        return None
    if calls:
        ids = [_nine(call.id or f"{place} {number}") for number, call in enumerate(calls)]
        return _called(message, [msgspec.structs.replace(call, id=i) for call, i in zip(calls, ids, strict=True)])
    is_answer = message.role == "tool" and message.tool_call_id is not None
    return msgspec.structs.replace(message, tool_call_id=_nine(message.tool_call_id or "")) if is_answer else message


def _called(message: Message, calls: Sequence[Call]) -> Message:
    """Put calls in place of a message's own, unless they say the same: then its bytes stay."""
    text = calls_text(calls) or "[]"
    same = value_of(text) == value_of(message.tool_calls or "[]")
    return message if same else msgspec.structs.replace(message, tool_calls=text)


def _nine(name: str) -> str:
    return name if _ID.fullmatch(name) else hashlib.sha256(name.encode()).hexdigest()[:9]
