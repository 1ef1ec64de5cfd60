"""Text to text, as FLAN and T5 lay it out: ``inputs`` that hold the whole request, and ``targets``.

Longpre et al. 2023; Raffel et al. 2020.
"""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, as_object, filled_in, rest, text_in, with_rest
from formtune.dialects.layouts import seen
from formtune.records import Pair, Record
from formtune.sources import Row

NAME = "flan"
SUMMARY = "Inputs that hold the whole request, and targets (FLAN, T5 text-to-text)."
NEEDS = "texts 'inputs' and 'targets'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"inputs", "targets"})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for both columns, with texts in them."""
    return seen(rows, columns, _fits, why="'inputs' with 'targets'")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the input and its target; none means: to be predicted."""
    value = as_object(row)
    target = text_in(value, "targets")
    yield Pair(
        source=filled_in(value, "inputs"),
        targets=(target,) if target.strip() else (),
        origin=row.origin,
        extra=rest(value, {"inputs", "targets"}),
    )


def write(record: Record) -> Object | None:
    """Write both texts; None where there are several targets, or languages."""
    if not isinstance(record, Pair) or len(record.targets) > 1 or record.source_language or record.target_language:
        return None
    return with_rest({"inputs": record.source, "targets": "".join(record.targets)}, record.extra)


def _fits(value: Object) -> bool:
    return isinstance(value.get("inputs"), str) and isinstance(value.get("targets"), str)
