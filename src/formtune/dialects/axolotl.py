"""Conversations as axolotl's ``chat_template`` lays them out: messages with ``train``, and stretches of them."""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object
from formtune.dialects.conversations import ROLES as ROLE_NAMES
from formtune.dialects.conversations import Spelling, all_spelled, messages_in
from formtune.dialects.message_columns import conversation_in, marked, row_of
from formtune.records import Conversation, Record
from formtune.sources import Row

NAME = "axolotl"
SUMMARY = "Messages with 'train', or 'train_detail' for stretches of their text (axolotl's chat_template)."
NEEDS = "a column 'messages' that holds a list of messages with 'train' or 'train_detail', or parts with 'train'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"messages", "tools"})


def _train(weight: float) -> Object:
    return {"train": bool(weight)} if weight in (0, 1) else {}


_HELD = frozenset({"name", "tool_calls", "tool_call_id", "thinking", "spans", "parts"})
_SPELLING = Spelling(ROLE_NAMES, _train, _HELD)


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for messages with axolotl's flags; without any, another dialect of messages is likelier."""
    return marked(rows, columns, is_own=_is_own, marks="'train' or 'train_detail'")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the messages and tools; parts with a flag are stretches of the text."""
    yield conversation_in(row, messages_in)


def write(record: Record) -> Object | None:
    """Write the messages, with tools and tool calls as JSON values, and stretches as 'train_detail'."""
    return row_of(record, all_spelled(record.messages, _SPELLING)) if isinstance(record, Conversation) else None


def _is_own(message: Object) -> bool:
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    flagged = [message, *(part for part in parts if isinstance(part, dict))]
    has_part = any("train" in part or "weight" in part for part in flagged[1:])
    return has_part or "train" in message or "train_detail" in message
