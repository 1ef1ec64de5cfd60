"""Conversations as Cohere fine-tunes on them: ``messages`` of the roles System, User and Chatbot."""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, rest, with_rest
from formtune.dialects.conversations import as_row, messages_in
from formtune.dialects.layouts import listed, only_says, seen
from formtune.records import Conversation, Message, Record
from formtune.sources import Row

NAME = "cohere"
SUMMARY = "Conversations for fine-tuning Cohere's models: messages of the roles System, User and Chatbot."
NEEDS = "'messages' with the role 'Chatbot'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"messages"})

_ROLES = {"system": "System", "user": "User", "assistant": "Chatbot"}
_READ = {written.casefold(): role for role, written in _ROLES.items()}


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for messages that a chatbot has written."""
    return seen(rows, columns, _fits, why="'messages' with the role 'Chatbot'")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the messages; roles count without their capitals."""
    value = as_object(row)
    found = listed(value.get("messages"))
    if not found:
        raise RowFault("no messages")
    messages = messages_in({**part, "role": _role(part["role"])} for part in found)
    yield Conversation(messages=messages, origin=row.origin, extra=rest(value, {"messages"}))


def write(record: Record) -> Object | None:
    """Write the messages; None where tools are called."""
    if not isinstance(record, Conversation) or record.tools or not all(map(only_says, record.messages)):
        return None
    return with_rest({"messages": [_written(message) for message in record.messages]}, record.extra)


def _fits(value: Object) -> bool:
    return any(str(part["role"]).casefold() == "chatbot" for part in listed(value.get("messages")))


def _role(said: object) -> str:
    role = _READ.get(str(said).casefold())
    if role is None:
        raise RowFault("a message with an unknown role", repr(said))
    return role


def _written(message: Message) -> Object:
    return {**as_row(message), "role": _ROLES[message.role]}
