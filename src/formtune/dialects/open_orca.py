"""Questions and responses after a system prompt, as OpenOrca and axolotl's ``alpaca_w_system`` lay them out."""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import (
    Columns,
    Evidence,
    Object,
    as_object,
    filled_in,
    in_rows,
    objects,
    rest,
    share,
    text_in,
    with_rest,
)
from formtune.dialects.conversations import is_judged
from formtune.dialects.exchanges import messages_of, texts_of
from formtune.records import Conversation, Record
from formtune.sources import Row

NAME = "open-orca"
SUMMARY = "A system prompt, a question and its response (OpenOrca, axolotl's alpaca_w_system.load_open_orca)."
NEEDS = "columns 'system_prompt', 'question' and 'response'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"system_prompt", "question", "response"})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for all three columns."""
    table = objects(rows)
    if not all(any(name in value for value in table) for name in NAMES) or is_judged(table):
        return None
    why = f"'system_prompt' with 'question' and 'response' {in_rows(table, rows, 'question')}"
    return Evidence(0.95 * share(table, ["question"]), why, columns)


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read a conversation of the system text, the question and the response; an empty one is yet to be given."""
    value = as_object(row)
    exchange = (filled_in(value, "question"), text_in(value, "response") or None)
    yield Conversation(
        messages=messages_of(text_in(value, "system_prompt"), [exchange]), origin=row.origin, extra=rest(value, NAMES)
    )


def write(record: Record) -> Object | None:
    """Write one exchange; None where there are more, or tools."""
    found = texts_of(record)
    if found is None or len(found[1]) > 1 or not found[1][0][0].strip():
        return None
    system, [(question, response)] = found
    row: Object = {"system_prompt": system or "", "question": question, "response": response or ""}
    return with_rest(row, record.extra)
