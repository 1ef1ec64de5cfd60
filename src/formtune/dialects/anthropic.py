"""Conversations as Claude is fine-tuned on them in Amazon Bedrock: a text ``system`` beside alternating ``messages``."""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, objects, rest
from formtune.dialects.conversations import messages_in
from formtune.dialects.layouts import alternates, listed, only_says, seen, with_system
from formtune.records import Conversation, Message, Record
from formtune.sources import Row

NAME = "anthropic"
SUMMARY = "Conversations for fine-tuning Claude: a system text beside messages of user and assistant in turn."
NEEDS = "a text 'system' beside 'messages' of user and assistant"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"system", "messages"})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for a system text beside messages; without one in any row, nothing tells the layout from OpenAI's."""
    if not any(isinstance(value.get("system"), str) for value in objects(rows)):
        return None
    return seen(rows, columns, _fits, why="messages of user and assistant beside a text 'system'", score=0.99)


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the system text as the first message, then the messages."""
    value = as_object(row)
    found, system = value.get("messages"), value.get("system") or ""
    if not isinstance(found, list) or not found:
        raise RowFault("no messages")
    if not isinstance(system, str):
        raise RowFault("a system that is not a text", type(system).__name__)
    yield Conversation(
        messages=(*([Message("system", system)] if system else []), *messages_in(found)),
        origin=row.origin,
        extra=rest(value, {"system", "messages"}),
    )


def write(record: Record) -> Object | None:
    """Write the system text apart, and no key but these, which Bedrock would refuse.

    None where user and assistant do not speak in turn, somebody says nothing, or tools are called.
    """
    if not isinstance(record, Conversation) or record.tools or not all(map(only_says, record.messages)):
        return None
    parted = with_system(record.messages)
    if parted is None or not alternates(parted[1]) or not all(message.content.strip() for message in record.messages):
        return None
    system, said = parted
    row: Object = {} if system is None else {"system": system}
    return {**row, "messages": [{"role": message.role, "content": message.content} for message in said]}


def _fits(value: Object) -> bool:
    found = listed(value.get("messages"))
    return bool(found) and all(part["role"] in ("user", "assistant") for part in found)
