"""Conversations as ChatGLM lays them out: ``conversations`` with roles and content, a call together with its result."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import msgspec

from formtune.dialects.call_turns import calls_to_turns, role_name, turns_to_calls
from formtune.dialects.calls import calls_in, functions_in, text_of_call
from formtune.dialects.columns import Columns, Evidence, Object, RowFault, objects
from formtune.dialects.conversations import (
    Spelling,
    is_judged,
    is_messages,
    messages_in,
    spelled,
)
from formtune.dialects.message_columns import conversation_in, kept_apart, row_of
from formtune.records import Conversation, Message, Record
from formtune.sources import Row, text_of, value_of

NAME = "chatglm"
SUMMARY = "Turns with 'role' and 'content' in 'conversations'; a tool's with 'parameters' and 'observation' (ChatGLM3, LMSYS)."
NEEDS = "a column 'conversations' that holds a list of turns with 'role' and 'content'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"conversations", "conversation", "tools"})

_COLUMNS = ("conversations", "conversation")  # the first is written
_CALLS = ("function_call",)
_ROLES: Mapping[str, str] = {
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "observation": "tool",
    "tool": "tool",
    **dict.fromkeys(_CALLS, "assistant"),
}
_SPELLING = Spelling(_ROLES, lambda _weight: {}, frozenset())
_TOOL = frozenset({"role", "name", "parameters", "observation"})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for turns with a role and a content, or an observation."""
    table = objects(rows)
    counts = {column: sum(_are_turns(value.get(column)) for value in table) for column in _COLUMNS}
    column = max(counts, key=lambda name: counts[name])
    if counts[column] * 2 <= len(table) or is_judged(table):
        return None
    why = f"{column!r} with roles in {counts[column]} of {len(table)} rows"
    return Evidence(0.98 * counts[column] / len(table), why, replace(columns, source=column))


def read(row: Row, columns: Columns) -> Iterator[Record]:
    """Read the turns: a tool's is a call, which belongs to what was said just before it, and its result."""
    yield conversation_in(row, _messages_in, column=columns.source or _COLUMNS[0])


def write(record: Record) -> Object | None:
    """Write the turns; None where a call has no result just after it, or its arguments are not JSON."""
    turns = calls_to_turns(record.messages, _CALLS, is_one_turn=False) if isinstance(record, Conversation) else None
    if not turns or not isinstance(record, Conversation):
        return None
    followers = [*turns[1:], None]
    written = [
        _tool(turn, result) if _is_call(turn) else spelled(turn, _SPELLING)
        for place, (turn, result) in enumerate(zip(turns, followers, strict=True))
        if not (place and _is_call(turns[place - 1]))
    ]
    rows = [row for row in written if row is not None]
    if len(rows) < len(written):
        return None
    return row_of(record, kept_apart(record, rows, _messages_in), column=_COLUMNS[0])


def _are_turns(value: object) -> bool:
    if not is_messages(value) or not isinstance(value, list):
        return False
    return all("content" in turn or "observation" in turn for turn in value)


def _is_call(turn: Message) -> bool:
    return role_name(turn) in _CALLS


def _messages_in(found: Iterable[object]) -> tuple[Message, ...]:
    messages = messages_in((part for turn in found for part in _as_messages(turn)), _ROLES)
    return turns_to_calls(messages, _CALLS)


def _as_messages(turn: object) -> list[object]:
    """Make a call and its result of a tool's turn; leave any other as it is.

    Raises:
        RowFault: when a tool's turn has no name, or no result.
    """
    if not isinstance(turn, dict) or "observation" not in turn or "content" in turn:
        return [turn]
    match turn:
        case {"role": "tool", "name": str(name), "observation": observation}:
            arguments = {"arguments": text_of(turn["parameters"])} if "parameters" in turn else {}
            call = text_of_call({"name": name, **arguments})
            result = observation if isinstance(observation, str) else text_of(observation)
            aside = {key: value for key, value in turn.items() if key not in _TOOL}
            return [{"role": _CALLS[0], "content": call}, {**aside, "role": "observation", "content": result}]
    raise RowFault("a tool's turn without its name and its observation")


def _tool(call: Message, result: Message | None) -> Object | None:
    """Write a call and its result as one turn."""
    row = spelled(result, _SPELLING) if result and result.role == "tool" else None
    functions = functions_in(calls_in(call.content)) or []
    if row is None or len(functions) != 1 or not set(functions[0]) <= {"name", "arguments"}:
        return None
    try:
        parameters = {"parameters": _value(functions[0]["arguments"])} if "arguments" in functions[0] else {}
    except msgspec.DecodeError:
        return None
    aside = {key: value for key, value in row.items() if key not in ("content", *_TOOL)}
    return {"role": "tool", "name": functions[0]["name"], **parameters, "observation": row["content"], **aside}


def _value(arguments: object) -> object:
    """Give a call's arguments as a value; raises a DecodeError where they are no JSON."""
    return value_of(arguments) if isinstance(arguments, str) else arguments
