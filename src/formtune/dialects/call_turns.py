"""Calls of tools that stand in a turn of their own, as the text of a message (ShareGPT, ms-swift, ChatGLM).

What stands in such a turn is read and written by :mod:`formtune.dialects.calls`.
"""

from collections.abc import Collection, Iterable, Sequence

import msgspec

from formtune.dialects.calls import call_texts, calls_in, joined, together
from formtune.dialects.conversations import extra_of, without
from formtune.records import Message
from formtune.sources import text_of


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
