"""Generative question answering: everything is a question about a text, and the answer is written.

**What it is.** The text, a question about it, the choices if there are any, and ``Answer:``. Text first: with a
frozen trunk, all formats and label words that begin with the text share its computed states.

**Loss.** L(x, q, y) = -sum_t log p(y_t | x, q, y_<t), over the answer and its stop token.

**Wins** on reading comprehension, and with few labelled records: question and choices say what is asked.
**Loses** with many classes (every choice is listed in every example) and where tokens are dear.

**Source.** decaNLP 2018 (arXiv:1806.08730), section 2; Khashabi et al. 2020 (UnifiedQA), section 3.1, whose order
(question, choices, context) we turn round so that the text comes first.
"""

from formtune.examples import Cell, Example, Format, Segment, Shape, Task
from formtune.formats.layout import (
    PREFERENCE,
    WRITES,
    answered,
    choices,
    content,
    expect,
    goal,
    label_list,
    lead,
    named_inputs,
    scaffold,
)
from formtune.formats.wording import pair_question, wording
from formtune.records import Labelled, Pair, Question, Record


def labelled(record: Record, task: Task, shape: Shape) -> Example:
    """Ask the task's question about the text, list the label words, learn the right one."""
    record = expect(record, Labelled)
    asked = [*named_inputs(record, task), *_ask(task.question, task), scaffold("\n"), label_list(task)]
    return answered(record.id, [*asked, _answer(task)], goal(record, task), lead=lead(task, shape))


def question(record: Record, task: Task, shape: Shape) -> Example:
    """Give the context, ask the question, list the choices if there are any, learn the answer."""
    record = expect(record, Question)
    words = wording(task)
    context = [content(record.context), scaffold("\n")] if record.context else []
    asked = [scaffold(words.question + words.colon), content(record.question), *choices(record, task)]
    return answered(record.id, [*context, *asked, _answer(task)], goal(record, task), lead=lead(task, shape))


def pair(record: Record, task: Task, shape: Shape) -> Example:
    """Ask for the target as a question about the source."""
    record = expect(record, Pair)
    asked = [content(record.source), *_ask(pair_question(record, task), task), _answer(task)]
    return answered(record.id, asked, goal(record, task), lead=lead(task, shape))


def _ask(question: str, task: Task) -> list[Segment]:
    words = wording(task)
    return [scaffold(f"\n{words.question}{words.colon}{question}")]


def _answer(task: Task) -> Segment:
    words = wording(task)
    return scaffold(f"\n{words.answer}{words.colon.rstrip()}")


FORMAT = Format(
    name="generative_qa",
    summary="A question about the text, with the choices listed; the answer is written.",
    formula="L = -sum_t log p(y_t | x, q, y_<t), over the answer and its stop token",
    wins="Reading comprehension, and few labelled records: question and choices say what is asked.",
    loses="Many classes, since every choice is listed in every example.",
    source="decaNLP 2018 (arXiv:1806.08730), section 2; Khashabi et al. 2020 (UnifiedQA), section 3.1",
    adds=("label names", "task description"),
    cells={
        "labelled": Cell(labelled, WRITES),
        "question": Cell(question, WRITES),
        "pair": Cell(pair, WRITES),
        "conversation": "A conversation holds its own requests; a question about it would ask for something else.",
        "plain": "Plain text has no answer that could be asked for.",
        "preference": PREFERENCE,
    },
)
