"""What the dialects of preferences share: sides that are texts or messages, and the prompt that both sides begin with.

A judged answer alone is a preference with one side: chosen where it is right, rejected where it is wrong.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import takewhile

from formtune.dialects.calls import calls_of, calls_text, named_calls, named_text
from formtune.dialects.columns import Object, RowFault, filled_in, text_in
from formtune.dialects.conversations import as_row, is_messages, messages_in
from formtune.records import Message, Preference
from formtune.sources import text_of, value_of

Side = tuple[Message, ...]
_TURN = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
_HUMAN = "\n\nHuman:"
_OPEN = "\n\nAssistant: "
_SPEAKERS = {"Human": "user", "Assistant": "assistant"}
# The roles of ShareGPT, with the newer names beside them.
_FROM = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "observation": "tool",
    "tool": "tool",
    "function_call": "assistant",
}
_TO = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


def side(found: object, role: str = "assistant") -> Side:
    """Read one side: a text is a message of the role, an object is one message, a list is messages.

    Raises:
        RowFault: when it is none of these.
    """
    if isinstance(found, str):
        return (Message(role, found),) if found.strip() else ()
    if found is None or found == []:
        return ()
    listed = [found] if isinstance(found, dict) else found
    if isinstance(listed, list) and all(isinstance(part, dict) and {"from", "value"} <= set(part) for part in listed):
        return tuple(map(from_value, listed))
    if not is_messages(listed) or not isinstance(listed, list):
        raise RowFault("a side that is neither a text nor messages", type(found).__name__)
    return messages_in(listed)


def answer(found: object) -> Side:
    """Read the answer of one side.

    Raises:
        RowFault: when it is empty, or no answer.
    """
    said = side(found)
    if not said:
        raise RowFault("an empty answer")
    return said


def as_text(said: Side, role: str = "assistant") -> str | None:
    """Give a side as the text that would be read as the same; None where only messages hold it."""
    text = said[0].content if len(said) == 1 else ""
    return text if side(text, role) == said else None


def parted(chosen: Side, rejected: Side) -> tuple[Side, Side, Side]:
    """Part the prompt, which is what both sides begin with, from the two answers; each has one message at least."""
    n_equal = sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(chosen, rejected, strict=False)))
    n_prompt = min(n_equal, len(chosen) - 1, len(rejected) - 1)
    return chosen[:n_prompt], chosen[n_prompt:], rejected[n_prompt:]


def parted_last(messages: Side) -> tuple[Side, Side]:
    """Part the answer, which is the last message, from what stands before it.

    Raises:
        RowFault: when the last message is not the assistant's.
    """
    if not messages or messages[-1].role != "assistant":
        raise RowFault("a conversation that does not end with an answer")
    return messages[:-1], messages[-1:]


def has_both(record: Preference) -> bool:
    """Say whether one answer is preferred to another, and not judged alone."""
    return bool(record.chosen) and bool(record.rejected)


def judged(record: Preference) -> tuple[Side, bool] | None:
    """Give the answer that is judged alone, and whether it is right; None where there are two, or none."""
    if bool(record.chosen) == bool(record.rejected):
        return None
    return record.chosen or record.rejected, bool(record.chosen)


def truth(found: object) -> bool | None:
    """Read a judgment: a truth value, or the word for it as a table holds it."""
    if isinstance(found, str):
        return {"true": True, "false": False}.get(found.strip().casefold())
    return found if isinstance(found, bool) else None


def rows_of(said: Iterable[Message]) -> list[Object]:
    """Write messages as OpenAI has them."""
    return [as_row(message) for message in said]


def turns(text: str) -> Side:
    r"""Read turns that stand in one text behind ``\n\nHuman:`` and ``\n\nAssistant:``.

    Raises:
        RowFault: when it does not begin with one.
    """
    marks = list(_TURN.finditer(text))
    if not marks or marks[0].start() != 0:
        raise RowFault("a text that does not begin with 'Human:' or 'Assistant:'")
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    both = zip(marks, ends, strict=True)
    return tuple(Message(_SPEAKERS[mark[1]], text[mark.end() : end].removeprefix(" ")) for mark, end in both)


def prompt_of(text: str) -> Side:
    """Read a prompt: turns behind ``Human:``, of which the last may be open, or a text of the user's."""
    if not text.startswith(_HUMAN):
        return (Message("user", text),) if text.strip() else ()
    said = turns(text)
    is_open = len(said) > 1 and said[-1].role == "assistant" and not said[-1].content.strip()
    return said[:-1] if is_open else said


