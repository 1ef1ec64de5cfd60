"""Calls of tools and their schemas, in OpenAI's layout and as the JSON texts of ``{"name", "arguments"}``.

A record holds calls in OpenAI's layout, where the arguments are text. Here that text is, character for character, what
stands in the data: ``{"name": "f", "arguments": {"b": 1}}`` calls ``f`` with the text ``{"b": 1}``. Which turn of a
conversation a call stands in is the business of :mod:`formtune.dialects.call_turns`.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from formtune.dialects.columns import Object, RowFault
from formtune.sources import text_of, value_of

_NO_CALL = "a tool call that is not JSON with a name"


class Call(msgspec.Struct, frozen=True):
    """One call: the tool's name, the JSON text of its arguments, and its id where it has one.

    ``beside`` is the JSON text of an object with the call's other keys.
    """

    name: str
    arguments: str
    id: str | None = None
    beside: str | None = None


class _Function(msgspec.Struct, frozen=True):
    name: str
    arguments: msgspec.Raw


_OWN = frozenset({"id", "type", "function"})
_decode_called = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode
_decode_functions = msgspec.json.Decoder(list[_Function]).decode
_decode_function = msgspec.json.Decoder(_Function).decode


def calls_of(tool_calls: str | None) -> list[Call] | None:
    """Take a message's tool calls apart; None where they are not in OpenAI's layout."""
    if tool_calls is None:
        return []
    try:
        return [_call(one) for one in _decode_called(tool_calls)]
    except (msgspec.DecodeError, KeyError):
        return None


def calls_text(calls: Sequence[Call]) -> str | None:
    """Write calls as a message holds them; None where there are none."""
    return text_of([_openai(call) for call in calls]) if calls else None


def named_calls(found: str | bytes) -> list[Call]:
    """Read the JSON text of one ``{"name", "arguments"}`` or of a list of them.

    Raises:
        RowFault: when it is something else.
    """
    try:
        is_list = found.lstrip()[:1] in ("[", b"[")
        functions = _decode_functions(found) if is_list else [_decode_function(found)]
        return [Call(function.name, _text(function.arguments)) for function in functions]
    except msgspec.DecodeError as error:
        raise RowFault("a tool call without a name and arguments", str(error)) from error


def named_text(call: Call) -> str:
    """Write a call as ``{"name": ..., "arguments": ...}``, with the arguments as a JSON value."""
    return f'{{"name": {text_of(call.name)}, "arguments": {call.arguments}}}'


def calls_in(text: str) -> str:
    """Read the text of a turn, one call or a list of them, as the JSON text of calls in OpenAI's layout.

    Raises:
        RowFault: when it is not JSON, or a call has no name.
    """
    try:
        found = msgspec.json.decode(text, type=list[msgspec.Raw] | dict[str, msgspec.Raw])
        calls = [found] if isinstance(found, dict) else [_fields(raw) for raw in found]
        return as_calls([_function(call) for call in calls])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RowFault(_NO_CALL, str(error)) from error


def as_calls(functions: Sequence[Object]) -> str:
    """Give the JSON text of calls in OpenAI's layout, without ids.

    Raises:
        RowFault: when there is none, or one has no name.
    """
    if not functions or not all(isinstance(function.get("name"), str) for function in functions):
        raise RowFault(_NO_CALL)
    return text_of([{"type": "function", "function": function} for function in functions])


def functions_in(tool_calls: str) -> list[Object] | None:
    """Give name and arguments of each call; None where something else is called, or a call is in another layout."""
    calls = value_of(tool_calls)
    functions = [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    known = [function for function in functions if isinstance(function, dict) and isinstance(function.get("name"), str)]
    return known if known and len(known) == len(calls) else None


def call_texts(tool_calls: str) -> list[str] | None:
    """Write each call as the text of a turn; None where :func:`functions_in` finds none."""
    functions = functions_in(tool_calls)
    return None if functions is None else [text_of_call(function) for function in functions]


def text_of_call(function: Object) -> str:
    """Write name and arguments of a call as the text of a turn."""
    fields = (f"{text_of(key)}: {_value(key, value)}" for key, value in function.items())
    return f"{{{', '.join(fields)}}}"


def together(tool_calls: Iterable[str]) -> str:
    """Put the JSON texts of lists of calls into one list."""
    return text_of([call for text in tool_calls for call in value_of(text)])


def joined(texts: Sequence[str]) -> str:
    """Put the texts of calls into one: a single call as it is, several as a list."""
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def wrapped(tools: str | None) -> str | None:
    """Wrap bare schemas of functions as OpenAI and Mistral need them; each schema keeps its bytes."""
    return _each(tools, lambda one: f'{{"type":"function","function":{one}}}' if _is_bare(one) else one)


def unwrapped(tools: str | None) -> str | None:
    """Give schemas of functions without OpenAI's wrapping; each keeps its bytes."""
    return _each(tools, _inner)


def is_json(text: str) -> bool:
    """Say whether a text is JSON."""
    try:
        value_of(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return False
    return True


def _openai(call: Call) -> dict[str, object]:
    head = {} if call.id is None else {"id": call.id}
    beside = value_of(call.beside) if call.beside else {}
    return {**head, "type": "function", "function": {"name": call.name, "arguments": call.arguments}, **beside}


def _call(found: dict[str, msgspec.Raw]) -> Call:
    function = _decode_function(found["function"])
    name = msgspec.json.decode(found.get("id", b"null"), type=str | None)
    beside = {key: value for key, value in found.items() if key not in _OWN}
    text = text_of(beside) if beside else None
    return Call(function.name, _text(function.arguments), name, text)


def _fields(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    return msgspec.json.decode(raw, type=dict[str, msgspec.Raw])


def _function(fields: dict[str, msgspec.Raw]) -> Object:
    """Decode a call's fields, but for its arguments, which stay the text that they are."""
    return {key: _text(raw) if key == "arguments" else value_of(raw) for key, raw in fields.items()}


def _text(arguments: msgspec.Raw) -> str:
    """Give arguments as JSON text: OpenAI has them as a string that holds it, others as the value itself."""
    raw = bytes(arguments).decode()
    return msgspec.json.decode(raw, type=str) if raw.startswith('"') else raw


def _value(key: str, value: object) -> str:
    """Write a field of a call; arguments that are the text of a JSON value stand as that value."""
    if key == "arguments" and isinstance(value, str) and value == value.strip() and is_json(value) and value[0] != '"':
        return value
    return msgspec.json.format(text_of(value), indent=0)


def _each(tools: str | None, change: Callable[[str], str]) -> str | None:
    """Change the elements of a JSON list; a text in which nothing changes stays as it is."""
    if tools is None:
        return None
    try:
        elements = [bytes(one).decode() for one in msgspec.json.decode(tools, type=list[msgspec.Raw])]
    except msgspec.DecodeError:
        return tools
    changed = [change(one) for one in elements]
    return tools if changed == elements else f"[{','.join(changed)}]"


def _is_bare(schema: str) -> bool:
    found = value_of(schema)
    return isinstance(found, dict) and "name" in found and "function" not in found


def _inner(schema: str) -> str:
    found = value_of(schema)
    if not isinstance(found, dict) or found.get("type") != "function" or set(found) != {"type", "function"}:
        return schema
    return bytes(msgspec.json.decode(schema, type=dict[str, msgspec.Raw])["function"]).decode()
