"""Preferences as two whole conversations, ``chosen_messages`` and ``rejected_messages`` (LLaMA-Factory's newer layout).

A message's content is a list of parts with ``type`` and ``value``, and its share in the loss is ``loss_weight``.
"""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, rest, with_rest
from formtune.dialects.conversations import as_row, is_messages, json_text
from formtune.dialects.layouts import seen, tools_row
from formtune.dialects.preferences import answer, has_both, parted
from formtune.records import Message, Preference, Record
from formtune.sources import Row

NAME = "chosen-messages"
SUMMARY = "Two whole conversations, of which one is preferred, in parts with a value (LLaMA-Factory v1)."
NEEDS = "columns 'chosen_messages' and 'rejected_messages'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"chosen_messages", "rejected_messages", "tools"})

_SIDES = ("chosen_messages", "rejected_messages")


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for two conversations."""
    return seen(rows, columns, lambda value: all(is_messages(value.get(name)) for name in _SIDES), why=f"{_SIDES[0]!r}")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read what both conversations begin with as the prompt, and the rest of each as an answer."""
    value = as_object(row)
    if not all(is_messages(value.get(name)) for name in _SIDES):
        raise RowFault("no messages")
    prompt, chosen, rejected = parted(answer(value["chosen_messages"]), answer(value["rejected_messages"]))
    yield Preference(
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        tools=json_text(value.get("tools"), "tools"),
        origin=row.origin,
        extra=rest(value, {*_SIDES, "tools"}),
    )


def write(record: Record) -> Object | None:
    """Write both conversations whole."""
    if not isinstance(record, Preference) or not has_both(record):
        return None
    sides = [[_written(message) for message in (*record.prompt, *end)] for end in (record.chosen, record.rejected)]
    return with_rest({**dict(zip(_SIDES, sides, strict=True)), **tools_row(record.tools)}, record.extra)


def _written(message: Message) -> Object:
    row = as_row(message)
    if not message.parts:
        row["content"] = [{"type": "text", "value": message.content}]
    row.pop("weight", None)
    if message.weight is not None:
        row["loss_weight"] = message.weight
    return row
