"""Conversations as torchtune holds them: messages with ``masked``, ``ipython`` and ``eot``."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from formtune.dialects.columns import Columns, Evidence, Object
from formtune.dialects.conversations import Spelling, all_spelled, messages_in
from formtune.dialects.message_columns import conversation_in, marked, row_of
from formtune.records import Conversation, Message, Record
from formtune.sources import Row

NAME = "torchtune"
SUMMARY = "Messages with 'masked', perhaps 'ipython' and 'eot' (torchtune's Message)."
NEEDS = "a column 'messages' that holds a list of messages with 'masked', 'ipython' or 'eot'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"messages"})

_ROLES: Mapping[str, str] = {
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "ipython": "tool",
    "tool": "tool",
}


def _masked(weight: float) -> Object:
    return {"masked": not weight} if weight in (0, 1) else {}


_SPELLING = Spelling(_ROLES, _masked, frozenset({"parts"}))


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for messages with torchtune's flags or role; without any, another dialect of messages is likelier."""
    return marked(rows, columns, is_own=_is_own, marks="'masked', 'ipython' or 'eot'")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the messages; ``ipython`` and ``eot`` go aside."""
    yield conversation_in(row, _messages_in)


def write(record: Record) -> Object | None:
    """Write the messages; None where there are tools or calls, which torchtune holds as text alone."""
    if not isinstance(record, Conversation) or record.tools:
        return None
    return row_of(record, all_spelled(record.messages, _SPELLING))


def _messages_in(found: Iterable[object]) -> tuple[Message, ...]:
    return messages_in(found, _ROLES)


def _is_own(message: Object) -> bool:
    return message.get("role") == "ipython" or not {"masked", "ipython", "eot"}.isdisjoint(message)
