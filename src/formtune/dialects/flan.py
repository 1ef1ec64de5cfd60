"""Text to text, as FLAN and T5 lay it out: ``inputs`` that hold the whole request, and ``targets``.

Two columns without names count too, where the inputs begin with one of a few tasks: ``summarize: ...`` and a tab.
Longpre et al. 2023; Raffel et al. 2020.
"""

import re
from collections.abc import Iterator, Sequence

from formtune.dialects.columns import (
    Columns,
    Evidence,
    Object,
    as_object,
    filled_in,
    names_of,
    objects,
    rest,
    text_in,
    with_rest,
)
from formtune.dialects.layouts import seen
from formtune.records import Pair, Record
from formtune.sources import Row

NAME = "flan"
SUMMARY = "Inputs that hold the whole request, and targets (FLAN, T5 text-to-text)."
NEEDS = "texts 'inputs' and 'targets', or two columns of which the first begins with its task and a colon"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"inputs", "targets"})


_UNNAMED = ("1", "2")
_TASK = re.compile(r"[A-Za-z][\w -]{1,59}: (?=.)")
_FEW_TASKS = 0.1  # of the rows


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for both columns, with texts in them; or for two without names, of which the first begins with a task."""
    named = seen(rows, columns, _fits, why="'inputs' with 'targets'")
    table = objects(rows)
    if named or names_of(table) != list(_UNNAMED):
        return named
    tasks = [found[0] for value in table if (found := _TASK.match(str(value.get("1"))))]
    if len(tasks) < 0.95 * len(rows) or len(set(tasks)) > max(1, _FEW_TASKS * len(tasks)):
        return None
    # Below what a table with few targets has to say for its being labelled.
    return Evidence(0.7, f"two columns, the first begins with {len(set(tasks))} different tasks", columns)


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the input and its target; none means: to be predicted."""
    value = as_object(row)
    source, target = _UNNAMED if "inputs" not in value and _UNNAMED[0] in value else ("inputs", "targets")
    said = text_in(value, target)
    yield Pair(
        source=filled_in(value, source),
        targets=(said,) if said.strip() else (),
        origin=row.origin,
        extra=rest(value, {source, target}),
    )


def write(record: Record) -> Object | None:
    """Write both texts; None where there are several targets, or languages."""
    if not isinstance(record, Pair) or len(record.targets) > 1 or record.source_language or record.target_language:
        return None
    return with_rest({"inputs": record.source, "targets": "".join(record.targets)}, record.extra)


def _fits(value: Object) -> bool:
    return isinstance(value.get("inputs"), str) and isinstance(value.get("targets"), str)
