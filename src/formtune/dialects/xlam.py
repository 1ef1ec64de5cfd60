"""Requests with the calls that answer them, as xLAM lays them out: ``query``, and ``tools`` and ``answers`` as JSON text.

Zhang et al. 2024, xLAM; Liu et al. 2024, APIGen.
"""

from collections.abc import Iterator, Sequence

from formtune.dialects.calls import calls_of, calls_text, is_json, named_calls, named_text, unwrapped
from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, filled_in, rest, with_rest
from formtune.dialects.conversations import json_text
from formtune.dialects.layouts import seen
from formtune.records import Conversation, Message, Record
from formtune.sources import Row, text_of

NAME = "xlam"
SUMMARY = "A request, the tools at hand, and the calls that answer it, as JSON text in columns (xLAM, APIGen)."
NEEDS = "columns 'query', 'tools' and 'answers'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"query", "tools", "answers"})

_NONE = "[]"
_SILENT = ("assistant", "")


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for tools and answers that are lists of JSON, or are texts of one."""
    return seen(rows, columns, _fits, why="'query' with 'tools' and 'answers'")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the request and its calls; an empty list of calls leaves the request without an answer."""
    value = as_object(row)
    answers = value.get("answers")
    if not _is_list(answers):
        raise RowFault("answers that are not a list of calls", type(answers).__name__)
    calls = named_calls(answers if isinstance(answers, str) else text_of(answers))
    answer = [Message("assistant", "", tool_calls=calls_text(calls))] if calls else []
    tools = json_text(value.get("tools"), "tools")
    yield Conversation(
        messages=(Message("user", filled_in(value, "query")), *answer),
        tools=None if tools == _NONE else tools,
        origin=row.origin,
        extra=rest(value, {"query", "tools", "answers"}),
    )


def write(record: Record) -> Object | None:
    """Write one request with its calls; None where there is more, or the assistant says something."""
    if not isinstance(record, Conversation) or not record.messages or record.messages[0].role != "user":
        return None
    query, *others = record.messages
    calls = calls_of(others[0].tool_calls) if others else []
    is_silent = not others or (others[0].role, others[0].content) == _SILENT
    if not query.content.strip() or not is_silent or any(message.parts for message in record.messages):
        return None
    if len(others) > 1 or calls is None or bool(others) != bool(calls):
        return None
    if not all(is_json(call.arguments) for call in calls):
        return None
    answers = f"[{', '.join(named_text(call) for call in calls)}]"
    return with_rest(
        {"query": query.content, "tools": unwrapped(record.tools) or _NONE, "answers": answers}, record.extra
    )


def _fits(value: Object) -> bool:
    return isinstance(value.get("query"), str) and _is_list(value.get("tools")) and _is_list(value.get("answers"))


def _is_list(found: object) -> bool:
    return isinstance(found, list) or (isinstance(found, str) and found.lstrip().startswith("["))
