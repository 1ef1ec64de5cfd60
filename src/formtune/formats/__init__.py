"""Formats: how a record becomes a learning problem, a module each.

A format has a cell for each kind of record, or the reason why that cell is empty; ``formtune formats`` prints them
all (:func:`matrix`). To add a format, write a module with a ``FORMAT`` and name it in :data:`FORMATS`; the
conformance tests in ``tests/test_every_format.py`` pick it up.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from formtune.errors import SettingError, unknown
from formtune.examples import SHAPES, Cell, Example, Format, Shape, Task
from formtune.formats import (
    chat,
    classification,
    completion,
    generative_qa,
    instruction,
    masked_lm,
    seq2seq,
)
from formtune.formats.custom import custom_format
from formtune.formats.marked import marked
from formtune.formats.samples import Sample, samples
from formtune.formats.tasks import infer_task, with_languages
from formtune.records import (
    KINDS,
    Conversation,
    Labelled,
    Message,
    Pair,
    Question,
    Record,
)

FORMATS: dict[str, Format] = {
    "seq2seq": seq2seq.FORMAT,
    "classification": classification.FORMAT,
    "generative_qa": generative_qa.FORMAT,
    "masked_lm": masked_lm.FORMAT,
    "instruction": instruction.FORMAT,
    "chat": chat.FORMAT,
    "completion": completion.FORMAT,
}


@dataclass(frozen=True, slots=True)
class Served:
    """A row of the matrix: one format over one sort of data.

    Attributes:
        format: its name.
        data: the sort of data, in words.
        kind: the kind of record.
        shapes: for each model shape None where it is served, else the reason why not.
    """

    format: str
    data: str
    kind: str
    shapes: Mapping[Shape, str | None]


def named(name: str) -> Format:
    """Find a format by its name.

    Raises:
        SettingError: there is none of that name.
    """
    if name not in FORMATS:
        raise unknown("format", name, FORMATS, at="--format")
    return FORMATS[name]


def cell(chosen: str | Format, asked: str | Task, shape: Shape) -> Cell:
    """Find how a format presents a kind of record to a shape of model.

    Args:
        chosen: a format or its name.
        asked: what the data set asks for or, where that is not known yet, only the kind of its records.
        shape: the shape of the model.

    Raises:
        SettingError: there is no such format, or it does not serve this; the reason is told.
    """
    kind = asked.kind if isinstance(asked, Task) else asked
    if kind not in KINDS or shape not in SHAPES:
        raise ValueError(f"There is no kind {kind!r} or no shape {shape!r}.")
    format_ = named(chosen) if isinstance(chosen, str) else chosen
    found = format_.cells[kind]
    reason = _why_not(format_, asked, shape)
    if reason is not None or isinstance(found, str):
        raise SettingError(f"{format_.name} is not for this: {reason}", _others(asked, shape), at="--format")
    return found


def _why_not(format_: Format, asked: str | Task, shape: Shape) -> str | None:
    found = format_.cells[asked.kind if isinstance(asked, Task) else asked]
    if isinstance(found, str):
        return found
    if isinstance(asked, Task) and not asked.labels and found.free is not None:
        return found.free
    return found.shapes[shape]


def _others(asked: str | Task, shape: Shape) -> str:
    names = [name for name, format_ in FORMATS.items() if _why_not(format_, asked, shape) is None]
    if not names:
        return "No format serves these records on such a model."
    return f"Formats for these records on {'a' if shape == 'decoder' else 'an'} {shape}: {', '.join(names)}."


def present(chosen: str | Format, record: Record, *, task: Task, shape: Shape) -> Example:
    """Put one record into one format.

    Args:
        chosen: a format or its name.
        record: a record of the task's kind; without an answer it gives the prompt alone.
        task: what the data set asks for (:func:`infer_task`).
        shape: the shape of the model.

    Raises:
        SettingError: the format does not serve such records or models.
        DataError: this record cannot be presented: it is of another kind than the task's, has no text, or an answer
            that did not occur in training.
    """
    return cell(chosen, task, shape).present(record, task, shape)


def unanswered(record: Record) -> Record:
    """Take a record's answer away, so that presenting it gives the prompt alone.

    A conversation keeps an empty assistant message as the place of its answer; one that ends with a question gets
    it. Plain text, which is its own answer, and preferences stay as they are.
    """
    match record:
        case Labelled():
            return msgspec.structs.replace(record, labels=())
        case Question():
            return msgspec.structs.replace(record, answers=(), starts=(), answerable=True)
        case Pair():
            return msgspec.structs.replace(record, targets=())
        case Conversation():
            asked = record.messages
            if asked and asked[-1].role == "assistant":
                asked = asked[:-1]
            return msgspec.structs.replace(record, messages=(*asked, Message("assistant", "")))
    return record


def matrix() -> list[Served]:
    """List what every format does with every sort of data on every shape of model."""
    return [
        Served(
            format=format_.name,
            data=sample.data,
            kind=sample.task.kind,
            shapes={shape: _why_not(format_, sample.task, shape) for shape in SHAPES},
        )
        for format_ in FORMATS.values()
        for sample in samples()
    ]


__all__ = [
    "FORMATS",
    "Sample",
    "Served",
    "cell",
    "custom_format",
    "infer_task",
    "marked",
    "matrix",
    "named",
    "present",
    "samples",
    "unanswered",
    "with_languages",
]
