"""Conversations whose last answer is judged, as LLaMA-Factory and ms-swift lay them out: messages and a true or false.

The judgment stands under ``label`` or ``kto_tag``. Read too: ``conversations`` of ``from`` and ``value``.
"""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, rest, with_rest
from formtune.dialects.conversations import json_text
from formtune.dialects.layouts import seen, tools_row
from formtune.dialects.preferences import judged, parted_last, rows_of, side, truth
from formtune.records import Preference, Record
from formtune.sources import Row

NAME = "kto-messages"
SUMMARY = "Messages whose last answer is judged true or false (KTO in LLaMA-Factory and ms-swift)."
NEEDS = "'messages' or 'conversations' beside a true or false in 'label' or 'kto_tag'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"messages", "conversations", "label", "kto_tag"})

_TAGS = ("kto_tag", "label")
_LISTS = ("messages", "conversations")


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for a truth value beside a conversation."""
    return seen(rows, columns, _fits, why="true or false beside a conversation")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read a preference with one side: chosen where the last answer is judged true, else rejected."""
    value = as_object(row)
    tag = next((name for name in _TAGS if truth(value.get(name)) is not None), None)
    listed = next((name for name in _LISTS if value.get(name)), None)
    if tag is None or listed is None:
        raise RowFault("no messages" if tag else "no judgment")
    prompt, said = parted_last(side(value[listed], "user"))
    right = truth(value[tag])
    yield Preference(
        prompt=prompt,
        chosen=said if right else (),
        rejected=() if right else said,
        tools=json_text(value.get("tools"), "tools"),
        origin=row.origin,
        extra=rest(value, {listed, tag, "tools"}),
    )


def write(record: Record) -> Object | None:
    """Write the messages and the judgment as ``label``; None where two answers are compared, or it has several turns."""
    found = judged(record) if isinstance(record, Preference) else None
    if not isinstance(record, Preference) or found is None:
        return None
    said, right = found
    if len(said) != 1 or said[0].role != "assistant":
        return None
    row: Object = {"messages": rows_of((*record.prompt, *said)), "label": right, **tools_row(record.tools)}
    return with_rest(row, record.extra)


def _fits(value: Object) -> bool:
    has_list = any(isinstance(value.get(name), list) and value[name] for name in _LISTS)
    return has_list and any(truth(value.get(tag)) is not None for tag in _TAGS)
