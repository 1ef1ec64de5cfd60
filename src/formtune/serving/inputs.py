"""What a client sends, as the kind of record that the run was trained on."""

from collections.abc import Sequence

import msgspec

from formtune.examples import Task
from formtune.records import Conversation, Labelled, Message, Pair, Plain, Question, Record
from formtune.serving.engine import ChatTurn, Input
from formtune.serving.problems import invalid


class QuestionInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question as an object."""

    question: str
    context: str | None = None
    choices: tuple[str, ...] = ()


def record_of_turns(turns: Sequence[ChatTurn], task: Task) -> Record:
    """Make the record that a chat is: the conversation, or the record whose text the one message holds.

    Raises:
        Problem: when the last message is not the user's, or several were sent to a run of single records.
    """
    if turns[-1].role != "user":
        raise invalid("messages: The last message must be the user's. Put the question last.", "messages")
    if task.kind == "conversation":
        # The empty message keeps the place of the answer.
        said = [Message(turn.role, turn.content) for turn in turns]
        return Conversation(messages=(*said, Message("assistant", "")))
    if len(turns) > 1:
        raise invalid(
            f"messages: This run was trained on single records ({task.kind}), not on conversations. "
            "Send one user message that holds the text.",
            "messages",
        )
    return record_of_text(turns[0].content, task.kind)


def record_of_input(value: Input, task: Task, *, param: str) -> Record:
    """Make the record that an input of ``/v1/classify`` is: a text, or an object.

    Args:
        value: the input.
        task: what the run was trained on.
        param: where the input stands in the request.

    Raises:
        Problem: when the object is not a record of this kind.
    """
    if isinstance(value, str):
        return record_of_text(value, task.kind)
    try:
        if task.kind == "question":
            return _question(msgspec.convert(value, QuestionInput), task, param=param)
        return Labelled(inputs=msgspec.convert(value, dict[str, str]))
    except msgspec.ValidationError as error:
        raise invalid(f"{param}: {error}. Send a {task.kind} record.", param) from error


def _question(asked: QuestionInput, task: Task, *, param: str) -> Question:
    if len(set(asked.choices)) < len(asked.choices):
        raise invalid(f"{param}: Two choices are the same. Send each once.", param)
    if asked.choices and not task.letters and set(asked.choices) != set(task.labels):
        fixed = ", ".join(task.labels) or "none"
        raise invalid(f"{param}: This run's choices are fixed ({fixed}). Leave 'choices' out.", param)
    return Question(question=asked.question, context=asked.context, choices=asked.choices)


def record_of_text(text: str, kind: str) -> Record:
    r"""Make the record that a bare text is.

    A question may stand below the text that it is about, behind an empty line.

    >>> asked = record_of_text("The film was shot in 1962.\n\nWhen was it shot?", "question")
    >>> asked.context, asked.question
    ('The film was shot in 1962.', 'When was it shot?')
    """
    match kind:
        case "labelled":
            return Labelled(inputs={"text": text})
        case "question":
            context, _, question = text.strip().rpartition("\n\n")
            return Question(question=question, context=context or None)
        case "pair":
            return Pair(source=text)
    return Plain(text=text)
