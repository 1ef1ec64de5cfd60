"""Instructions as Alpaca lays them out: instruction, input, output; also Dolly's and Self-Instruct's names for them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from formtune.dialects.columns import (
    Columns,
    Evidence,
    Object,
    RowFault,
    as_object,
    filled_in,
    find,
    names_of,
    objects,
    rest,
    share,
    text_in,
    with_rest,
)
from formtune.records import Conversation, Message, Record
from formtune.sources import Row

NAME = "alpaca"
SUMMARY = "Instruction, input and output, perhaps with system and history (Alpaca, Dolly, Self-Instruct)."
NEEDS = "columns 'instruction' and 'output'"
ROLES: frozenset[str] = frozenset()

_INPUTS = ("input", "context")
_OUTPUTS = ("output", "response", "answer", "completion")
NAMES = frozenset({"instruction", "system", "history", "instances", *_INPUTS, *_OUTPUTS})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for an instruction with its output, or with ``instances`` of input and output."""
    table = objects(rows)
    names = names_of(table)
    output = find(names, _OUTPUTS)
    if "instruction" not in names or not (output or "instances" in names):
        return None
    found = replace(columns, source=find(names, _INPUTS), target=output)
    return Evidence(0.94 * share(table, ["instruction"]), f"'instruction' with {output or 'instances'!r}", found)


def read(row: Row, columns: Columns) -> Iterator[Record]:
    """Read a conversation: the system text, the history, then the instruction with its input, then the output."""
    value = as_object(row)
    instances = value.get("instances")
    if not isinstance(instances, list):
        yield _conversation(row, value, columns)
        return
    outer = {name: content for name, content in value.items() if name != "instances"}
    for instance in instances:
        if not isinstance(instance, dict):
            raise RowFault("an instance that is not an object")
        yield _conversation(row, {**outer, **instance}, replace(columns, source="input", target="output"))


def write(record: Record) -> Object | None:
    """Write the last user and assistant message as instruction and output, and what stands before as history."""
    if not isinstance(record, Conversation) or record.tools or not all(map(_is_bare, record.messages)):
        return None
    messages = list(record.messages)
    system = messages.pop(0).content if messages and messages[0].role == "system" else None
    output = messages.pop().content if messages and messages[-1].role == "assistant" else ""
    roles = [message.role for message in messages]
    if roles != ["user", "assistant"] * (len(roles) // 2) + ["user"] or not messages[-1].content.strip():
        return None
    texts = [message.content for message in messages]
    row: Object = {"instruction": texts[-1], "input": "", "output": output}
    row |= {} if system is None else {"system": system}
    row |= {"history": [texts[place : place + 2] for place in range(0, len(texts) - 1, 2)]} if len(texts) > 1 else {}
    return with_rest(row, record.extra)


def _conversation(row: Row, value: Object, columns: Columns) -> Conversation:
    used = {"instruction", "system", "history", columns.source or "", columns.target or ""}
    system = text_in(value, "system")
    question = [filled_in(value, "instruction"), text_in(value, columns.source or "")]
    output = text_in(value, columns.target or "")
    messages = [
        *([Message("system", system)] if system else []),
        *_history(value.get("history")),
        Message("user", "\n".join(filter(None, question))),
        *([Message("assistant", output)] if output else []),
    ]
    return Conversation(messages=tuple(messages), origin=row.origin, extra=rest(value, used))


def _history(found: object) -> list[Message]:
    """Read earlier turns, each a list of what the user and what the assistant said."""
    turns = found or []
    if not isinstance(turns, list) or not all(_is_turn(turn) for turn in turns):
        raise RowFault("a history that is not a list of pairs of texts")
    roles = ("user", "assistant")
    return [Message(role, text) for turn in turns for role, text in zip(roles, turn, strict=True)]


def _is_turn(turn: object) -> bool:
    return isinstance(turn, list) and len(turn) == 2 and all(isinstance(text, str) for text in turn)


def _is_bare(message: Message) -> bool:
    return message == Message(message.role, message.content)
