"""Preferences as Argilla lays them out: ``system``, ``instruction``, ``chosen_response`` and ``rejected_response``."""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, as_object, rest, with_rest
from formtune.dialects.layouts import seen
from formtune.dialects.preferences import answer, as_text, asked_in, asked_row
from formtune.records import Preference, Record
from formtune.sources import Row

NAME = "argilla"
SUMMARY = "An instruction with a chosen and a rejected response (Argilla; axolotl's chatml.argilla)."
NEEDS = "columns 'instruction', 'chosen_response' and 'rejected_response'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"system", "instruction", "chosen_response", "rejected_response"})

_ANSWERS = ("chosen_response", "rejected_response")


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for an instruction with two responses."""
    names = ("instruction", *_ANSWERS)
    return seen(rows, columns, lambda value: all(value.get(name) for name in names), why="two responses")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the system text and the instruction as the prompt, then both responses."""
    value = as_object(row)
    yield Preference(
        prompt=asked_in(value, ("instruction",)),
        chosen=answer(value.get("chosen_response")),
        rejected=answer(value.get("rejected_response")),
        origin=row.origin,
        extra=rest(value, {"system", "history", "instruction", *_ANSWERS}),
    )


def write(record: Record) -> Object | None:
    """Write the columns; None where there is a history, or a side is more than a text."""
    if not isinstance(record, Preference) or record.tools:
        return None
    asked = asked_row(record.prompt, "instruction", with_history=False)
    texts = as_text(record.chosen), as_text(record.rejected)
    if asked is None or not all(texts):
        return None
    return with_rest({**asked, **dict(zip(_ANSWERS, texts, strict=True))}, record.extra)
