"""Conversations as ms-swift lays them out: messages with ``loss`` or ``loss_scale``, tool calls turns of their own."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from formtune.dialects.call_turns import calls_to_turns, turns_to_calls
from formtune.dialects.columns import Columns, Evidence, Object
from formtune.dialects.conversations import Spelling, all_spelled, messages_in
from formtune.dialects.message_columns import conversation_in, kept_apart, marked, row_of
from formtune.records import Conversation, Message, Record
from formtune.sources import Row

NAME = "swift"
SUMMARY = "Messages with 'loss' or 'loss_scale' and turns 'tool_call' and 'tool_response' (ms-swift)."
NEEDS = "a column 'messages' that holds a list of messages with 'loss' or 'loss_scale', or with tool_call turns"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"messages", "tools"})

_CALLS = ("tool_call", "function_call")
_ROLES: Mapping[str, str] = {
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "tool_response": "tool",
    "tool": "tool",
    **dict.fromkeys(_CALLS, "assistant"),
}


def _loss(weight: float) -> Object:
    """Give a loss weight as a truth value, where it is one, else as a factor."""
    return {"loss": bool(weight)} if weight in (0, 1) else {"loss_scale": weight}


_SPELLING = Spelling(_ROLES, _loss, frozenset({"parts"}))


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for messages with ms-swift's loss flags or roles; without any, another dialect of messages is likelier."""
    return marked(rows, columns, is_own=_is_own, marks="ms-swift's flags or roles")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the messages and tools; a call belongs to what was said just before it."""
    yield conversation_in(row, _messages_in)


def write(record: Record) -> Object | None:
    """Write the messages, each call as a turn, and the tools as JSON text."""
    if not isinstance(record, Conversation):
        return None
    written = all_spelled(calls_to_turns(record.messages, _CALLS, is_one_turn=False) or (), _SPELLING)
    return row_of(record, kept_apart(record, written, _messages_in), has_text_tools=True)


def _messages_in(found: Iterable[object]) -> tuple[Message, ...]:
    return turns_to_calls(messages_in(found, _ROLES), _CALLS)


def _is_own(message: Object) -> bool:
    return message.get("role") in ("tool_call", "tool_response") or "loss" in message or "loss_scale" in message
