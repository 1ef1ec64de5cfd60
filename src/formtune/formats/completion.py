"""Completion: text that goes on, as in pretraining.

**What it is.** The record's text and a one-word cue, and the model goes on: ``A fine film.`` / ``Label: positive``.
Plain text is learned whole, every token of it: what domain adaptation does.

**Loss.** L(x, y) = -sum_t log p(y_t | x, y_<t), over what follows the cue and its stop token; on plain text
L(x) = -sum_t log p(x_t | x_<t), over all tokens.

**Wins** on base models, and with plain text: it is the task they were pretrained on, and costs the fewest tokens.
**Loses** with few labelled records against formats that say what is asked. A plain text longer than the model is
left out, not cut: split it first.

**Source.** Radford et al. 2019 (GPT-2), section 2; Gururangan et al. 2020, section 3, for plain text.
"""

from formtune.examples import Cell, Example, Format, Shape, Task
from formtune.formats.dialogue import history, last_answer, refuse_templated, reply, speaker
from formtune.formats.layout import (
    NO_DECODER,
    PREFERENCE,
    Goal,
    answered,
    content,
    expect,
    goal,
    lead,
    lettered,
    raw_inputs,
    scaffold,
)
from formtune.formats.wording import language_name, wording
from formtune.records import Conversation, Labelled, Pair, Plain, Question, Record

DECODER: dict[Shape, str | None] = {
    "encoder": NO_DECODER,
    "decoder": None,
    "encoder-decoder": "An encoder-decoder answers a text and does not go on with it; seq2seq is its like.",
}


def labelled(record: Record, task: Task, shape: Shape) -> Example:
    """Put a cue behind the text and learn the label word."""
    record = expect(record, Labelled)
    words = wording(task)
    cue = scaffold(f"\n{words.label}{words.colon.rstrip()}")
    prompt = [*raw_inputs(record, scaffold("\n")), cue]
    return answered(record.id, prompt, goal(record, task), lead=lead(task, shape))


def question(record: Record, task: Task, shape: Shape) -> Example:
    """Put a cue behind context and question and learn the answer; fixed choices are not listed."""
    record = expect(record, Question)
    words = wording(task)
    context = [content(record.context), scaffold("\n")] if record.context else []
    cue = scaffold(f"\n{words.answer}{words.colon.rstrip()}")
    prompt = [*context, content(record.question), *lettered(record, task), cue]
    return answered(record.id, prompt, goal(record, task), lead=lead(task, shape))


def pair(record: Record, task: Task, shape: Shape) -> Example:
    """Name source and target, by their languages where those are known, and learn the target."""
    record = expect(record, Pair)
    words = wording(task)
    source, target = words.source, words.target
    if record.source_language and record.target_language:
        source, target = (language_name(c, task) for c in (record.source_language, record.target_language))
    cue = scaffold(f"\n{target}{words.colon.rstrip()}")
    prompt = [scaffold(source + words.colon), content(record.source), cue]
    return answered(record.id, prompt, goal(record, task), lead=lead(task, shape))


def plain(record: Record, _task: Task, _shape: Shape) -> Example:
    """Learn the whole text."""
    record = expect(record, Plain)
    return answered(record.id, [], Goal(text=record.text, references=(record.text,)), lead="")


def conversation(record: Record, task: Task, shape: Shape) -> Example:
    """Write the conversation as a script and learn the last answer."""
    record = expect(record, Conversation)
    refuse_templated(record)
    before, last = last_answer(record)
    words = wording(task)
    cue = scaffold(f"\n{speaker('assistant', task)}{words.colon.rstrip()}")
    return reply(record.id, [*history(before, task), cue], last, lead=lead(task, shape))


FORMAT = Format(
    name="completion",
    summary="Text that goes on after a one-word cue; plain text is learned whole.",
    formula="L = -sum_t log p(y_t | x, y_<t), over what follows the cue and its stop token",
    wins="Base models and plain text: the task of pretraining, at the fewest tokens.",
    loses="Few labelled records: neither the task nor the labels are described.",
    source="Radford et al. 2019 (GPT-2), section 2; Gururangan et al. 2020, section 3",
    adds=("label names",),
    cells={
        "labelled": Cell(labelled, DECODER),
        "question": Cell(question, DECODER),
        "pair": Cell(pair, DECODER),
        "conversation": Cell(conversation, DECODER),
        "plain": Cell(plain, DECODER),
        "preference": PREFERENCE,
    },
)
