"""Conversations with tools as Glaive function calling v2 lays them out: a text ``system`` and one text ``chat``.

The functions stand as JSON at the end of ``system``. In ``chat`` a turn begins with ``USER:``, ``ASSISTANT:`` or
``FUNCTION RESPONSE:``, what the assistant says ends with ``<|endoftext|>``, and a call stands behind
``<functioncall>`` with its arguments as JSON between single quotes.
"""

import re
from collections.abc import Iterator, Sequence
from json import JSONDecoder

from formtune.dialects.calls import Call, calls_of, calls_text, is_json, unwrapped
from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, rest, text_in, with_rest
from formtune.dialects.layouts import seen, with_system
from formtune.records import Conversation, Message, Record
from formtune.sources import Row

NAME = "glaive"
SUMMARY = "Conversations with tools as two texts, 'system' and 'chat' (Glaive function calling v2)."
NEEDS = "texts 'system' and 'chat', with USER: in the chat"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"system", "chat"})

_MARKS = {"USER": "user", "ASSISTANT": "assistant", "FUNCTION RESPONSE": "tool", "A": "assistant"}
# Some rows shorten ASSISTANT to A, which counts only where turns are parted as everywhere in that data.
_TURN = re.compile(r"(?:\A\s*|\n\n+)(USER|ASSISTANT|FUNCTION RESPONSE|(?<=\n\n\n)A): ?")
_CALL = re.compile(r"""\{\s*"name"\s*:\s*"([^"]+)"\s*,\s*"arguments"\s*:\s*(?:'(.*)'|(\{.*\}))\s*\}""", re.DOTALL)
_SIGN = "<functioncall>"
_END = "<|endoftext|>"
_scan = JSONDecoder().raw_decode


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for a chat in one text."""
    return seen(rows, columns, _fits, why="USER: in 'chat'")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the system text without its functions, the functions as tools, and the turns."""
    value = as_object(row)
    system, tools = _system(text_in(value, "system"))
    messages = (*([Message("system", system)] if system else []), *_turns(text_in(value, "chat")))
    yield Conversation(messages=messages, tools=tools, origin=row.origin, extra=rest(value, {"system", "chat"}))


def write(record: Record) -> Object | None:
    """Write the two texts; None where reading them would not give the same conversation."""
    if not isinstance(record, Conversation) or not record.messages or (parted := with_system(record.messages)) is None:
        return None
    system, messages = parted
    calls = [calls_of(message.tool_calls) for message in messages]
    if any(found is None or len(found) > 1 for found in calls) or any(message.parts for message in messages):
        return None
    chat = "\n\n\n".join(_turn(one, found or []) for one, found in zip(messages, calls, strict=True))
    functions = _inside(unwrapped(record.tools) or "[]")
    if functions is None:
        return None
    row: Object = {"system": "\n".join((f"SYSTEM: {system or ''}", *functions)), "chat": chat}
    try:
        found_system, tools = _system(str(row["system"]))
        found_turns = _turns(chat)
    except RowFault:
        return None
    said = [(one.role, one.content.strip(), _bare(one)) for one in messages]
    again = [(one.role, one.content, _bare(one)) for one in found_turns]
    is_same = said == again and found_system.strip() == (system or "").strip() and _inside(tools or "[]") == functions
    return with_rest(row, record.extra) if is_same else None


def _fits(value: Object) -> bool:
    chat = value.get("chat")
    return isinstance(value.get("system"), str) and isinstance(chat, str) and "USER" in _TURN.findall(chat)


def _system(text: str) -> tuple[str, str | None]:
    """Part the system text from the functions at its end; each function keeps its bytes."""
    text = text.removeprefix("SYSTEM:").removeprefix(" ")
    for start in (match.start() for match in re.finditer(r"(?<=\n)\{", text)):
        if functions := _functions(text, start):
            return text[: start - 1], f"[{','.join(functions)}]"
    return text, None


def _functions(text: str, place: int) -> list[str]:
    """Cut out the JSON objects that fill the rest of a text; none where something else stands there."""
    found: list[str] = []
    while text[place:].strip():
        place += len(text[place:]) - len(text[place:].lstrip())
        try:
            value, end = _scan(text, place)
        except (ValueError, RecursionError):
            return []
        if not isinstance(value, dict):
            return []
        found.append(text[place:end])
        place = end
    return found


def _inside(tools: str) -> list[str] | None:
    """Cut a JSON list of functions into its elements; None where it is no such list."""
    inner = tools.strip()
    if not inner.startswith("[") or not inner.endswith("]"):
        return None
    found, place = [], 1
    while inner[place:-1].strip():
        try:
            place += len(inner[place:]) - len(inner[place:].lstrip(" \t\r\n,"))
            end = _scan(inner, place)[1]
        except (ValueError, RecursionError):
            return None
        found.append(inner[place:end])
        place = end
    return found


def _turns(chat: str) -> list[Message]:
    marks = list(_TURN.finditer(chat))
    if not marks or chat[: marks[0].start()].strip():
        raise RowFault("a chat that does not begin with a turn")
    ends = [*(mark.start() for mark in marks[1:]), len(chat)]
    return [_message(_MARKS[mark[1]], chat[mark.end() : end].strip()) for mark, end in zip(marks, ends, strict=True)]


def _message(role: str, text: str) -> Message:
    if role != "assistant":
        return Message(role, text)
    text = text.removesuffix(_END).rstrip()
    said, sign, called = text.partition(_SIGN)
    if not sign:
        return Message(role, text)
    match = _CALL.fullmatch(called.strip())
    # Between single quotes a single quote is written with a backslash, which JSON does not know.
    arguments = (match[2].replace("\\'", "'") if match[2] is not None else match[3]) if match else ""
    if match is None or not is_json(arguments):
        raise RowFault("a function call that is not JSON", called.strip()[:60])
    return Message(role, said.rstrip(), tool_calls=calls_text([Call(match[1], arguments)]))


def _turn(message: Message, calls: Sequence[Call]) -> str:
    mark = next(mark for mark, role in _MARKS.items() if role == message.role)
    if message.role != "assistant":
        return f"{mark}: {message.content}"
    called = [f'{_SIGN} {{"name": "{call.name}", "arguments": \'{call.arguments}\'}}' for call in calls]
    return f"{mark}: {' '.join(filter(None, (message.content, *called)))} {_END}"


def _bare(message: Message) -> list[tuple[str, str]]:
    """Give what a message calls, without ids, which have no place in the text."""
    return [(call.name, call.arguments) for call in calls_of(message.tool_calls) or ()]
