"""Sentences with a blank that one of two options fills, as WinoGrande lays them out.

Read too: the sentence cut in two at its blank, once with each option in it (``context_options`` and ``continuation``), in
which language models are asked for the likelier one. Sakaguchi et al. 2020.
"""

from collections.abc import Iterator, Sequence
from itertools import takewhile

from formtune.dialects.columns import (
    Columns,
    Evidence,
    Object,
    RowFault,
    as_object,
    filled_in,
    rest,
    text_in,
    with_rest,
)
from formtune.dialects.layouts import seen
from formtune.records import Question, Record
from formtune.sources import Row

NAME = "winogrande"
SUMMARY = "A sentence with a blank '_' and two options, of which one fills it (WinoGrande)."
NEEDS = "columns 'sentence', 'option1' and 'option2', or 'context_options' and 'continuation'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"sentence", "option1", "option2", "context_options", "continuation", "gold"})

_OPTIONS = ("option1", "option2")
_BLANK = "_"


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for a sentence with two options, or for two beginnings of one sentence."""
    found = seen(rows, columns, _fits, why="'sentence' with 'option1' and 'option2'")
    return found or seen(rows, columns, _is_cut, why="two 'context_options' with a 'continuation'")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the sentence with its blank as the question, and the options as its choices."""
    value = as_object(row)
    is_cut = "context_options" in value
    sentence, choices = _put_together(value) if is_cut else (filled_in(value, "sentence"), _options(value))
    answer, labels = ("gold", ("0", "1")) if is_cut else ("answer", ("1", "2"))
    label = text_in(value, answer).strip()
    if label and label not in labels:
        raise RowFault("an answer that is none of the choices", repr(label), path=answer, found=value[answer])
    used = {"context_options", "continuation"} if is_cut else {"sentence", *_OPTIONS}
    yield Question(
        question=sentence,
        choices=choices,
        answers=(choices[labels.index(label)],) if label else (),
        origin=row.origin,
        extra=rest(value, {answer, *used}),
    )


def write(record: Record) -> Object | None:
    """Write sentence, options and answer; None where there are not two choices, or there is not one blank."""
    if not isinstance(record, Question) or len(record.choices) != 2 or record.context is not None or record.starts:
        return None
    if len(record.answers) > 1 or not set(record.answers) <= set(record.choices) or record.question.count(_BLANK) != 1:
        return None
    row: Object = {"sentence": record.question, **dict(zip(_OPTIONS, record.choices, strict=True))}
    answer = str(record.choices.index(record.answers[0]) + 1) if record.answers else ""
    return with_rest({**row, "answer": answer}, record.extra, ("context_options",))


def _fits(value: Object) -> bool:
    texts = [value.get(name) for name in ("sentence", *_OPTIONS)]
    return all(isinstance(text, str) for text in texts) and _BLANK in str(texts[0])


def _is_cut(value: Object) -> bool:
    return isinstance(value.get("context_options"), list) and isinstance(value.get("continuation"), str)


def _options(value: Object) -> tuple[str, ...]:
    return tuple(filled_in(value, name) for name in _OPTIONS)


def _put_together(value: Object) -> tuple[str, tuple[str, ...]]:
    """Give the sentence with a blank, and what each of its two beginnings has in its place.

    Raises:
        RowFault: when there are not two beginnings that differ at their ends.
    """
    found = value.get("context_options")
    texts = [text for text in found if isinstance(text, str)] if isinstance(found, list) else []
    n_same = sum(1 for _ in takewhile(lambda both: both[0] == both[-1], zip(*texts, strict=False)))
    start = texts[0].rfind(" ", 0, n_same) + 1 if texts else 0  # where the word begins in which they differ
    options = tuple(text[start:] for text in texts)
    if len(texts) != 2 or found != texts or not all(option.strip() for option in options):
        raise RowFault("fewer than two choices, or an empty one", path="context_options", found=found)
    after = filled_in(value, "continuation")
    gap = " " if after[0].isalnum() else ""
    return f"{texts[0][:start]}{_BLANK}{gap}{after}", options
