"""Texts that belong together, for models of embeddings: ``anchor`` and ``positive``, perhaps with a ``negative``.

With a negative a row is a preference (the positive belongs to the anchor rather than the negative), else a text pair.
"""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, as_object, filled_in, rest, text_in, with_rest
from formtune.dialects.layouts import seen
from formtune.dialects.preferences import as_text, has_both
from formtune.records import Message, Pair, Preference, Record
from formtune.sources import Row

NAME = "embedding"
SUMMARY = "An anchor with a text that belongs to it, perhaps with one that does not (Sentence Transformers)."
NEEDS = "columns 'anchor' and 'positive'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"anchor"})  # the other two are also labels, and would make a header of a first row
_COLUMNS = ("anchor", "positive", "negative")


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for an anchor with a positive."""
    return seen(
        rows, columns, lambda value: bool(value.get("anchor")) and "positive" in value, why="'anchor' with 'positive'"
    )


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read a preference where there is a negative, else a pair."""
    value = as_object(row)
    anchor, positive, negative = filled_in(value, "anchor"), filled_in(value, "positive"), text_in(value, "negative")
    if not negative.strip():
        yield Pair(source=anchor, targets=(positive,), origin=row.origin, extra=rest(value, _COLUMNS))
        return
    yield Preference(
        prompt=(Message("user", anchor),),
        chosen=(Message("assistant", positive),),
        rejected=(Message("assistant", negative),),
        origin=row.origin,
        extra=rest(value, _COLUMNS),
    )


def write(record: Record) -> Object | None:
    """Write two or three texts; None for a pair with more or fewer targets than one, or messages that are no texts."""
    if isinstance(record, Pair):
        texts: list[str | None] = [record.source, *record.targets]
        return (
            with_rest(dict(zip(_COLUMNS[:2], texts, strict=True)), record.extra, _COLUMNS) if len(texts) == 2 else None
        )
    if not isinstance(record, Preference) or not has_both(record) or record.tools:
        return None
    texts = [as_text(record.prompt, "user"), as_text(record.chosen), as_text(record.rejected)]
    return with_rest(dict(zip(_COLUMNS, texts, strict=True)), record.extra) if all(texts) else None
