"""Conversations as Gemini is tuned on them: ``systemInstruction`` and ``contents`` of parts; the older form is read.

A part is text, a thought, a function call, a function's response, or a file. The older form is a list ``messages``
in which the model's role is ``model``.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

import msgspec

from formtune.dialects.calls import Call, calls_of, calls_text, wrapped
from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, rest, with_rest
from formtune.dialects.conversations import json_text, messages_in
from formtune.dialects.layouts import listed, seen
from formtune.dialects.tool_answers import with_names
from formtune.records import Conversation, Message, Record
from formtune.sources import Row, text_of, value_of

NAME = "gemini"
SUMMARY = "Conversations for tuning Gemini (Vertex AI): system instruction, contents of parts, function calls."
NEEDS = "'contents' with 'parts', or 'messages' with the role 'model'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"systeminstruction", "system_instruction", "contents"})

_SYSTEM = ("systemInstruction", "system_instruction")
_CALL = ("functionCall", "function_call")
_RESPONSE = ("functionResponse", "function_response")
_DECLARATIONS = ("functionDeclarations", "function_declarations")
_FILES = ("fileData", "inlineData")


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for contents of parts, or for messages of the role ``model``."""
    found = seen(rows, columns, lambda value: _has_parts(value.get("contents")), why="'contents' with 'parts'")
    return found or seen(rows, columns, _is_older, why="'messages' with the role 'model'")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the system instruction, the contents and the tools."""
    value = as_object(row)
    contents = value.get("contents")
    if isinstance(contents, list):
        said = [message for content in contents for message in _messages(content)]
    elif older := listed(value.get("messages")):
        said = list(_older(older))
    else:
        raise RowFault("no contents")
    system = _system(next((value[name] for name in _SYSTEM if value.get(name)), None))
    if not said:
        raise RowFault("no contents")
    used = {*_SYSTEM, "contents", "tools", *(() if "contents" in value else ("messages",))}
    yield Conversation(
        messages=(*system, *said), tools=_tools(value.get("tools")), origin=row.origin, extra=rest(value, used)
    )


def write(record: Record) -> Object | None:
    """Write the contents, with tool answers that follow one another in one.

    None where a part has no place, or nobody can say which function a tool's answer without a name was given to.
    """
    if not isinstance(record, Conversation):
        return None
    system = record.messages[:1] if record.messages and record.messages[0].role == "system" else ()
    said = record.messages[len(system) :]
    if not said or any(message.parts for message in system):
        return None
    contents: list[Object] = []
    for is_tool, group in groupby(with_names(said), key=lambda message: message.role == "tool"):
        made = [_content(message) for message in group]
        if None in made:
            return None
        written = [content for content in made if content is not None]
        contents += [_joined(written)] if is_tool else written
    row: Object = {}
    if system:
        row["systemInstruction"] = with_rest({"parts": [{"text": system[0].content}]}, system[0].extra)
    row["contents"] = contents
    if record.tools:
        row["tools"] = _declared(value_of(wrapped(record.tools) or "[]"))
    return with_rest(row, record.extra)


def _has_parts(contents: object) -> bool:
    is_filled = isinstance(contents, list) and bool(contents)
    return is_filled and all(isinstance(one, dict) and "parts" in one for one in _elements(contents))


def _is_older(value: Object) -> bool:
    return any(part["role"] == "model" for part in listed(value.get("messages")))


def _older(found: Sequence[Object]) -> tuple[Message, ...]:
    return messages_in({**part, "role": "assistant"} if part["role"] == "model" else part for part in found)


def _system(found: object) -> list[Message]:
    """Read the system instruction: a text, or parts of text."""
    if found is None or isinstance(found, str):
        return [Message("system", found)] if found else []
    parts = found.get("parts") if isinstance(found, dict) else None
    if not isinstance(parts, list) or not all(_is_text(part) for part in parts):
        raise RowFault("a system instruction that is not text")
    assert isinstance(found, dict)
    return [Message("system", "".join(part["text"] for part in parts), extra=rest(found, {"role", "parts"}))]


def _messages(content: object) -> Iterator[Message]:
    """Read one content: each function's response as a message of its own, and all else as one message."""
    parts = content.get("parts") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(parts, list):
        raise RowFault("a content without parts")
    if not all(isinstance(part, dict) for part in parts):
        raise RowFault("a part that is not an object")
    responses = [part for part in parts if _under(part, _RESPONSE) is not None]
    others = [part for part in parts if _under(part, _RESPONSE) is None]
    beside = {name: found for name, found in content.items() if name not in ("role", "parts")} if not others else {}
    yield from (_answer(_under(part, _RESPONSE), beside) for part in responses)
    if others or not responses:
        yield _said(content, others)


def _said(content: Object, parts: Sequence[Object]) -> Message:
    role = content.get("role", "user")
    if role not in ("user", "model"):
        raise RowFault("a content with an unknown role", repr(role))
    calls = [_call(part) for part in parts if _under(part, _CALL) is not None]
    others = [part for part in parts if _under(part, _CALL) is None]
    thoughts = [part["text"] for part in others if _is_thought(part)]
    typed = [_typed(part) for part in others if not _is_thought(part)]
    texts = [str(part["text"]) for part in typed if part["type"] == "text"]
    return Message(
        role="assistant" if role == "model" else "user",
        content="".join(texts),
        tool_calls=calls_text(calls),
        thinking="".join(map(str, thoughts)) if thoughts else None,
        parts=None if len(texts) == len(typed) else text_of(typed),
        extra=rest(content, {"role", "parts"}),
    )


