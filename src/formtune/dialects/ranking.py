"""Preferences as LLaMA-Factory lays them out beside Alpaca's columns: ``instruction``, ``input``, and two answers."""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, as_object, rest, with_rest
from formtune.dialects.layouts import seen
from formtune.dialects.preferences import answer, as_text, asked_in, asked_row
from formtune.records import Preference, Record
from formtune.sources import Row

NAME = "ranking"
SUMMARY = "Instruction and input with a chosen and a rejected answer, perhaps with system and history (LLaMA-Factory)."
NEEDS = "columns 'instruction', 'chosen' and 'rejected'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"instruction", "input", "system", "history", "chosen", "rejected"})

_ASKED = ("instruction", "input")
_ANSWERS = ("chosen", "rejected")


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for an instruction with two answers."""
    names = ("instruction", *_ANSWERS)
    return seen(rows, columns, lambda value: all(value.get(name) for name in names), why="two answers to 'instruction'")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the system text, the history and the instruction with its input as the prompt, then both answers."""
    value = as_object(row)
    yield Preference(
        prompt=asked_in(value, _ASKED),
        chosen=answer(value.get("chosen")),
        rejected=answer(value.get("rejected")),
        origin=row.origin,
        extra=rest(value, {"system", "history", *_ASKED, *_ANSWERS}),
    )


def write(record: Record) -> Object | None:
    """Write the columns; None where the prompt or an answer is more than a text."""
    if not isinstance(record, Preference) or record.tools:
        return None
    asked = asked_row(record.prompt, "instruction", with_history=True)
    texts = as_text(record.chosen), as_text(record.rejected)
    if asked is None or not all(texts):
        return None
    return with_rest({**asked, "input": "", **dict(zip(_ANSWERS, texts, strict=True))}, record.extra)
