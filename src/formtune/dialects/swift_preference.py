"""Preferences as ms-swift lays them out: ``messages`` that end with the chosen answer, beside the rejected one.

The rejected answer is a text (``rejected_response``) or the whole conversation again (``rejected_messages``). Read
too: ``query`` and ``response`` in place of messages.
"""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, rest, with_rest
from formtune.dialects.conversations import is_messages, json_text, messages_in
from formtune.dialects.layouts import seen, tools_row
from formtune.dialects.preferences import Side, answer, as_text, asked_in, has_both, parted, parted_last, rows_of
from formtune.records import Preference, Record
from formtune.sources import Row

NAME = "swift-preference"
SUMMARY = "Messages that end with the chosen answer, beside a rejected response or rejected messages (ms-swift)."
NEEDS = "'messages' (or 'query' and 'response') beside 'rejected_response' or 'rejected_messages'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"messages", "query", "response", "rejected_response", "rejected_messages", "system", "tools"})

_MESSAGES = frozenset({"messages", "rejected_response", "rejected_messages", "tools"})
_TEXTS = frozenset({"query", "response", "rejected_response", "system", "history", "tools"})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for a rejected answer beside a conversation."""
    return seen(rows, columns, _fits, why="a rejected answer beside a conversation")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read what stands before the answers as the prompt, then both answers."""
    value = as_object(row)
    by_messages = "messages" in value
    prompt, chosen, rejected = _sides(value) if by_messages else _texts(value)
    yield Preference(
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        tools=json_text(value.get("tools"), "tools"),
        origin=row.origin,
        extra=rest(value, _MESSAGES if by_messages else _TEXTS),
    )


def write(record: Record) -> Object | None:
    """Write the messages with the rejected answer as a text where each answer is one, else as messages."""
    if not isinstance(record, Preference) or not has_both(record):
        return None
    row: Object = {"messages": rows_of((*record.prompt, *record.chosen))}
    texts = as_text(record.chosen), as_text(record.rejected)
    if all(texts):
        row["rejected_response"] = texts[1]
    else:
        row["rejected_messages"] = rows_of((*record.prompt, *record.rejected))
    return with_rest({**row, **tools_row(record.tools)}, record.extra)


def _fits(value: Object) -> bool:
    has_rejected = bool(value.get("rejected_response") or value.get("rejected_messages"))
    return has_rejected and (is_messages(value.get("messages")) or bool(value.get("query") and value.get("response")))


def _sides(value: Object) -> tuple[Side, Side, Side]:
    found, rejected = value.get("messages"), value.get("rejected_messages")
    if not isinstance(found, list) or not found:
        raise RowFault("no messages")
    said = messages_in(found)
    if rejected is None or rejected == []:
        return (*parted_last(said), answer(value.get("rejected_response")))
    other = answer(rejected)
    if other[0].role == "assistant" and said[0].role != "assistant":  # the answer alone
        return (*parted_last(said), other)
    return parted(said, other)


def _texts(value: Object) -> tuple[Side, Side, Side]:
    return asked_in(value, ("query",)), answer(value.get("response")), answer(value.get("rejected_response"))
