"""Conversations as ShareGPT lays them out: turns with ``from`` and ``value``, calls and their results turns of their own."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import msgspec

from formtune.dialects.call_turns import calls_to_turns, turns_to_calls
from formtune.dialects.columns import Columns, Evidence, Object, as_object, objects, rest, text_in
from formtune.dialects.conversations import (
    TURN_KEYS,
    Spelling,
    all_spelled,
    as_turn,
    as_weight,
    from_turn,
    is_judged,
    is_messages,
    messages_in,
)
from formtune.dialects.message_columns import conversation_in, kept_apart, row_of
from formtune.records import Conversation, Message, Record
from formtune.sources import Row

NAME = "sharegpt"
SUMMARY = "Conversations as turns with 'from' and 'value' (ShareGPT, LLaMA-Factory, FastChat, SlimOrca, BELLE)."
NEEDS = "a column 'conversations' that holds a list of turns with 'from' and 'value'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"conversations", "conversation", "messages", "system", "tools"})

_COLUMNS = ("conversations", "conversation", "messages")  # the first is written
_CALLS = ("function_call", "tool_call")
_ROLES: Mapping[str, str] = {
    "human": "user",
    "gpt": "assistant",
    "system": "system",
    "observation": "tool",
    "user": "user",
    "prompter": "user",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "tool": "tool",
    "tool_response": "tool",
    "function_response": "tool",
    "Human": "user",
    "User": "user",
    "Assistant": "assistant",
    "System": "system",
    "GPT": "assistant",
    **dict.fromkeys(_CALLS, "assistant"),
}
_SPELLING = Spelling(_ROLES, as_weight, frozenset())


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for turns with a speaker and a text; judgments and preferences are not for this dialect."""
    table = objects(rows)
    counts = {column: sum(_are_turns(value.get(column)) for value in table) for column in _COLUMNS}
    column = max(counts, key=lambda name: counts[name])
    if counts[column] * 2 <= len(table) or is_judged(table):
        return None
    why = f"{column!r} with turns in {counts[column]} of {len(table)} rows"
    return Evidence(0.97 * counts[column] / len(table), why, replace(columns, source=column))


def read(row: Row, columns: Columns) -> Iterator[Record]:
    """Read the turns, after a system text in a column of its own; a call belongs to what was said just before it."""
    value, column = as_object(row), columns.source or _COLUMNS[0]
    talk = conversation_in(row, _messages_in, column=column, keys=TURN_KEYS)
    if system := text_in(value, "system"):
        extra = rest(value, (column, "system", "tools"))
        talk = msgspec.structs.replace(talk, messages=(Message("system", system), *talk.messages), extra=extra)
    yield talk


def write(record: Record) -> Object | None:
    """Write all messages as turns, the system text too, and the tools as JSON text."""
    if not isinstance(record, Conversation):
        return None
    written = all_spelled(calls_to_turns(record.messages, _CALLS, is_one_turn=True) or (), _SPELLING)
    turns = kept_apart(record, list(map(as_turn, written or ())), _messages_in)
    return row_of(record, turns, column=_COLUMNS[0], has_text_tools=True, reserved=("system",))


def _messages_in(turns: Iterable[object]) -> tuple[Message, ...]:
    return turns_to_calls(messages_in(map(from_turn, turns), _ROLES), _CALLS)


def _are_turns(value: object) -> bool:
    """Say whether a value is a list of turns; Pygmalion's have a ``role`` and a ``value``."""
    return is_messages(value, "from") or (is_messages(value) and is_messages(value, "value"))