def prompt_text(prompt: Side) -> str | None:
    """Write a prompt as the text that would be read as the same; None where only messages hold it."""
    text = as_text(prompt, "user")
    if text is None or text.startswith(_HUMAN):
        said = turns_text(prompt)
        text = None if said is None else said + _OPEN
    return text if text is not None and prompt_of(text) == prompt else None


def turns_text(said: Iterable[Message]) -> str | None:
    """Write turns as one text; None where it would not be read as the same."""
    names = {role: speaker for speaker, role in _SPEAKERS.items()}
    messages = tuple(said)
    if not messages or not all(message.role in names for message in messages):
        return None
    text = "".join(f"\n\n{names[message.role]}: {message.content}" for message in messages)
    bare = tuple(Message(message.role, message.content) for message in messages)
    return text if not any(map(_has_more, messages)) and turns(text) == bare else None


def from_value(part: Object) -> Message:
    """Read one message of ShareGPT's ``from`` and ``value``; a call of tools is one of the assistant.

    Raises:
        RowFault: when the role is unknown, or a call is not JSON.
    """
    said, value = part.get("from"), part.get("value")
    if not isinstance(said, str) or said not in _FROM:
        raise RowFault("a message with an unknown role", repr(said))
    if not isinstance(value, str):
        raise RowFault("a message with a value that is not a text", type(value).__name__)
    aside = {name: found for name, found in part.items() if name not in ("from", "value")}
    extra = text_of(aside) if aside else None
    if said == "function_call":
        return Message("assistant", "", tool_calls=calls_text(named_calls(value)), extra=extra)
    return Message(_FROM[said], value, extra=extra)


def as_value(message: Message) -> Object | None:
    """Write one message as ShareGPT does; None where its call has no place there."""
    aside = value_of(message.extra) if message.extra else {}
    if not message.tool_calls:
        return None if message.parts else {**aside, "from": _TO[message.role], "value": message.content}
    calls = calls_of(message.tool_calls)
    if not calls or message.content or message.role != "assistant":
        return None
    texts = [named_text(call) for call in calls]
    return {**aside, "from": "function_call", "value": texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"}


def asked_in(value: Object, names: Sequence[str]) -> tuple[Message, ...]:
    """Read what is asked in columns of texts: ``system``, ``history``, and the columns of these names as one request.

    Raises:
        RowFault: when nothing is asked, or the history is no list of pairs of texts.
    """
    system = text_in(value, "system")
    first, *others = names
    request = [filled_in(value, first), *(text_in(value, name) for name in others)]
    history = value.get("history") or []
    if not isinstance(history, list) or not all(_is_pair(pair) for pair in history):
        raise RowFault("a history that is not a list of pairs of texts")
    said = [Message(role, text) for pair in history for role, text in zip(("user", "assistant"), pair, strict=True)]
    lead = [Message("system", system)] if system else []
    return (*lead, *said, Message("user", "\n".join(filter(None, request))))


def asked_row(prompt: Side, request: str, *, with_history: bool) -> Object | None:
    """Write what :func:`asked_in` reads; None where it is another conversation.

    Args:
        prompt: what stands before the answers.
        request: the column of the last thing that the user says.
        with_history: whether there is a column for what was said before.
    """
    system = prompt[:1] if prompt and prompt[0].role == "system" else ()
    said = prompt[len(system) :]
    roles = [message.role for message in said]
    if roles != [*["user", "assistant"] * (len(said) // 2), "user"] or any(map(_has_more, prompt)):
        return None
    if not said[-1].content.strip() or (len(said) > 1 and not with_history) or (system and not system[0].content):
        return None
    pairs = [[said[place].content, said[place + 1].content] for place in range(0, len(said) - 1, 2)]
    head: Object = {"system": system[0].content} if system else {}
    return {**head, **({"history": pairs} if pairs else {}), request: said[-1].content}


def _is_pair(pair: object) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)


def _has_more(message: Message) -> bool:
    """Say whether a message holds what a text has no place for and a reader would miss: calls, their answers, parts."""
    return bool(message.tool_calls or message.parts) or message.role == "tool"
