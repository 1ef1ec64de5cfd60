"""Tool calls that stand in a turn of their own, as JSON text with a name and arguments.

A record holds calls in OpenAI's layout, where the arguments are text. Here that text is, character for character, what
stands in the turn: ``{"name": "f", "arguments": {"b": 1}}`` calls ``f`` with the text ``{"b": 1}``.
"""

from collections.abc import Collection, Iterable, Sequence

import msgspec

from formtune.dialects.columns import Object, RowFault
from formtune.dialects.conversations import extra_of, without
from formtune.dialects.functions import is_json
from formtune.records import Message
from formtune.sources import text_of, value_of

_NO_CALL = "a tool call that is not JSON with a name"


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


def turns_to_calls(messages: Iterable[Message], names: Sequence[str]) -> tuple[Message, ...]:
    """Make tool calls of the messages whose role has one of these names, as part of what the assistant said just before.

    Args:
        messages: a call's content is its text, and its role's name stands in its extra.
        names: of the roles of calls; the first is the one that is written.

    Raises:
        RowFault: when a call cannot be read.
    """
    out: list[Message] = []
    for message in messages:
        if role_name(message) not in names:
            out.append(message)
            continue
        call = _call(message, names[0])
        if out and _goes_on(out[-1], call, names):
            out[-1] = msgspec.structs.replace(
                out[-1], tool_calls=together(filter(None, (out[-1].tool_calls, call.tool_calls)))
            )
        else:
            out.append(call)
    return tuple(out)


def calls_to_turns(
    messages: Iterable[Message], names: Sequence[str], *, is_one_turn: bool
) -> tuple[Message, ...] | None:
    """Undo :func:`turns_to_calls`; None where a call has another layout.

    A call that stands behind an answer of its own is read as part of that answer then: see
    :func:`formtune.dialects.message_columns.row_of`.

    Args:
        messages: as a record holds them.
        names: as above.
        is_one_turn: whether several calls stand in one turn, as a list.
    """
    out: list[Message] = []
    for message in messages:
        texts = call_texts(message.tool_calls) if message.tool_calls else []
        if texts is None:
            return None
        whole = [joined(texts)] if texts and is_one_turn else texts
        out += _turns(message, whole, names) if whole else [_unlike_a_call(message, names)]
    return tuple(out)


def role_name(message: Message) -> str | None:
    """Give the name that the data has for a message's role, where it is not the usual one."""
    said = extra_of(message).get("role")
    return said if isinstance(said, str) else None


def _turns(message: Message, texts: Sequence[str], names: Sequence[str]) -> list[Message]:
    """Make a turn of each call's text, after one of what is said before the calls, if anything is."""
    is_said = bool(message.content or message.parts)
    said = [_unlike_a_call(msgspec.structs.replace(message, tool_calls=None), names)] if is_said else []
    bare = Message("assistant", "", weight=message.weight)
    own = role_name(message)
    name = own if own is not None and own in names and not said and len(texts) == 1 else names[0]
    heads = [bare if said or place else message for place in range(len(texts))]
    return [*said, *(_named(head, text, name) for head, text in zip(heads, texts, strict=True))]


def _named(message: Message, text: str, name: str) -> Message:
    """Make a turn of a call, under the name that its role has."""
    extra = text_of({**extra_of(message), "role": name})
    return msgspec.structs.replace(message, content=text, tool_calls=None, extra=extra)


def _unlike_a_call(message: Message, names: Collection[str]) -> Message:
    """Take from what is no call the name of a call's role, under which it would be read as one."""
    return without(message, "role") if role_name(message) in names else message


def _goes_on(before: Message, call: Message, names: Collection[str]) -> bool:
    """Say whether a call is a part of what the assistant said just before."""
    is_bare = call == Message("assistant", "", weight=call.weight, tool_calls=call.tool_calls)
    return is_bare and before.role == "assistant" and before.weight == call.weight and role_name(before) not in names


def _call(message: Message, usual: str) -> Message:
    call = msgspec.structs.replace(message, content="", tool_calls=calls_in(message.content))
    return without(call, "role") if role_name(message) == usual else call


def _fields(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    return msgspec.json.decode(raw, type=dict[str, msgspec.Raw])


def _function(fields: dict[str, msgspec.Raw]) -> Object:
    """Decode a call's fields, but for its arguments, which stay the text that they are."""
    return {key: _argument_text(raw) if key == "arguments" else value_of(raw) for key, raw in fields.items()}


def _argument_text(raw: msgspec.Raw) -> str:
    text = bytes(raw).decode()
    if not text.startswith('"'):
        return text
    decoded: str = value_of(raw)
    return decoded


def _value(key: str, value: object) -> str:
    """Write a field of a call; arguments that are the text of a JSON value stand as that value."""
    if key == "arguments" and isinstance(value, str) and value == value.strip() and is_json(value) and value[0] != '"':
        return value
    return msgspec.json.format(text_of(value), indent=0)
