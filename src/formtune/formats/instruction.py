"""Instruction: what to do, the input, and the response, under headings.

**What it is.** The layout that Alpaca made common: an instruction in words, the record's text as the input, and the
response, which alone is learned. Label words are listed in the instruction. A conversation is laid out turn by turn;
its last answer is learned.

**Loss.** L(i, x, y) = -sum_t log p(y_t | i, x, y_<t), over the response and its stop token.

**Wins** on models that were tuned on instructions, on mixtures of tasks, and with few records: the task is said in
words. **Loses** on long texts that must be read together with a long instruction, and on base models with many
records, where the headings only cost tokens.

**Source.** Wei et al. 2022 (FLAN), section 2.1; Taori et al. 2023 (Stanford Alpaca), for the headings. The
introductory sentence is our own.
"""

from collections.abc import Sequence

from formtune.examples import Cell, Example, Format, Segment, Shape, Task
from formtune.formats.dialogue import last_answer, refuse_templated, reply, speaker
from formtune.formats.layout import (
    PREFERENCE,
    WRITES,
    answered,
    choices,
    content,
    expect,
    goal,
    label_list,
    named_inputs,
    scaffold,
)
from formtune.formats.wording import pair_instruction, wording
from formtune.records import Conversation, Labelled, Message, Pair, Question, Record


def labelled(record: Record, task: Task, _shape: Shape) -> Example:
    """Say what to do and which labels there are, give the text, learn the label word."""
    record = expect(record, Labelled)
    order = [scaffold(task.instruction + "\n"), label_list(task)]
    prompt = _page(order, named_inputs(record, task), task)
    return answered(record.id, prompt, goal(record, task), lead="")


def question(record: Record, task: Task, _shape: Shape) -> Example:
    """Say that a question is to be answered, give it with its context and choices, learn the answer."""
    record = expect(record, Question)
    words = wording(task)
    context = [content(record.context), scaffold("\n\n")] if record.context else []
    asked = [scaffold(words.question + words.colon), content(record.question), *choices(record, task)]
    prompt = _page([scaffold(task.instruction)], [*context, *asked], task)
    return answered(record.id, prompt, goal(record, task), lead="")


def pair(record: Record, task: Task, _shape: Shape) -> Example:
    """Say what to make of the source, give it, learn the target."""
    record = expect(record, Pair)
    prompt = _page([scaffold(pair_instruction(record, task))], [content(record.source)], task)
    return answered(record.id, prompt, goal(record, task), lead="")


def conversation(record: Record, task: Task, _shape: Shape) -> Example:
    """Lay out what was said under headings, turn by turn, and learn the last answer."""
    record = expect(record, Conversation)
    refuse_templated(record)
    before, last = last_answer(record)
    response = scaffold(wording(task).headings["response"])
    return reply(record.id, [*_turns(before, task), response], last, lead="")


def _page(order: Sequence[Segment], given: Sequence[Segment], task: Task) -> list[Segment]:
    words = wording(task)
    heading = words.headings
    return [
        scaffold(words.response_intro + heading["instruction"]),
        *order,
        scaffold("\n\n" + heading["input"]),
        *given,
        scaffold("\n\n" + heading["response"]),
    ]


def _turns(messages: Sequence[Message], task: Task) -> list[Segment]:
    headings = wording(task).headings
    names = {"system": headings["system"], "user": headings["instruction"], "assistant": headings["response"]}
    segments: list[Segment] = []
    for message in messages:
        heading = names.get(message.role) or f"### {speaker(message.role, task)}:\n"
        segments += [scaffold(heading), content(message.content, cut="start"), scaffold("\n\n")]
    return segments


FORMAT = Format(
    name="instruction",
    summary="Instruction, input and response under headings; the response is learned.",
    formula="L = -sum_t log p(y_t | i, x, y_<t), over the response and its stop token",
    wins="Models tuned on instructions, mixtures of tasks, few records: the task is said in words.",
    loses="Base models with many records, where the headings only cost tokens.",
    source="Wei et al. 2022 (FLAN), section 2.1; Taori et al. 2023 (Stanford Alpaca)",
    adds=("label names", "task description"),
    cells={
        "labelled": Cell(labelled, WRITES),
        "question": Cell(question, WRITES),
        "pair": Cell(pair, WRITES),
        "conversation": Cell(conversation, WRITES),
        "plain": "Plain text holds no instruction that could be followed.",
        "preference": PREFERENCE,
    },
)
