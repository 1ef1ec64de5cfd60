"""Answers that are judged one by one, as LLaMA-Factory lays them out beside Alpaca's columns: ``kto_tag`` is true or false.

Read too: the judgment under ``label``.
"""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, as_object, rest, with_rest
from formtune.dialects.judged import judgment
from formtune.dialects.layouts import seen
from formtune.dialects.preferences import answer, as_text, asked_in, asked_row, judged, truth
from formtune.records import Preference, Record
from formtune.sources import Row

NAME = "alpaca-kto"
SUMMARY = "Instruction, input and an output that is judged true or false (KTO in LLaMA-Factory)."
NEEDS = "columns 'instruction' and 'output', and a true or false in 'kto_tag'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"instruction", "input", "output", "system", "history", "kto_tag"})

_TAGS = ("kto_tag", "label")
_ASKED = ("instruction", "input")


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for a truth value beside an instruction and its output."""
    return seen(rows, columns, _fits, why="true or false beside 'instruction' and 'output'")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read a preference with one side: chosen where the output is judged true, else rejected."""
    value = as_object(row)
    tag, right = judgment(value, _TAGS)
    said = answer(value.get("output"))
    yield Preference(
        prompt=asked_in(value, _ASKED),
        chosen=said if right else (),
        rejected=() if right else said,
        origin=row.origin,
        extra=rest(value, {"system", "history", "output", tag, *_ASKED}),
    )


def write(record: Record) -> Object | None:
    """Write Alpaca's columns and the judgment; None where two answers are compared, or more is said than texts."""
    found = judged(record) if isinstance(record, Preference) else None
    if not isinstance(record, Preference) or found is None or record.tools:
        return None
    asked, output = asked_row(record.prompt, "instruction", with_history=True), as_text(found[0])
    if asked is None or not output:
        return None
    return with_rest({**asked, "input": "", "output": output, "kto_tag": found[1]}, record.extra)


def _fits(value: Object) -> bool:
    has_both = bool(value.get("instruction")) and bool(value.get("output"))
    return has_both and any(truth(value.get(tag)) is not None for tag in _TAGS)