def _typed(part: Object) -> Object:
    """Give a part the type that says what it is, as other dialects have it."""
    if _is_text(part):
        return {"type": "text", "text": part["text"]}
    kind = next((name for name in _FILES if name in part), None)
    if kind is None:
        raise RowFault("a part that is no text, function call, response or file", ", ".join(part))
    return {"type": kind, **part}


def _call(part: Object) -> Call:
    """Read a function call; what stands beside it in its part (a signature of thoughts) stays beside it."""
    found = _under(part, _CALL)
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        raise RowFault("a function call without a name")
    arguments = text_of(found.get("args", {}))
    return Call(found["name"], arguments, _optional_id(found), rest(part, _CALL))


def _answer(found: object, beside: Object) -> Message:
    """Read a function's response; a lone ``output`` is the whole of it, as Google's reference has it.

    Its other keys, and those ``beside`` it in its content, stay with it.
    """
    if not isinstance(found, dict) or not (
        isinstance(found.get("name"), str) and isinstance(found.get("response"), dict)
    ):
        raise RowFault("a function response without a name and an object 'response'")
    called = _optional_id(found)
    known = {"name", "response", *(("id",) if called is not None else ())}
    extra = rest({**beside, **found}, known)
    return Message("tool", _text(found["response"]), name=found["name"], tool_call_id=called, extra=extra)


def _text(response: Object) -> str:
    output = response.get("output")
    return output if len(response) == 1 and isinstance(output, str) else text_of(response)


def _content(message: Message) -> Object | None:
    """Write a message as one content; None where a part or a call has no place there."""
    if message.role == "tool":
        return _responding(message)
    calls = calls_of(message.tool_calls)
    called = None if calls is None else [_called(call) for call in calls]
    parts = _parts(message)
    if message.role not in ("user", "assistant") or parts is None or called is None or None in called:
        return None
    parts += [part for part in called if part is not None]
    role = "model" if message.role == "assistant" else "user"
    return with_rest({"role": role, "parts": parts or [{"text": ""}]}, message.extra)


def _parts(message: Message) -> list[Object] | None:
    thought: list[Object] = [] if message.thinking is None else [{"text": message.thinking, "thought": True}]
    if message.parts is None:
        return [*thought, {"text": message.content}] if message.content else thought
    typed = value_of(message.parts)
    if not all(isinstance(part, dict) and part["type"] in ("text", *_FILES) for part in typed):
        return None
    return [*thought, *({name: found for name, found in part.items() if name != "type"} for part in typed)]


def _called(call: Call) -> Object | None:
    """Write a call as a part; None where its arguments are no JSON object: a model's mistake, kept as text elsewhere."""
    try:
        arguments = value_of(call.arguments)
    except (msgspec.DecodeError, RecursionError):
        return None
    head: Object = {} if call.id is None else {"id": call.id}
    part: Object = {"functionCall": {**head, "name": call.name, "args": arguments}}
    return with_rest(part, call.beside) if isinstance(arguments, dict) else None


def _responding(message: Message) -> Object | None:
    if message.name is None:  # a response is given to the function that it names
        return None
    head: Object = {} if message.tool_call_id is None else {"id": message.tool_call_id}
    response = {**head, "name": message.name, "response": _response(message.content)}
    return {"role": "user", "parts": [{"functionResponse": with_rest(response, message.extra)}]}


def _response(text: str) -> Object:
    """Give a tool's answer as an object: its own, where reading gives the same text again, else as ``output``."""
    try:
        found = msgspec.json.decode(text, type=dict[str, object])
    except (msgspec.DecodeError, RecursionError):
        return {"output": text}
    return found if _text(found) == text else {"output": text}


def _joined(contents: Sequence[Object]) -> Object:
    parts = [part for content in contents for part in _elements(content["parts"])]
    return {**contents[0], "parts": parts}


def _tools(found: object) -> str | None:
    """Read tools: each declared function as OpenAI wraps it, what is no function as it is."""
    if not isinstance(found, list):
        return json_text(found, "tools")
    tools: list[object] = []
    for tool in found:
        functions = [{"type": "function", "function": one} for one in _elements(_under(tool, _DECLARATIONS))]
        tools += functions or [tool]
    return json_text(tools, "tools")


def _declared(tools: object) -> list[object]:
    functions = [one["function"] for one in _elements(tools) if isinstance(one, dict) and "function" in one]
    others = [one for one in _elements(tools) if not (isinstance(one, dict) and "function" in one)]
    return [*([{"functionDeclarations": functions}] if functions else []), *others]


def _under(part: object, names: Sequence[str]) -> object:
    """Give what stands under one of the two spellings of a key; None where neither does."""
    return next((part[name] for name in names if name in part), None) if isinstance(part, dict) else None


def _optional_id(found: Object) -> str | None:
    name = found.get("id")
    return name if isinstance(name, str) else None


def _elements(found: object) -> list[object]:
    """Give the elements of a list; none where a value is no list."""
    return found if isinstance(found, list) else []


def _is_text(part: object) -> bool:
    return isinstance(part, dict) and set(part) == {"text"} and isinstance(part["text"], str)


def _is_thought(part: Object) -> bool:
    return set(part) == {"text", "thought"} and part["thought"] is True and isinstance(part["text"], str)
