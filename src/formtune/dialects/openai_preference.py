"""Preferences as OpenAI, Together and Fireworks tune on them: ``input``, ``preferred_output``, ``non_preferred_output``."""

from collections.abc import Iterator, Sequence

from formtune.dialects.calls import wrapped
from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, rest, with_rest
from formtune.dialects.conversations import is_messages, json_text, messages_in
from formtune.dialects.layouts import seen, tools_row
from formtune.dialects.preferences import answer, has_both, rows_of
from formtune.records import Preference, Record
from formtune.sources import Row, value_of

NAME = "openai-preference"
SUMMARY = "Messages with a preferred and a non-preferred output (direct preference tuning at OpenAI and others)."
NEEDS = "'input' with 'messages', 'preferred_output' and 'non_preferred_output'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"input", "preferred_output", "non_preferred_output"})

_ANSWERS = ("preferred_output", "non_preferred_output")


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for both outputs."""
    names = ("input", *_ANSWERS)
    return seen(rows, columns, lambda value: all(name in value for name in names), why="'preferred_output'")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the messages and tools of the input, and both outputs; its other keys go aside under ``input``."""
    value = as_object(row)
    asked = value.get("input")
    messages = asked.get("messages") if isinstance(asked, dict) else None
    if not isinstance(asked, dict) or not is_messages(messages) or not isinstance(messages, list):
        raise RowFault("an input without messages", type(asked).__name__)
    beside = {name: found for name, found in asked.items() if name not in ("messages", "tools")}
    others = {name: found for name, found in value.items() if name not in ("input", *_ANSWERS)}
    yield Preference(
        prompt=messages_in(messages),
        chosen=answer(value.get("preferred_output")),
        rejected=answer(value.get("non_preferred_output")),
        tools=json_text(asked.get("tools"), "tools"),
        origin=row.origin,
        extra=rest({**others, **({"input": beside} if beside else {})}, ()),
    )


def write(record: Record) -> Object | None:
    """Write the three; None where there is no prompt, or only one answer."""
    if not isinstance(record, Preference) or not has_both(record) or not record.prompt:
        return None
    asked: Object = {"messages": rows_of(record.prompt)}
    asked |= tools_row(wrapped(record.tools))
    extra = value_of(record.extra) if record.extra else {}
    beside = extra.get("input")
    row = {"input": {**(beside if isinstance(beside, dict) else {}), **asked}}
    outputs = dict(zip(_ANSWERS, (rows_of(record.chosen), rows_of(record.rejected)), strict=True))
    return with_rest({**row, **outputs}, record.extra)
