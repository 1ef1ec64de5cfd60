"""Classification: the raw text goes in, a new head over the classes gives the answer.

**What it is.** The text as it stands, nothing around it; two texts are kept apart by the model's own separator (in a
decoder, which has none, by a line break). A linear layer, new and random, reads the model's pooled state.

**Loss.** L(x, c) = -log softmax(W h(x) + b)_c, where h is the pooled state and c the class.

**Wins** with many records, many classes and long texts: one pass gives every class, an answer outside the list is
impossible, and nothing but the record is computed. **Loses** with few records: the head starts from nothing and the
label names are not told (Le Scao and Rush 2021: a prompt is worth hundreds of records below about a thousand).

**Source.** Devlin et al. 2019 (BERT), section 4.1; Radford et al. 2018, sections 3.2 and 3.3, for decoders.
"""

from formtune.examples import Cell, Example, Format, Shape, Task
from formtune.formats.layout import (
    ALL,
    PREFERENCE,
    content,
    expect,
    gold_choice,
    gold_label,
    joined,
    lettered,
    raw_inputs,
    separator,
)
from formtune.records import Labelled, Question, Record


def labelled(record: Record, task: Task, shape: Shape) -> Example:
    """Give the raw text; the class is the label."""
    record = expect(record, Labelled)
    return Example(
        id=record.id,
        output="head",
        segments=joined(raw_inputs(record, separator(shape))),
        candidates=task.labels,
        gold=gold_label(record, task),
    )


def question(record: Record, task: Task, shape: Shape) -> Example:
    """Give context and question; the class is the choice, or its letter where choices differ by record."""
    record = expect(record, Question)
    context = [content(record.context), separator(shape)] if record.context else []
    return Example(
        id=record.id,
        output="head",
        segments=joined([*context, content(record.question), *lettered(record, task)]),
        candidates=task.labels,
        gold=gold_choice(record, task),
    )


FREE = "The questions have free answers, and a head can only choose among classes that are the same for all records."

FORMAT = Format(
    name="classification",
    summary="Raw text in, a class out: a new linear head over the model's pooled state.",
    formula="L = -log softmax(W h(x) + b)_c, for the class c",
    wins="Many records, many classes, long texts: one pass gives all classes, and no answer is invalid.",
    loses="Few records: the head starts from nothing and is not told what the labels mean.",
    source="Devlin et al. 2019 (BERT), section 4.1; Radford et al. 2018, sections 3.2 and 3.3",
    adds=(),
    cells={
        "labelled": Cell(labelled, ALL),
        "question": Cell(question, ALL, free=FREE),
        "pair": "The target is free text, and a head can only choose among a fixed list of classes.",
        "conversation": "The answer is free text, and a head can only choose among a fixed list of classes.",
        "plain": "Plain text has no label to choose.",
        "preference": PREFERENCE,
    },
)
