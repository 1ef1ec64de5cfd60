"""Minimal pairs as BLiMP lays them out: a sentence that is acceptable beside one that is not, in a word or two different.

The better sentence is preferred to the other; nothing is asked. Warstadt et al. 2020.
"""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, as_object, rest, with_rest
from formtune.dialects.layouts import seen
from formtune.dialects.preferences import answer, as_text
from formtune.records import Preference, Record
from formtune.sources import Row

NAME = "blimp"
SUMMARY = "An acceptable sentence beside one that is not (BLiMP and other minimal pairs)."
NEEDS = "columns 'sentence_good' and 'sentence_bad'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"sentence_good", "sentence_bad"})

_SIDES = ("sentence_good", "sentence_bad")


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for both sentences."""
    both = "'sentence_good' and 'sentence_bad'"
    return seen(rows, columns, lambda value: all(isinstance(value.get(name), str) for name in _SIDES), why=both)


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read both sentences as answers to nothing."""
    value = as_object(row)
    chosen, rejected = (answer(value.get(name)) for name in _SIDES)
    yield Preference(prompt=(), chosen=chosen, rejected=rejected, origin=row.origin, extra=rest(value, _SIDES))


def write(record: Record) -> Object | None:
    """Write both sentences; None where something is asked, or a side is more than a text."""
    if not isinstance(record, Preference) or record.prompt or record.tools:
        return None
    texts = [as_text(record.chosen), as_text(record.rejected)]
    return with_rest(dict(zip(_SIDES, texts, strict=True)), record.extra) if all(texts) else None
