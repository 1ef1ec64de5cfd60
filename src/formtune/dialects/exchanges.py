"""Conversations in which user and assistant take turns, as the dialects of questions and replies share them."""

from collections.abc import Iterable, Sequence

from formtune.dialects.columns import Object, RowFault
from formtune.records import Conversation, Message, Record

Exchange = tuple[str, str | None]


def exchanges_of(record: Record) -> tuple[str | None, list[tuple[Message, Message | None]]] | None:
    """Part a conversation into its system text and what was asked and answered, in turn.

    Returns:
        None where it is no such conversation, has tools, or says more than texts (calls, reasoning, pictures).
    """
    if not isinstance(record, Conversation) or record.tools or not all(map(is_text, record.messages)):
        return None
    messages = list(record.messages)
    system = messages.pop(0).content if messages and messages[0].role == "system" else None
    roles = [message.role for message in messages]
    if not roles or roles != [("user", "assistant")[place % 2] for place in range(len(roles))]:
        return None
    answers = [*messages[1::2], *([None] if len(messages) % 2 else [])]
    return system, list(zip(messages[::2], answers, strict=True))


def texts_of(record: Record) -> tuple[str | None, list[Exchange]] | None:
    """Part a conversation as :func:`exchanges_of` does, into bare texts."""
    found = exchanges_of(record)
    if found is None:
        return None
    system, exchanges = found
    return system, [(asked.content, None if answer is None else answer.content) for asked, answer in exchanges]


def messages_of(system: str | None, exchanges: Iterable[Exchange]) -> tuple[Message, ...]:
    """Make messages of a system text and of what was asked and answered; an answer that is None is yet to be given."""
    talk = [
        Message(role, text)
        for exchange in exchanges
        for role, text in zip(("user", "assistant"), exchange, strict=True)
        if text is not None
    ]
    return (*([Message("system", system)] if system else []), *talk)


def history_in(found: object) -> list[Exchange]:
    """Read earlier turns, each a list of what the user and what the assistant said.

    Raises:
        RowFault: when it is something else.
    """
    turns = found or []
    if not isinstance(turns, list) or not all(_is_pair(turn) for turn in turns):
        raise RowFault("a history that is not a list of pairs of texts")
    return [(asked, answer) for asked, answer in turns]


def history_of(exchanges: Sequence[Exchange]) -> Object:
    """Write all exchanges but the last as a history; nothing where there is only one."""
    return {"history": [list(exchange) for exchange in exchanges[:-1]]} if len(exchanges) > 1 else {}


def alternating(texts: object) -> tuple[Message, ...]:
    """Read a list of texts, the user's and the assistant's in turn.

    Raises:
        RowFault: when it is something else, or empty.
    """
    if not isinstance(texts, list) or not are_texts(texts):
        raise RowFault("turns that are not a list of texts")
    return tuple(Message(("user", "assistant")[place % 2], text) for place, text in enumerate(texts))


def alternating_of(record: Record) -> list[str] | None:
    """Undo :func:`alternating`; None where there is a system text, or user and assistant do not take turns."""
    found = exchanges_of(record)
    if found is None or found[0] is not None:
        return None
    return [message.content for exchange in found[1] for message in exchange if message is not None]


def are_texts(value: object) -> bool:
    """Say whether a value is a list of texts."""
    return isinstance(value, list) and bool(value) and all(isinstance(text, str) for text in value)


def is_text(message: Message) -> bool:
    """Say whether a message says its content and nothing else."""
    return not (message.tool_calls or message.thinking or message.parts)


def _is_pair(turn: object) -> bool:
    return isinstance(turn, list) and len(turn) == 2 and all(isinstance(text, str) for text in turn)
