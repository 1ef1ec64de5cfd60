"""A column of messages beside a column of tools, as the dialects that are told apart by their messages share it."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, objects, rest, with_rest
from formtune.dialects.conversations import is_judged, is_messages, json_text
from formtune.errors import nearest
from formtune.records import Conversation, Message
from formtune.sources import Row, text_of, value_of

MESSAGES = "messages"
_UNMARKED = 0.5  # messages that any dialect of messages could have written: less than the plainest of them claims


def marked(rows: Sequence[Row], columns: Columns, *, is_own: Callable[[Object], bool], marks: str) -> Evidence | None:
    """Look for messages, of which some have what only one dialect has; judgments and preferences are for others.

    Args:
        rows: from all over the data.
        columns: as the user has named them.
        is_own: says whether a message has the dialect's marks.
        marks: what they are, for people.
    """
    table = objects(rows)
    fitting = [value for value in table if is_messages(value.get(MESSAGES))]
    if len(fitting) * 2 <= len(table) or is_judged(table):
        return None
    n_own = sum(any(map(is_own, _messages(value[MESSAGES]))) for value in fitting)
    score = (0.99 if n_own else _UNMARKED) * len(fitting) / len(table)
    return Evidence(score, f"{MESSAGES!r} with {marks} in {n_own} of {len(table)} rows", columns)


def conversation_in(
    row: Row,
    messages_in: Callable[[Iterable[object]], tuple[Message, ...]],
    *,
    column: str = MESSAGES,
    keys: Mapping[str, str] = {},
) -> Conversation:
    """Read a row's messages and tools.

    Args:
        row: that holds them.
        messages_in: reads the list of them.
        column: where that stands.
        keys: what a message's ``role`` and ``content`` are called there, if not so.

    Raises:
        RowFault: when there are none, or one cannot be read.
    """
    value = as_object(row)
    found = value.get(column)
    if not isinstance(found, list) or not found:
        raise RowFault("no messages", path=column, near=None if column in value else nearest(column, value))
    try:
        messages = messages_in(found)
    except RowFault as fault:
        raise fault.renamed({MESSAGES: column, **keys}) from None
    return Conversation(
        messages=messages,
        tools=json_text(value.get("tools"), "tools"),
        origin=row.origin,
        extra=rest(value, (column, "tools")),
    )


def row_of(
    record: Conversation,
    written: Sequence[Object] | None,
    *,
    column: str = MESSAGES,
    has_text_tools: bool = False,
    reserved: Collection[str] = (),
) -> Object | None:
    """Put written messages and the tools into a row; None where the messages cannot be written.

    Args:
        record: what is written.
        written: its messages.
        column: where they go.
        has_text_tools: whether tools stand as JSON text, not as a value.
        reserved: names of columns that mean something to the dialect, beside these two.
    """
    if not written:
        return None
    text = record.tools or ""
    tools: object = text if has_text_tools else msgspec.Raw(text.encode())
    row: Object = {column: list(written), **({"tools": tools} if text else {})}
    return with_rest(row, record.extra, ("tools", *reserved))


def kept_apart(
    record: Conversation,
    written: Sequence[Object] | None,
    messages_in: Callable[[Iterable[object]], tuple[Message, ...]],
) -> Sequence[Object] | None:
    """Give written messages; None where reading would join those that stand apart, a call with the answer before it."""
    if not written or not any(message.tool_calls for message in record.messages):
        return written
    again = messages_in(value_of(text_of(written)))
    return written if len(again) == len(record.messages) else None


def _messages(found: object) -> list[Object]:
    return [part for part in found if isinstance(part, dict)] if isinstance(found, list) else []
