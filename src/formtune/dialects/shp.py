"""Preferences as Stanford Human Preferences lays them out: a post, two answers, and which of them was liked better.

``labels`` is 1 where the first is better, and 0 where the second is. Ethayarajh et al. 2022.
"""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, filled_in, rest, with_rest
from formtune.dialects.layouts import seen
from formtune.dialects.preferences import answer, as_text
from formtune.dialects.questions import context_group
from formtune.records import Message, Preference, Record
from formtune.sources import Row, value_of

NAME = "shp"
SUMMARY = "A post with two answers and a label that says which is better (Stanford Human Preferences)."
NEEDS = "columns 'history', 'human_ref_A', 'human_ref_B' and 'labels' (1 or 0)"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"history", "human_ref_a", "human_ref_b", "labels"})

_ANSWERS = ("human_ref_A", "human_ref_B")


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for both answers and the label."""
    names = {"history", "labels", *_ANSWERS}
    return seen(rows, columns, lambda value: names <= set(value), why="'human_ref_A' and 'human_ref_B'")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the post as the prompt; the label stays aside where the second answer is better, since scores go by letter."""
    value = as_object(row)
    label = str(value.get("labels"))
    if label not in ("0", "1"):
        raise RowFault("a label that is neither 1 nor 0", repr(value.get("labels")))
    better, worse = _ANSWERS if label == "1" else _ANSWERS[::-1]
    post = filled_in(value, "history")
    yield Preference(
        prompt=(Message("user", post),),
        chosen=answer(value.get(better)),
        rejected=answer(value.get(worse)),
        group=context_group(post),
        origin=row.origin,
        extra=rest(value, {"history", *_ANSWERS, *(("labels",) if label == "1" else ())}),
    )


def write(record: Record) -> Object | None:
    """Write the better answer first, unless a label says otherwise; None where a side is more than a text."""
    if not isinstance(record, Preference) or record.tools:
        return None
    texts = [as_text(record.chosen), as_text(record.rejected)]
    post = as_text(record.prompt, "user")
    if not post or not all(texts):
        return None
    label = (value_of(record.extra) if record.extra else {}).get("labels", 1)
    ordered = texts[::-1] if str(label) == "0" else texts
    return with_rest({"history": post, **dict(zip(_ANSWERS, ordered, strict=True)), "labels": label}, record.extra)
