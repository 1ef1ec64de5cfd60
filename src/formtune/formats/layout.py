"""The few pieces that every presentation is laid out from.

A format lays out what is asked (the prompt); :func:`answered` puts behind it what is to be produced and the stop
token, so that one place decides what is learned.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from formtune.errors import DataError
from formtune.examples import Example, Segment, Shape, Task
from formtune.formats.wording import field_name, wording
from formtune.records import AnyRecord, Conversation, Labelled, Origin, Pair, Question, Record, input_text, kind_of

SEPARATOR = Segment("", "scaffold", control="separator")
STOP = Segment("", "target", weight=1.0, control="stop")

NO_DECODER = "An encoder reads a text and cannot write one."
PREFERENCE = (
    "Preference records hold two answers of which one is better. formtune reads, converts and checks them, "
    "but its training loop learns right answers, not preferences."
)

ALL: dict[Shape, str | None] = {"encoder": None, "decoder": None, "encoder-decoder": None}
WRITES: dict[Shape, str | None] = {"encoder": NO_DECODER, "decoder": None, "encoder-decoder": None}

# A word is what blanks surround; a Chinese character is a word of its own.
WORD = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]|[^\s\u3400-\u9fff\uf900-\ufaff]+")


@dataclass(frozen=True, slots=True)
class Goal:
    """What a record wants produced.

    Attributes:
        text: what is learned; None where the record is yet to be answered.
        words: the label words to choose from, in the order of the classes; empty where the answer is free.
        gold: index of the right one.
        references: acceptable free answers.
    """

    text: str | None
    words: tuple[str, ...] = ()
    gold: int | None = None
    references: tuple[str, ...] = ()


def expect(record: Record, kind: type[AnyRecord]) -> AnyRecord:
    """Take a record of the kind that a presentation is for.

    Raises:
        DataError: it is of another kind, or it has no text.
    """
    if not isinstance(record, kind):
        raise DataError(
            f"The record is of the kind {kind_of(record)}, and the training records are of another.",
            "Give files of one kind.",
            at=record.origin,
        )
    # A conversation may begin with its answer; what it needs is checked where it is parted.
    if not isinstance(record, Conversation) and not input_text(record).strip():
        raise DataError("The record has no text.", "Take it out.", at=record.origin)
    return record


def scaffold(text: str) -> Segment:
    """Make a run of the format's own wording."""
    return Segment(text, "scaffold")


def content(text: str, cut: Literal["end", "start"] = "end") -> Segment:
    """Make a run of the record's own text."""
    return Segment(text, "content", cut=cut)


def separator(shape: Shape) -> Segment:
    """Keep two texts apart: by the model's separator, or by a line break where a model has none."""
    return scaffold("\n") if shape == "decoder" else SEPARATOR


