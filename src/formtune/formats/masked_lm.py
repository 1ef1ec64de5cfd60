"""Masked language modeling: the answer is a blank in the text.

**What it is.** With labels it is a cloze whose blank a label word fills (``A fine film. It was [mask].``). An
encoder fills the mask slot where it stands. A decoder, which reads from the left only, gets the same cloze with the
blank at the end and goes on with the word. An encoder-decoder reads the cloze up to the blank and writes the word:
T5's sentinel would ask for the same token in the same place, but is no token of BART or of a plain text, so we leave
it away. Without labels (plain text) an encoder learns tokens masked at random, anew each epoch (BERT's 80/10/10), an
encoder-decoder learns the spans cut out of the text (T5), and a decoder learns to fill in: one span of words is
blanked, about a seventh of the text, and asked for after it. Which span is fixed by the record's id.

**Loss.** Encoder: L(x, w) = -sum_{i in M} log p(w_i | x without M), over the masked places M. Decoder and
encoder-decoder: L = -sum_t log p(w_t | cloze, w_<t), over the word or span and its stop token.

**Wins** with few labelled records and a model pretrained on masks: the head is the pretrained one, and the label
words carry their meaning. **Loses** where labels are no words, and on encoders without a masked-LM head (MiniLM
ships none: its transform starts from nothing).

**Source.** Devlin et al. 2019 (BERT), section 3.1; Schick and Schütze 2021 (PET), section 3; Raffel et al. 2020
(T5), section 3.3.4; Donahue et al. 2020, section 3, whose several blanks we make one.
"""

import hashlib

from formtune.errors import DataError
from formtune.examples import Cell, Example, Format, Segment, Shape, Task
from formtune.formats.layout import (
    ALL,
    PREFERENCE,
    Goal,
    answered,
    choices,
    content,
    expect,
    goal,
    joined,
    lead,
    raw_inputs,
    scaffold,
    separator,
    word_spans,
)
from formtune.formats.wording import blank, wording
from formtune.records import Labelled, Plain, Question, Record

BLANK_SHARE = 0.15  # of the words of a text, as in Donahue et al. 2020, section 4 (and BERT)


def labelled(record: Record, task: Task, shape: Shape) -> Example:
    """Put a cloze behind the text; the label word fills it."""
    record = expect(record, Labelled)
    return _cloze(record.id, raw_inputs(record, separator(shape)), goal(record, task), task=task, shape=shape)


def question(record: Record, task: Task, shape: Shape) -> Example:
    """Put a blank behind the question; the choice, or its letter, fills it."""
    record = expect(record, Question)
    context = [content(record.context), separator(shape)] if record.context else []
    asked = [*context, content(record.question), *choices(record, task, "\n")]
    return _cloze(record.id, asked, goal(record, task), task=task, shape=shape)


def _cloze(record_id: str, asked: list[Segment], goal: Goal, *, task: Task, shape: Shape) -> Example:
    before, after = blank(task)
    prompt = [*asked, scaffold(before)]
    if shape != "encoder":
        return answered(record_id, prompt, goal, lead=lead(task, shape))
    space = lead(task, shape)
    # An open slot shows where the blank is and asks for nothing; it must not tell how long the word is.
    filling, weight = ("", 0.0) if goal.text is None else (space + goal.text, 1.0)
    slot = Segment(filling, "target", weight=weight, control="mask")
    return Example(
        id=record_id,
        output="mask",
        segments=(*joined(prompt), slot, scaffold(after)),
        candidates=tuple(space + word for word in goal.words),
        gold=goal.gold,
    )


def plain(record: Record, task: Task, shape: Shape) -> Example:
    """Blank a part of the text and learn it: at random on encoders, one span at the end on decoders."""
    record = expect(record, Plain)
    if shape == "encoder":
        return Example(id=record.id, output="mask", segments=(content(record.text),), corrupt="tokens")
    if shape == "encoder-decoder":
        return Example(id=record.id, output="text", segments=(content(record.text),), corrupt="spans")
    start, end = _blanked(record)
    words = wording(task)
    prompt = [
        content(record.text[:start], cut="start"),
        scaffold(words.blank),
        content(record.text[end:]),
        scaffold("\n" + words.fill_blank),
    ]
    missing = record.text[start:end]
    return answered(record.id, prompt, Goal(text=missing, references=(missing,)), lead=lead(task, shape))


def _blanked(record: Plain) -> tuple[int, int]:
    """Choose the characters of one span of whole words, the same for a record whenever it is presented.

    Raises:
        DataError: the text has a single word.
    """
    spans = word_spans(record.text)
    if len(spans) < 2:
        raise DataError(
            "The text has a single word, so nothing would be left around a blank.",
            "Take the record out, or take the format completion.",
            at=record.origin,
        )
    n_blanked = max(1, round(BLANK_SHARE * len(spans)))
    chance = int.from_bytes(hashlib.sha256(record.id.encode()).digest()[:8])
    first = chance % (len(spans) - n_blanked + 1)
    return spans[first][0], spans[first + n_blanked - 1][1]


FREE = "The questions have free answers, and a blank can only be filled from a list of words that is the same for all records."

FORMAT = Format(
    name="masked_lm",
    summary="A blank in the text, filled by a label word; on plain text, masked words to be restored.",
    formula="L = -sum_{i in M} log p(w_i | x without M), over the masked places M",
    wins="Few labelled records and a model pretrained on masks: its head and the label words' meaning are used.",
    loses="Labels that are no words, and encoders that come without a masked-LM head.",
    source="Devlin et al. 2019 (BERT), section 3.1; Schick and Schütze 2021 (PET), section 3; "
    "Raffel et al. 2020 (T5), section 3.3.4; Donahue et al. 2020, section 3",
    adds=("label names", "task description"),
    cells={
        "labelled": Cell(labelled, ALL),
        "question": Cell(question, ALL, free=FREE),
        "pair": "The target is a text of its own, too long for a blank.",
        "conversation": "The answer is a text of its own, too long for a blank.",
        "plain": Cell(plain, ALL),
        "preference": PREFERENCE,
    },
)
