"""Calls of tools and their schemas in OpenAI's layout and in others; arguments and schemas stay as they are written."""

from collections.abc import Callable, Sequence

import msgspec

from formtune.dialects.columns import RowFault
from formtune.sources import text_of, value_of


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


def _text(arguments: msgspec.Raw) -> str:
    """Give arguments as JSON text: OpenAI has them as a string that holds it, others as the value itself."""
    raw = bytes(arguments).decode()
    return msgspec.json.decode(raw, type=str) if raw.startswith('"') else raw
