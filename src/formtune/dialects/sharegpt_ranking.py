"""Preferences as LLaMA-Factory lays them out beside ShareGPT's columns: ``conversations``, ``chosen``, ``rejected``."""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, rest, text_in, with_rest
from formtune.dialects.conversations import json_text
from formtune.dialects.layouts import seen, with_system
from formtune.dialects.preferences import answer, as_value, has_both, side
from formtune.records import Message, Preference, Record
from formtune.sources import Row

NAME = "sharegpt-ranking"
SUMMARY = "A conversation of 'from' and 'value' with a chosen and a rejected answer (LLaMA-Factory)."
NEEDS = "columns 'conversations', 'chosen' and 'rejected'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"conversations", "chosen", "rejected", "system", "tools"})

_ANSWERS = ("chosen", "rejected")


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for a conversation with two answers."""
    names = ("conversations", *_ANSWERS)
    why = "two answers to 'conversations'"
    return seen(rows, columns, lambda value: all(value.get(name) for name in names), why=why)


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the conversation as the prompt, then both answers."""
    value = as_object(row)
    said = side(value.get("conversations"))
    if not said:
        raise RowFault("no conversation")
    system = text_in(value, "system")
    yield Preference(
        prompt=(*([Message("system", system)] if system else []), *said),
        chosen=answer(value.get("chosen")),
        rejected=answer(value.get("rejected")),
        tools=json_text(value.get("tools"), "tools"),
        origin=row.origin,
        extra=rest(value, {"conversations", *_ANSWERS, "system", "tools"}),
    )


def write(record: Record) -> Object | None:
    """Write the conversation and one message for each answer; None where an answer has more."""
    if not isinstance(record, Preference) or not has_both(record) or len(record.chosen + record.rejected) != 2:
        return None
    apart = with_system(record.prompt)
    if apart is None or not apart[1]:
        return None
    system, said = apart
    messages = [as_value(message) for message in said]
    answers = [as_value(record.chosen[0]), as_value(record.rejected[0])]
    if None in messages or None in answers:
        return None
    row: Object = {"conversations": messages, **dict(zip(_ANSWERS, answers, strict=True))}
    row |= {"system": system} if system else {}
    row |= {"tools": record.tools} if record.tools else {}
    return with_rest(row, record.extra)
