"""Conversations as OpenAI laid them out before tools: ``function_call`` in messages, ``functions`` beside them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import msgspec

from formtune.dialects.calls import as_calls
from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, objects, rest
from formtune.dialects.conversations import Spelling, as_weight, json_text, messages_in, spelled
from formtune.dialects.message_columns import conversation_in, marked, row_of
from formtune.dialects.tool_answers import with_names
from formtune.records import Conversation, Message, Record
from formtune.sources import Row, value_of

NAME = "openai-functions"
SUMMARY = "Messages with 'function_call' and role 'function', beside 'functions' (OpenAI before tools)."
NEEDS = "a column 'messages' that holds a list of messages with 'function_call', perhaps beside 'functions'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"messages", "functions"})

_ROLES: Mapping[str, str] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "function": "tool",
    "tool": "tool",
}
_SURE = 0.99
_SPELLING = Spelling(_ROLES, as_weight, frozenset({"name", "thinking", "parts", "refusal"}))


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for calls of functions, or for functions; without any, the later layout is likelier."""
    found = marked(rows, columns, is_own=_is_own, marks="'function_call'")
    n_given = sum(isinstance(value.get("functions"), list) for value in objects(rows))
    return replace(found, score=_SURE, why=f"{found.why}, 'functions' in {n_given}") if found and n_given else found


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the messages, calls as tool calls without an id, and the functions as tools."""
    value = as_object(row)
    talk = conversation_in(row, _messages_in)
    functions = value.get("functions")
    if talk.tools or functions is None:
        yield talk
        return
    if not isinstance(functions, list):
        raise RowFault("functions that are not a list", type(functions).__name__)
    tools = json_text([{"type": "function", "function": function} for function in functions], "functions")
    yield msgspec.structs.replace(talk, tools=tools, extra=rest(value, ("messages", "tools", "functions")))


def write(record: Record) -> Object | None:
    """Write the messages and functions, a function's answer with its name where only one can be meant.

    None where a message calls several, or a tool is no function.
    """
    if not isinstance(record, Conversation):
        return None
    written = [_written(message) for message in with_names(record.messages)]
    functions = _functions(record.tools)
    rows = [row for row in written if row is not None]
    if functions is None or len(rows) < len(written):
        return None
    row = row_of(msgspec.structs.replace(record, tools=None), rows, reserved=("functions",))
    return row if row is None or not functions else {**row, "functions": functions}


def _is_own(message: Object) -> bool:
    return isinstance(message.get("function_call"), dict) or message.get("role") == "function"


def _messages_in(found: Iterable[object]) -> tuple[Message, ...]:
    return messages_in(map(_as_message, found), _ROLES)


def _as_message(part: object) -> object:
    """Give a message its call as a tool call.

    Raises:
        RowFault: when it has tool calls too, or the call has no name.
    """
    call = part.get("function_call") if isinstance(part, dict) else None
    if not isinstance(part, dict) or call is None:
        return part
    if not isinstance(call, dict) or part.get("tool_calls"):
        raise RowFault("a function call that is no object, or stands beside tool calls")
    return {**{key: value for key, value in part.items() if key != "function_call"}, "tool_calls": as_calls([call])}


def _written(message: Message) -> Object | None:
    """Write a message; what a call has beside its function, an id, is left away."""
    row = spelled(msgspec.structs.replace(message, tool_calls=None), _SPELLING)
    if row is None:
        return None
    row = {key: value for key, value in row.items() if key != "function_call" or value is None}
    if message.tool_calls is None:
        return row
    functions = _functions(message.tool_calls)
    if not functions or len(functions) > 1 or "name" not in functions[0]:
        return None
    return {**row, "content": row["content"] or None, "function_call": functions[0]}


def _functions(text: str | None) -> list[Object] | None:
    """Give the functions of tools or of calls; None where there is something else."""
    found = value_of(text) if text else []
    functions = [one.get("function") for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    known = [function for function in functions if isinstance(function, dict)]
    return known if len(known) == len(found) else None
