"""Preferences as axolotl's chat templates take them: ``messages``, and one message each as ``chosen`` and ``rejected``."""

from collections.abc import Iterator, Sequence

from formtune.dialects.calls import wrapped
from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, rest, with_rest
from formtune.dialects.conversations import as_row, json_text, messages_in
from formtune.dialects.layouts import listed, seen, tools_row
from formtune.dialects.preferences import answer, rows_of
from formtune.records import Preference, Record
from formtune.sources import Row

NAME = "axolotl-preference"
SUMMARY = "Messages with one chosen and one rejected message (axolotl's chat_template preferences)."
NEEDS = "'messages' beside the objects 'chosen' and 'rejected'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"messages", "chosen", "rejected", "tools"})

_USED = frozenset({"messages", "chosen", "rejected", "tools"})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for messages beside two objects."""
    return seen(rows, columns, _fits, why="'chosen' and 'rejected' as one message each")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the messages as the prompt, then both answers."""
    value = as_object(row)
    asked = listed(value.get("messages"))
    if not asked:
        raise RowFault("no messages")
    yield Preference(
        prompt=messages_in(asked),
        chosen=answer(value.get("chosen")),
        rejected=answer(value.get("rejected")),
        tools=json_text(value.get("tools"), "tools"),
        origin=row.origin,
        extra=rest(value, _USED),
    )


def write(record: Record) -> Object | None:
    """Write one message for each answer; None where an answer has more, or nothing is asked."""
    if not isinstance(record, Preference) or not record.prompt or len(record.chosen) != 1 or len(record.rejected) != 1:
        return None
    answers = {"chosen": as_row(record.chosen[0]), "rejected": as_row(record.rejected[0])}
    return with_rest({"messages": rows_of(record.prompt), **answers, **tools_row(wrapped(record.tools))}, record.extra)


def _fits(value: Object) -> bool:
    return bool(listed(value.get("messages"))) and all(
        isinstance(value.get(name), dict) for name in ("chosen", "rejected")
    )
