"""Questions with choices: CommonsenseQA and ARC, lists of choices, columns A to E, and yes/no questions (BoolQ).

An answer that is a whole number, and neither a choice's label nor its text, counts the choices from 0, as the data
sets of the field have it. Data that count from 1 are refused: read from 0, they would be wrong in silence.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from formtune.dialects.columns import (
    Columns,
    Evidence,
    Object,
    RowFault,
    as_object,
    filled_in,
    find,
    names_of,
    objects,
    rest,
    settle_one,
    text_in,
    with_rest,
)
from formtune.dialects.questions import CONTEXTS, QUESTIONS, context_group
from formtune.errors import DataError
from formtune.records import Question, Record
from formtune.sources import Row, normalize

NAME = "multiple-choice"
SUMMARY = "Questions with choices (CommonsenseQA, lists of choices, columns A to E) and yes/no questions (BoolQ)."
NEEDS = "a question (--question) with 'choices' or columns A, B, C ..., and an answer (--answer)"
ROLES = frozenset({"question", "context", "answer", "label"})

_CHOICES = ("choices", "options", "candidates", "endings", "选项")
_ANSWERS = (
    *("answer", "answerkey", "answer_key", "label", "gold", "correct_answer", "answer_idx", "correct", "target"),
    "答案",
)
_LETTERS = "ABCDEFGHIJ"
_YES_NO = ("yes", "no")
_TRUTH = {"true": "yes", "false": "no", "yes": "yes", "no": "no"}
NAMES = frozenset({*QUESTIONS, *_CHOICES, *_ANSWERS, "stem"})


@dataclass(frozen=True, slots=True)
class _Choices:
    """The choices' texts, their labels, and the columns that held them (none where yes and no are understood)."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    columns: tuple[str, ...] = ()


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for choices in one of the layouts, or for questions that are answered by yes and no alone."""
    table = objects(rows)
    names = names_of(table)
    question = settle_one(columns, "question", names, known=(*QUESTIONS, "stem"))
    answer = settle_one(columns, "label" if columns.label else "answer", names, known=_ANSWERS)
    context = settle_one(columns, "context", names, known=CONTEXTS)
    if question is None:
        return None
    found = replace(columns, question=question, answer=answer, context=context)
    fitting = sum(_has_choices(value, question) for value in table)
    if fitting * 2 > len(table):
        counted = _how_answers_count(rows, question, answer) if answer else ""
        return Evidence(0.95 * fitting / len(table), f"choices beside the question in {question!r}{counted}", found)
    if answer and _are_truths([value[answer] for value in table if value.get(answer) not in (None, "")]):
        return Evidence(0.95, f"question in {question!r}, yes or no in {answer!r}", found)
    return None


def read(row: Row, columns: Columns) -> Iterator[Record]:
    """Read the question, the choices and the right one; none means: to be predicted."""
    value = as_object(row)
    name, context_name, answer_name = columns.question or "question", columns.context, columns.answer
    choices = _choices(value, name)
    context = (text_in(value, context_name) or None) if context_name else None
    yield Question(
        question=_question(value, name),
        context=context,
        choices=choices.texts,
        answers=_answer(value, answer_name, choices),
        group=context_group(context),
        origin=row.origin,
        extra=rest({**_inside(value, name), **value}, {name, context_name or "", answer_name or "", *choices.columns}),
    )


def write(record: Record) -> Object | None:
    """Write ``question``, ``context``, ``choices`` as a list, and ``answer`` as a place in it, counted from 0."""
    if not isinstance(record, Question) or not record.choices or record.starts or len(record.answers) > 1:
        return None
    if not set(record.answers) <= set(record.choices):
        return None
    context = {} if record.context is None else {"context": record.context}
    answer = {"answer": record.choices.index(record.answers[0])} if record.answers else {}
    row: Object = {"question": record.question, **context, "choices": list(record.choices), **answer}
    return with_rest(row, record.extra)


def _has_choices(value: Object, question: str) -> bool:
    inner = value.get(question)
    if isinstance(inner, dict):
        return "stem" in inner and "choices" in inner
    listed = value.get(find(list(value), _CHOICES) or "")
    return isinstance(listed, (list, dict)) or (
        len(_lettered(value)) >= 2 and normalize(question) in {*QUESTIONS, "stem"}
    )


def _how_answers_count(rows: Sequence[Row], question: str, answer: str) -> str:
    """Say that answers were read as places from 0, where none of them shows it; empty where there is no doubt.

    Raises:
        DataError: when an answer is the number of its choices, and none is 0.
    """
    found = [(row, *counted) for row in rows if (counted := _counted(row.value, question, answer))]
    if not found or any(place == 0 for _, place, _ in found):
        return ""
    for row, place, n_choices in found:
        if place == n_choices:
            raise DataError(
                f"The answers count the choices from 1: this one is {place} of {n_choices}, and none is 0.",
                "Count from 0, one less in every row, or give the letter or the text of the right choice.",
                at=row.origin,
            )
    return "; answers count the choices from 0 (none is 0, and none the number of the choices, so nothing proves it)"


def _counted(value: Object | str, question: str, answer: str) -> tuple[int, int] | None:
    """Give a row's answer as a place and the number of its choices, where the answer is read as a place."""
    if not isinstance(value, dict):
        return None
    try:
        choices = _choices(value, question)
        text = text_in(value, answer).strip()
    except RowFault:
        return None
    place = _place(text, choices) if _named(text, value.get(answer), choices) is None else None
    return None if place is None else (place, len(choices.texts))


