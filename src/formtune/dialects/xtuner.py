"""Conversations as XTuner lays them out: turns with ``input`` and ``output``, the first perhaps with a system text."""

from collections.abc import Iterator, Sequence

import msgspec

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, objects, rest, with_rest
from formtune.dialects.conversations import extra_of, is_judged, weight_in
from formtune.dialects.exchanges import is_text
from formtune.records import Conversation, Message, Record
from formtune.sources import Row

NAME = "xtuner"
SUMMARY = "Conversations as a list of turns with 'system', 'input', 'output' and 'output_with_loss' (XTuner)."
NEEDS = "a column 'conversation' that holds a list of turns with 'input' or 'output'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"conversation"})

_TEXTS = {"system": "system", "input": "user", "output": "assistant"}
_ORDER = tuple(_TEXTS)
_FLAG = "output_with_loss"


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for lists of such turns."""
    table = objects(rows)
    fitting = sum(_are_turns(value.get("conversation")) for value in table)
    if fitting * 2 <= len(table) or is_judged(table):
        return None
    return Evidence(0.98 * fitting / len(table), f"'input' and 'output' in {fitting} of {len(table)} rows", columns)


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the turns; an empty input is none, which is how text to go on from is laid out."""
    value = as_object(row)
    found = value.get("conversation")
    if not isinstance(found, list) or not found:
        raise RowFault("no turns")
    messages = tuple(message for turn in found for message in _messages(turn))
    if not messages:
        raise RowFault("no messages")
    yield Conversation(messages=messages, origin=row.origin, extra=rest(value, ("conversation",)))


def write(record: Record) -> Object | None:
    """Write the turns; None where a message is a tool's, says more than text, or is an empty one of the user."""
    if not isinstance(record, Conversation) or record.tools or not record.messages:
        return None
    turns: list[dict[str, Message]] = []
    for message in record.messages:
        key = next((key for key, role in _TEXTS.items() if role == message.role), None)
        if key is None or not is_text(message) or not (message.content or key == "output"):
            return None
        if not turns or any(taken in turns[-1] for taken in _ORDER[_ORDER.index(key) :]):
            turns.append({})
        turns[-1][key] = message
    return with_rest({"conversation": list(map(_turn, turns))}, record.extra)


def _are_turns(value: object) -> bool:
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(turn, dict) and ("input" in turn or "output" in turn) for turn in value)


def _messages(turn: object) -> list[Message]:
    """Read a turn; unknown keys belong to the last of its messages.

    Raises:
        RowFault: when it is something else, or a text is none.
    """
    if not isinstance(turn, dict) or not all(isinstance(turn.get(key), str | None) for key in _TEXTS):
        raise RowFault("a turn that is not 'input' and 'output', both texts")
    said = {role: turn[key] for key, role in _TEXTS.items() if turn.get(key) or (key == "output" and key in turn)}
    weight = weight_in({"loss": turn.get(_FLAG)})
    extra = rest(turn, (*_TEXTS, _FLAG))
    messages = [
        Message(role, text, weight=weight if role == "assistant" else None)
        for role, text in said.items()
        if text is not None
    ]
    return [*messages[:-1], *(msgspec.structs.replace(last, extra=extra) for last in messages[-1:])]


def _turn(messages: dict[str, Message]) -> Object:
    """Write a turn of one to three messages."""
    weight = messages["output"].weight if "output" in messages else None
    row: Object = {"input": "", **{key: message.content for key, message in messages.items()}}
    row |= {_FLAG: bool(weight)} if weight in (0, 1) else {}
    aside = extra_of(list(messages.values())[-1])
    return row | {key: value for key, value in aside.items() if key not in (*_TEXTS, _FLAG, "role")}
