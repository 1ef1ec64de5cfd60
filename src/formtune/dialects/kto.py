"""Answers that are judged one by one, as TRL's KTO trainer takes them: ``prompt``, ``completion`` and a true or false.

The judgment stands under ``label`` or ``kto_tag``. Read too: Alpaca's columns with such a tag (LLaMA-Factory).
"""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, rest, with_rest
from formtune.dialects.conversations import json_text
from formtune.dialects.layouts import seen, tools_row
from formtune.dialects.preferences import answer, as_text, asked_in, judged, rows_of, side, truth
from formtune.records import Preference, Record
from formtune.sources import Row

NAME = "kto"
SUMMARY = "A prompt and its completion, judged true or false (TRL's unpaired preferences for KTO)."
NEEDS = "columns 'prompt', 'completion' and a true or false in 'label' or 'kto_tag'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"prompt", "completion", "label", "kto_tag", "instruction", "input", "output"})

_TAGS = ("label", "kto_tag")
_LAYOUTS = {"prompt": "completion", "instruction": "output"}
_ALPACA = frozenset({"instruction", "input", "output", "system", "history"})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for a truth value beside a prompt and its completion."""
    return seen(rows, columns, _fits, why="true or false beside a prompt and its completion")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read a preference with one side: chosen where the completion is judged true, else rejected."""
    value = as_object(row)
    tag = next((name for name in _TAGS if truth(value.get(name)) is not None), None)
    if tag is None:
        raise RowFault("no judgment")
    if "prompt" in value:
        prompt, said, used = side(value["prompt"], "user"), value.get("completion"), {"prompt", "completion"}
    else:
        prompt, said, used = asked_in(value, ("instruction", "input")), value.get("output"), set(_ALPACA)
    right = truth(value[tag])
    yield Preference(
        prompt=prompt,
        chosen=answer(said) if right else (),
        rejected=() if right else answer(said),
        tools=json_text(value.get("tools"), "tools"),
        origin=row.origin,
        extra=rest(value, {*used, tag, "tools"}),
    )


def write(record: Record) -> Object | None:
    """Write the prompt, the completion and the judgment; None where two answers are compared."""
    found = judged(record) if isinstance(record, Preference) else None
    if not isinstance(record, Preference) or found is None:
        return None
    said, right = found
    texts = as_text(record.prompt, "user"), as_text(said)
    prompt, completion = (rows_of(record.prompt), rows_of(said)) if None in texts else texts
    return with_rest(
        {"prompt": prompt, "completion": completion, "label": right, **tools_row(record.tools)}, record.extra
    )


def _fits(value: Object) -> bool:
    if all(truth(value.get(tag)) is None for tag in _TAGS):
        return False
    return any(asked in value and value.get(said) for asked, said in _LAYOUTS.items())