def _are_truths(answers: Sequence[object]) -> bool:
    return bool(answers) and all(str(answer).strip().casefold() in _TRUTH for answer in answers)


def _question(value: Object, name: str) -> str:
    inner = value.get(name)
    return filled_in(inner, "stem") if isinstance(inner, dict) else filled_in(value, name)


def _inside(value: Object, name: str) -> Object:
    """Give what stands beside stem and choices inside the question."""
    inner = value.get(name)
    return (
        {key: part for key, part in inner.items() if key not in ("stem", "choices")} if isinstance(inner, dict) else {}
    )


def _choices(value: Object, name: str) -> _Choices:
    """Find the choices, their labels, and the columns that held them."""
    inner = value.get(name)
    if isinstance(inner, dict):
        return _Choices(*_labelled(inner.get("choices")), ("choices",))
    column = find(list(value), _CHOICES)
    if column:
        return _Choices(*_labelled(value[column]), (column,))
    letters = tuple(_lettered(value))
    if letters:
        return _Choices(tuple(filled_in(value, letter) for letter in letters), tuple(map(str.upper, letters)), letters)
    return _Choices(_YES_NO, _YES_NO)


def _labelled(found: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give the texts of choices and their labels; letters where they have none."""
    match found:
        case dict():
            texts, labels = _listed(found.get("text")), _listed(found.get("label"))
        case list() if any(isinstance(part, dict) for part in found):
            parts = [part if isinstance(part, dict) else {} for part in found]
            texts, labels = [part.get("text") for part in parts], [part.get("label") for part in parts]
        case _:
            texts, labels = _listed(found), []
    named = len(labels) == len(texts) and None not in labels
    filled = tuple(_short(text) for text in texts)
    if len(filled) < 2 or not all(text.strip() for text in filled):
        raise RowFault("fewer than two choices, or an empty one")
    return filled, tuple(map(_short, labels)) if named else tuple(_LETTERS[: len(texts)])


def _listed(found: object) -> list[object]:
    return found if isinstance(found, list) else []


def _short(found: object) -> str:
    """Give a choice or its label as text; one that is a list or an object is a fault."""
    if isinstance(found, (list, dict)):
        raise RowFault("a choice that is not a text", type(found).__name__)
    return text_in({"choice": found}, "choice")


def _lettered(value: Object) -> list[str]:
    """List the columns that are called A, B, C and so on without a gap, and are filled."""
    names = {name.upper(): name for name in value if len(name) == 1 and value[name] not in (None, "")}
    found: list[str] = []
    for letter in _LETTERS:
        if letter not in names:
            break
        found.append(names[letter])
    return found


def _answer(value: Object, name: str | None, choices: _Choices) -> tuple[str, ...]:
    """Find the right choice: a label, the choice's own text, or its place."""
    text = text_in(value, name).strip() if name else ""
    if not name or not text:
        return ()
    named, place = _named(text, value[name], choices), _place(text, choices)
    if named is not None:
        return (named,)
    if place is None or place >= len(choices.texts):
        raise RowFault("an answer that is none of the choices", repr(value[name]), path=name, found=value[name])
    return (choices.texts[place],)


def _named(text: str, answer: object, choices: _Choices) -> str | None:
    """Find the choice whose label, or whose own text, an answer is; ``answer`` is what the row holds."""
    if choices.texts == _YES_NO and text.casefold() in _TRUTH:
        return _TRUTH[text.casefold()]
    upper = [label.upper() for label in choices.labels]
    letter = text.upper().strip("().")
    if letter in upper:
        return choices.texts[upper.index(letter)]
    return text if isinstance(answer, str) and text in choices.texts else None


def _place(text: str, choices: _Choices) -> int | None:
    """Give the place that an answer counts; there is none where no row lists the choices."""
    return int(text) if text.isdecimal() and choices.columns else None
