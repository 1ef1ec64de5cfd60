"""What a client sends, as the kind of record that the run was trained on."""

from collections.abc import Sequence

import msgspec

from formtune.examples import Task
from formtune.formats import unanswered, with_languages
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
        return unanswered(Conversation(messages=tuple(Message(turn.role, turn.content) for turn in turns)))
    if len(turns) > 1:
        raise invalid(
            f"messages: This run was trained on single records ({task.kind}), not on conversations. "
            "Send one user message that holds the text.",
            "messages",
        )
    return record_of_text(turns[0].content, task, param="messages")


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
        return record_of_text(value, task, param=param)
    try:
        if task.kind == "question":
            return _question(msgspec.convert(value, QuestionInput), task, param=param)
        return _labelled(msgspec.convert(value, dict[str, str]), task, param=param)
    except msgspec.ValidationError as error:
        raise invalid(f"{param}: {error}. Send a {task.kind} record.", param) from error


def _labelled(texts: dict[str, str], task: Task, *, param: str) -> Labelled:
    """Give the texts in the order of training, which is the order in which the model sees them."""
    names = task.inputs or tuple(texts)
    if set(texts) != set(names):
        raise invalid(f"{param}: This run's records have the texts {', '.join(names)}. Send these.", param)
    return Labelled(inputs={name: texts[name] for name in names})


def _question(asked: QuestionInput, task: Task, *, param: str) -> Question:
    if len(set(asked.choices)) < len(asked.choices):
        raise invalid(f"{param}: Two choices are the same. Send each once.", param)
    if asked.choices and not task.letters and set(asked.choices) != set(task.labels):
        fixed = ", ".join(task.labels) or "none"
        raise invalid(f"{param}: This run's choices are fixed ({fixed}). Leave 'choices' out.", param)
    return Question(question=asked.question, context=asked.context, choices=asked.choices)


def record_of_text(text: str, task: Task, *, param: str) -> Record:
    r"""Make the record that a bare text is.

    A question may stand below the text that it is about, behind an empty line.

    Raises:
        Problem: when the run's records have several texts.

    >>> asked = record_of_text("The film was shot in 1962.\n\nWhen was it shot?", Task("question"), param="input")
    >>> asked.context, asked.question
    ('The film was shot in 1962.', 'When was it shot?')
    """
    match task.kind:
        case "labelled":
            return _labelled(dict.fromkeys(task.inputs[:1] or ("text",), text), task, param=param)
        case "question":
            context, _, question = text.strip().rpartition("\n\n")
            return Question(question=question, context=context or None)
        case "pair":
            return with_languages(Pair(source=text), task)
    return Plain(text=text)
