"""Prompted tasks as P3 lays them out: ``inputs_pretokenized`` and ``targets_pretokenized``, perhaps with token ids.

Sanh et al. 2022; Bach et al. 2022, PromptSource.
"""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, as_object, filled_in, rest, text_in, with_rest
from formtune.dialects.layouts import seen
from formtune.records import Pair, Record
from formtune.sources import Row

NAME = "p3"
SUMMARY = "Prompted tasks as texts before tokenization, beside their token ids and answer choices (P3)."
NEEDS = "columns 'inputs_pretokenized' and 'targets_pretokenized'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"inputs_pretokenized", "targets_pretokenized"})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for both columns."""
    return seen(rows, columns, lambda value: set(value) >= NAMES, why="'inputs_pretokenized'")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read both texts as they are; ids and answer choices go aside."""
    value = as_object(row)
    target = text_in(value, "targets_pretokenized")
    yield Pair(
        source=filled_in(value, "inputs_pretokenized"),
        targets=(target,) if target.strip() else (),
        origin=row.origin,
        extra=rest(value, NAMES),
    )


def write(record: Record) -> Object | None:
    """Write both texts; None where there are several targets, or languages."""
    if not isinstance(record, Pair) or len(record.targets) > 1 or record.source_language or record.target_language:
        return None
    row: Object = {"inputs_pretokenized": record.source, "targets_pretokenized": "".join(record.targets)}
    return with_rest(row, record.extra)
