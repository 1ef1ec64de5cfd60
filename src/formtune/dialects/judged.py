"""Answers that are judged one by one, as the dialects that hold them as texts or as lists of messages share them.

The judgment, true or false, stands under ``label`` or ``kto_tag``.
"""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Object, RowFault, as_object, rest, with_rest
from formtune.dialects.conversations import json_text
from formtune.dialects.layouts import tools_row
from formtune.dialects.preferences import answer, side, truth
from formtune.records import Preference, Record
from formtune.sources import Row

NAMES = frozenset({"prompt", "completion", "label", "kto_tag"})
_TAGS = ("label", "kto_tag")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read a preference with one side: chosen where the completion is judged true, else rejected."""
    value = as_object(row)
    tag, right = judgment(value, _TAGS)
    said = answer(value.get("completion"))
    yield Preference(
        prompt=side(value.get("prompt"), "user"),
        chosen=said if right else (),
        rejected=() if right else said,
        tools=json_text(value.get("tools"), "tools"),
        origin=row.origin,
        extra=rest(value, {"prompt", "completion", tag, "tools"}),
    )


def row_of(record: Preference, sides: Sequence[object]) -> Object:
    """Put both sides as they are written into a row, with the judgment, the tools and what stands beside."""
    row = {"prompt": sides[0], "completion": sides[1], "label": bool(record.chosen), **tools_row(record.tools)}
    return with_rest(row, record.extra)


def judgment(value: Object, tags: Sequence[str]) -> tuple[str, bool]:
    """Give the column that holds the judgment, and the judgment.

    Raises:
        RowFault: when there is none.
    """
    for name in tags:
        right = truth(value.get(name))
        if right is not None:
            return name, right
    raise RowFault("no judgment")


def fits(value: Object) -> bool:
    """Say whether a row has a completion that is judged."""
    return (
        "prompt" in value and bool(value.get("completion")) and any(truth(value.get(tag)) is not None for tag in _TAGS)
    )


def has_messages(value: Object) -> bool:
    """Say whether a side is messages, so that a trainer lays it out by a chat template."""
    return any(isinstance(value.get(name), (list, dict)) for name in ("prompt", "completion"))
