"""A conversation as plain text, for the formats that do not use a chat template.

Only the last answer is learned: an example has one answer, and everything before it is its prompt. (The format
``chat`` learns every assistant turn.) Tools and reasoning have no place in plain text; a conversation that has them is
refused, so that it is counted and not trained on without them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from formtune.errors import DataError
from formtune.examples import Example, Segment, Task, shares
from formtune.formats.layout import STOP, content, joined, scaffold
from formtune.formats.wording import wording
from formtune.records import Conversation, Message


def last_answer(record: Conversation) -> tuple[tuple[Message, ...], Message]:
    """Part a conversation into what was said before and its last answer.

    An answer that is empty and calls no tool is yet to be given (:func:`is_open`).

    Raises:
        DataError: there is no message, or the last one is not from the assistant.
    """
    if not record.messages:
        raise DataError("The conversation has no messages.", "Take it out.", at=record.origin)
    refuse_parts(record)
    *before, last = record.messages
    if last.role != "assistant":
        raise DataError(
            f"The last message is from {last.role!r}, so there is nothing to learn.",
            "End the conversation with an assistant message.",
            at=record.origin,
        )
    return tuple(before), last


def refuse_parts(record: Conversation) -> None:
    """Refuse a conversation with pictures or sounds.

    Raises:
        DataError: a message holds such a part.
    """
    if any(message.parts for message in record.messages):
        raise DataError(
            "A message holds more than text (a picture, say), and the models here read text.",
            "Take the record out, or convert it.",
            at=record.origin,
        )


def is_open(message: Message) -> bool:
    """Say whether an assistant message only keeps the place of an answer that is yet to be given."""
    return not (message.content or message.tool_calls or message.thinking)


def answer_weight(message: Message) -> float:
    """Give the loss weight of an assistant message: 1 unless the data says otherwise."""
    return 1.0 if message.weight is None else message.weight


def refuse_templated(record: Conversation) -> None:
    """Refuse a conversation with what only a chat template can lay out.

    Raises:
        DataError: it has tools, calls them, or holds their results; or it holds reasoning.
    """
    if any(message.thinking for message in record.messages):
        raise DataError(
            "The conversation holds reasoning, and how that is written is known to a chat template only.",
            "Take the format chat, or take the reasoning out.",
            at=record.origin,
        )
    if record.tools or any(m.tool_calls or m.role == "tool" for m in record.messages):
        raise DataError(
            "The conversation has tools, and how a call is written is known to a chat template only.",
            "Take the format chat, or take the record out.",
            at=record.origin,
        )


def history(messages: Sequence[Message], task: Task) -> list[Segment]:
    """Lay out what was said, each message on a line behind its speaker."""
    segments: list[Segment] = []
    for message in messages:
        start = ("\n" if segments else "") + speaker(message.role, task) + wording(task).colon
        cut: Literal["end", "start"] = "end" if message.role == "system" else "start"
        segments += [scaffold(start), content(message.content, cut=cut)]
    return segments


def speaker(role: str, task: Task) -> str:
    """Name a speaker in plain text; a role that we do not know keeps its name."""
    return wording(task).roles.get(role, role)


def reply(record_id: str, prompt: Iterable[Segment], message: Message, *, lead: str) -> Example:
    """Put the last answer behind its prompt, with the weights that the data give it and stretches of it."""
    segments = joined(prompt)
    if not is_open(message):
        weight = answer_weight(message)
        stretches = (
            [(lead, 1.0), *shares(message.content, message.spans)] if message.spans else [(lead + message.content, 1.0)]
        )
        answer = [Segment(text, "target", weight=weight * share) for text, share in stretches if text]
        segments = (*segments, *answer, replace(STOP, weight=weight))
    references = (message.content,) if message.content else ()
    return Example(id=record_id, output="text", segments=segments, references=references)
