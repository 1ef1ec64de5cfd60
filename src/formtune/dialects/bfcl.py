"""Questions of the Berkeley Function Calling Leaderboard: turns of messages, and the functions that may be called.

What is right stands in a file of its own there (``ground_truth``: for each argument the values that count), so these
are conversations to be answered. Patil et al. 2025.
"""

from collections.abc import Iterator, Sequence

import msgspec

from formtune.dialects.calls import unwrapped
from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, rest, with_rest
from formtune.dialects.conversations import as_row, is_messages, json_text, messages_in
from formtune.dialects.layouts import seen
from formtune.records import Conversation, Message, Record
from formtune.sources import Row

NAME = "bfcl"
SUMMARY = "Questions of the Berkeley Function Calling Leaderboard: turns of messages, and functions to call."
NEEDS = "'question' as a list of lists of messages"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"question", "function"})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for questions that are turns of messages."""
    return seen(rows, columns, lambda value: _are_turns(value.get("question")), why="'question' as turns of messages")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the turns as one conversation, and the functions as its tools."""
    value = as_object(row)
    turns = value.get("question")
    if not _are_turns(turns):
        raise RowFault("a question that is not turns of messages", type(turns).__name__)
    assert isinstance(turns, list)
    yield Conversation(
        messages=messages_in(part for turn in turns for part in turn),
        tools=json_text(value.get("function"), "functions"),
        origin=row.origin,
        extra=rest(value, {"question", "function"}),
    )


def write(record: Record) -> Object | None:
    """Write a turn for each user message; None where anything is answered already."""
    if not isinstance(record, Conversation) or not {one.role for one in record.messages} <= {"system", "user"}:
        return None
    if not record.messages or record.messages[-1].role != "user":
        return None
    tools = unwrapped(record.tools)
    functions = {"function": msgspec.Raw(tools.encode())} if tools else {}
    return with_rest({"question": _turns(record.messages), **functions}, record.extra)


def _are_turns(found: object) -> bool:
    return isinstance(found, list) and bool(found) and all(map(is_messages, found))


def _turns(messages: Sequence[Message]) -> list[list[Object]]:
    turns: list[list[Object]] = [[]]
    for place, message in enumerate(messages, 1):
        turns[-1].append(as_row(message))
        if message.role == "user" and place < len(messages):
            turns.append([])
    return turns
