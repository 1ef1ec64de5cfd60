"""Sequence to sequence: a text goes in, a text comes out, with as little around them as can be.

**What it is.** On an encoder-decoder the input stands behind a short task prefix, as in T5 (``classify: a fine film``)
and the decoder writes the target. On a decoder it is a *prefix-LM rendering*: ``a fine film => positive`` is one text
of which only what follows the arrow is learned (Liu et al. 2018, section 4.2.3, join input and output with a
separator in the same way). A causal decoder reads the input from the left only, which an encoder does not: a result
of this format on a decoder says little about encoder-decoders.

**Loss.** L(x, y) = -sum_t log p(y_t | x, y_<t), over the tokens of the target and its stop token.

**Wins** where the output is a text of its own: translation, summaries, corrections. **Loses** on small labelled sets
against formats that say what is asked: neither the task nor the labels are described.

**Source.** Sutskever, Vinyals and Le 2014, section 2; Raffel et al. 2020 (T5), section 2.4, for prefixes and labels
as words. We write our own prefixes, one per kind of record, where T5 has one per data set.
"""

from formtune.errors import DataError
from formtune.examples import Cell, Example, Format, Segment, Shape, Task
from formtune.formats.dialogue import history, last_answer, refuse_templated, reply
from formtune.formats.layout import (
    PREFERENCE,
    WRITES,
    Goal,
    answered,
    content,
    expect,
    goal,
    lettered,
    named_inputs,
    raw_inputs,
    scaffold,
    word_spans,
)
from formtune.formats.wording import pair_instruction, translation, wording
from formtune.records import Conversation, Labelled, Pair, Plain, Question, Record

ARROW = " =>"


def labelled(record: Record, task: Task, shape: Shape) -> Example:
    """Put a label word behind a text."""
    record = expect(record, Labelled)
    words = wording(task)
    if shape == "encoder-decoder":
        prompt = [scaffold(words.classify + words.colon), *named_inputs(record, task, " ")]
    else:
        prompt = [*raw_inputs(record, scaffold("\n")), scaffold(ARROW)]
    return answered(record.id, prompt, goal(record, task), lead=_lead(shape))


def question(record: Record, task: Task, shape: Shape) -> Example:
    """Put an answer behind a question and its context; fixed choices are not listed, the record's own ones are."""
    record = expect(record, Question)
    prompt = _t5_question(record, task) if shape == "encoder-decoder" else _plain_question(record, task)
    return answered(record.id, prompt, goal(record, task), lead=_lead(shape))


def _t5_question(record: Question, task: Task) -> list[Segment]:
    words = wording(task)
    prompt = [scaffold(words.question.lower() + words.colon), content(record.question)]
    if task.letters:
        prompt += [scaffold(f" {words.choices.lower()}{words.colon.rstrip()}"), *lettered(record, task, " ")]
    if record.context:
        prompt += [scaffold(f" {words.context.lower()}{words.colon}"), content(record.context)]
    return prompt


def _plain_question(record: Question, task: Task) -> list[Segment]:
    context = [content(record.context), scaffold("\n")] if record.context else []
    return [*context, content(record.question), *lettered(record, task), scaffold(ARROW)]


def pair(record: Record, task: Task, shape: Shape) -> Example:
    """Put the target behind the source; on a decoder the order to translate stands before it, if it is one."""
    record = expect(record, Pair)
    words = wording(task)
    # On a decoder only a translation has an order before it: without one the arrow alone says what to do.
    is_t5 = shape == "encoder-decoder"
    order = pair_instruction(record, task) if is_t5 else translation(record, task, words.translate)
    prefix = order.rstrip(".。 ") + words.colon if order else ""
    prompt = [scaffold(prefix), content(record.source), scaffold("" if is_t5 else ARROW)]
    return answered(record.id, prompt, goal(record, task), lead=_lead(shape))


def plain(record: Record, _task: Task, _shape: Shape) -> Example:
    """Give the first half of the words and learn the second."""
    record = expect(record, Plain)
    spans = word_spans(record.text)
    if len(spans) < 2:
        raise DataError(
            "The text has a single word, so there is no first half to go on from.",
            "Take the record out, or take the format completion.",
            at=record.origin,
        )
    middle = spans[len(spans) // 2 - 1][1]
    second = record.text[middle:]
    prompt = [content(record.text[:middle], cut="start")]
    return answered(record.id, prompt, Goal(text=second, references=(second,)), lead="")


def conversation(record: Record, task: Task, shape: Shape) -> Example:
    """Give what was said before and learn the last answer."""
    record = expect(record, Conversation)
    refuse_templated(record)
    before, last = last_answer(record)
    said = [content(before[0].content, cut="start")] if len(before) == 1 else history(before, task)
    arrow = "" if shape == "encoder-decoder" else ARROW
    return reply(record.id, [*said, scaffold(arrow)], last, lead=_lead(shape))


def _lead(shape: Shape) -> str:
    return "" if shape == "encoder-decoder" else " "


FORMAT = Format(
    name="seq2seq",
    summary="Text in, text out: the label, answer or target is written behind the input, with a short prefix or arrow.",
    formula="L = -sum_t log p(y_t | x, y_<t), over the target and its stop token",
    wins="The output is a text of its own: translation, summaries, corrections.",
    loses="Few labelled records: neither the task nor the labels are described.",
    source="Sutskever et al. 2014, section 2; Raffel et al. 2020 (T5), section 2.4",
    adds=("label names",),
    cells={
        "labelled": Cell(labelled, WRITES),
        "question": Cell(question, WRITES),
        "pair": Cell(pair, WRITES),
        "conversation": Cell(conversation, WRITES),
        "plain": Cell(plain, WRITES),
        "preference": PREFERENCE,
    },
)