def joined(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """Drop empty runs and make neighbors of one sort one run, so that words are not torn between two."""
    out: list[Segment] = []
    for segment in segments:
        if segment.control is None and not segment.text:
            continue
        if out and _one_sort(out[-1], segment):
            before = out.pop()
            segment = Segment(before.text + segment.text, before.part, before.weight, cut=before.cut)
        out.append(segment)
    return tuple(out)


def _one_sort(a: Segment, b: Segment) -> bool:
    bare = a.control is None and b.control is None
    return bare and (a.part, a.weight, a.cut) == (b.part, b.weight, b.cut)


def lead(task: Task, shape: Shape) -> str:
    """Say what stands between a prompt and its answer.

    A blank belongs to the answer, as tokenizers take it; a Chinese answer has none, nor has the first word that an
    encoder-decoder writes.
    """
    return "" if shape == "encoder-decoder" else wording(task).space


def answered(record_id: str, prompt: Iterable[Segment], goal: Goal, *, lead: str) -> Example:
    """Put the answer and the stop token behind a prompt: both are learned, and nothing else is.

    Args:
        record_id: the record's id.
        prompt: what is asked.
        goal: what is to be produced; without a text the example ends with its prompt.
        lead: the blank, if any, that comes with the answer.
    """
    answer: tuple[Segment, ...] = ()
    if goal.text is not None:
        answer = (Segment(lead + goal.text, "target", weight=1.0), STOP)
    return Example(
        id=record_id,
        output="words" if goal.words else "text",
        segments=(*joined(prompt), *answer),
        candidates=tuple(lead + word for word in goal.words),
        gold=goal.gold,
        references=goal.references,
    )


def goal(record: Labelled | Question | Pair, task: Task) -> Goal:
    """Find what a record wants produced.

    Raises:
        DataError: its label did not occur in training, it has several, or its answer is not one of its choices.
    """
    match record:
        case Labelled():
            return _chosen(gold_label(record, task), task.words)
        case Pair():
            return _free(record.targets)
    if task.labels:
        return _chosen(gold_choice(record, task), choice_words(record, task))
    if not record.answerable:
        return _free((wording(task).unanswerable,))
    return _free(record.answers)


def _chosen(gold: int | None, words: tuple[str, ...]) -> Goal:
    return Goal(text=None if gold is None else words[gold], words=words, gold=gold)


def _free(references: tuple[str, ...]) -> Goal:
    return Goal(text=references[0] if references else None, references=references)


def gold_label(record: Labelled, task: Task) -> int | None:
    """Find the class of a labelled record; None where it is to be predicted."""
    if not record.labels:
        return None
    if len(record.labels) > 1:
        raise DataError(
            "The record has several labels, and formats learn one.",
            f"Keep one of {', '.join(record.labels)}.",
            at=record.origin,
        )
    return _index(record.labels[0], task.labels, what="label", at=record.origin)


def gold_choice(record: Question, task: Task) -> int | None:
    """Find the class of a question with choices: the choice itself, or its place where choices differ by record."""
    if not record.answers:
        return None
    if not task.letters:
        return _index(record.answers[0], task.labels, what="answer", at=record.origin)
    answer = next((answer for answer in record.answers if answer in record.choices), None)
    if answer is None:
        raise DataError(
            "The answer is none of the choices.",
            f"Correct the answer {record.answers[0]!r} or the choices: {', '.join(record.choices)}.",
            at=record.origin,
        )
    if record.choices.count(answer) > 1:
        raise DataError("The right answer stands twice among the choices.", f"Keep {answer!r} once.", at=record.origin)
    return record.choices.index(answer)


# What is left out is counted by the problem, so that it says the cause and the remedy the values of the record.
def _index(label: str, labels: tuple[str, ...], *, what: str, at: Origin | None) -> int:
    if label in labels:
        return labels.index(label)
    known = ", ".join(labels[:20]) + (", ..." if len(labels) > 20 else "")
    raise DataError(
        f"The {what} did not occur in the training records.",
        f"Add training records with {label!r}, take the record out, or correct it to one of: {known}.",
        at=at,
    )


def choice_words(record: Question, task: Task) -> tuple[str, ...]:
    """List the words that a question can be answered with: the label words, or the letters of its own choices.

    Raises:
        DataError: the record has no choices, or more than any training record.
    """
    if not task.letters:
        return task.words
    n_choices, n_letters = len(record.choices), len(task.words)
    if not 1 < n_choices <= n_letters:
        raise DataError(
            f"The question has not 2 to {n_letters} choices as the training records have.",
            f"It has {n_choices}: correct them, or take the record out.",
            at=record.origin,
        )
    return task.words[:n_choices]


def raw_inputs(record: Labelled, between: Segment) -> list[Segment]:
    """Lay out the input texts as they are, with something between them."""
    texts = list(record.inputs.values())
    segments = [content(texts[0])] if texts else []
    for text in texts[1:]:
        segments += [between, content(text)]
    return segments


def named_inputs(record: Labelled, task: Task, between: str = "\n") -> list[Segment]:
    """Lay out one text as it is, and several each behind its name."""
    if len(record.inputs) < 2:
        return raw_inputs(record, scaffold(between))
    segments: list[Segment] = []
    for name, text in record.inputs.items():
        start = scaffold((between if segments else "") + field_name(name, task) + wording(task).colon)
        segments += [start, content(text)]
    return segments


def label_list(task: Task) -> Segment:
    """List the label words, as the choices of a question."""
    words = wording(task)
    return scaffold(f"{words.choices}{words.colon}{words.listing.join(task.words)}")


def choices(record: Question, task: Task, between: str = "\n") -> list[Segment]:
    """List what can be answered: the record's own choices behind letters, or the fixed ones on a line."""
    if not task.labels:
        return []
    if not task.letters:
        return [scaffold(between), label_list(task)]
    return lettered(record, task, between)


def lettered(record: Question, task: Task, between: str = "\n") -> list[Segment]:
    """List a record's own choices behind letters; nothing where the choices are the same for all records."""
    if not task.letters:
        return []
    segments: list[Segment] = []
    for letter, choice in zip(choice_words(record, task), record.choices, strict=True):
        segments += [scaffold(f"{between}{letter}. "), content(choice)]
    return segments


def flat_text(segments: Iterable[Segment]) -> str:
    """Write segments without controls as one text."""
    return "".join(segment.text for segment in joined(segments))


def word_spans(text: str) -> list[tuple[int, int]]:
    """List where the words of a text begin and end; each Chinese character counts as one.

    >>> word_spans("ab c")
    [(0, 2), (3, 4)]
    """
    return [match.span() for match in WORD.finditer(text)]
