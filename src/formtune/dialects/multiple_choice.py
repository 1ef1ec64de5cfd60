"""Questions with choices: CommonsenseQA and ARC, lists of choices, columns A to E, and yes/no questions (BoolQ).

An answer that is a whole number counts the choices from 0, as the data sets of the field have it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

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
    if answer:
        _refuse_counting_from_one(rows, answer)
    if fitting * 2 > len(table):
        return Evidence(0.95 * fitting / len(table), f"choices beside the question in {question!r}", found)
    if answer and _are_truths([value[answer] for value in table if value.get(answer) not in (None, "")]):
        return Evidence(0.95, f"question in {question!r}, yes or no in {answer!r}", found)
    return None


def read(row: Row, columns: Columns) -> Iterator[Record]:
    """Read the question, the choices and the right one; none means: to be predicted."""
    value = as_object(row)
    name, context_name, answer_name = columns.question or "question", columns.context, columns.answer
    choices, labels, used = _choices(value, name)
    context = (text_in(value, context_name) or None) if context_name else None
    answer = value.get(answer_name) if answer_name else None
    yield Question(
        question=_question(value, name),
        context=context,
        choices=choices,
        answers=_answer(answer, choices, labels),
        group=context_group(context),
        origin=row.origin,
        extra=rest({**_inside(value, name), **value}, {name, context_name or "", answer_name or "", *used}),
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


def _refuse_counting_from_one(rows: Sequence[Row], answer: str) -> None:
    """Refuse data in which an answer is the number of choices: read from 0, all the others would be wrong in silence."""
    for row in rows:
        value = row.value if isinstance(row.value, dict) else {}
        number, column = value.get(answer), find(list(value), _CHOICES)
        listed = value.get(column or "")
        if isinstance(number, int) and isinstance(listed, list) and number == len(listed) > 1:
            raise DataError(
                "The answers count the choices from 1.", "Count from 0, or give the right choice itself.", at=row.origin
            )


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


def _choices(value: Object, name: str) -> tuple[tuple[str, ...], tuple[str, ...], list[str]]:
    """Find the choices, their labels, and the columns that held them."""
    inner = value.get(name)
    if isinstance(inner, dict):
        return (*_labelled(inner.get("choices")), ["choices"])
    column = find(list(value), _CHOICES)
    if column:
        return (*_labelled(value[column]), [column])
    letters = _lettered(value)
    if letters:
        return tuple(filled_in(value, letter) for letter in letters), tuple(map(str.upper, letters)), letters
    return _YES_NO, _YES_NO, []


def _labelled(found: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give the texts of choices and their labels; letters where they have none."""
    if isinstance(found, dict):
        texts, labels = found.get("text") or [], found.get("label") or []
    elif isinstance(found, list) and found and isinstance(found[0], dict):
        texts, labels = [part.get("text") for part in found], [part.get("label") for part in found]
    else:
        texts, labels = found if isinstance(found, list) else [], []
    if len(texts) < 2 or any(not str(text or "").strip() for text in texts):
        raise RowFault("fewer than two choices, or an empty one")
    named = len(labels) == len(texts) and None not in labels
    return tuple(map(str, texts)), tuple(map(str, labels)) if named else tuple(_LETTERS[: len(texts)])


def _lettered(value: Object) -> list[str]:
    """List the columns that are called A, B, C and so on without a gap, and are filled."""
    names = {name.upper(): name for name in value if len(name) == 1 and value[name] not in (None, "")}
    found: list[str] = []
    for letter in _LETTERS:
        if letter not in names:
            break
        found.append(names[letter])
    return found


def _answer(answer: object, choices: Sequence[str], labels: Sequence[str]) -> tuple[str, ...]:
    """Find the right choice: a label, the choice's own text, or its place."""
    text = "" if answer is None else str(answer).strip()
    if not text:
        return ()
    if tuple(choices) == _YES_NO and text.casefold() in _TRUTH:
        return (_TRUTH[text.casefold()],)
    upper = [label.upper() for label in labels]
    letter = text.upper().strip("().")
    if letter in upper:
        return (choices[upper.index(letter)],)
    if isinstance(answer, str) and text in choices:
        return (text,)
    if text.isdecimal() and int(text) < len(choices):
        return (choices[int(text)],)
    raise RowFault("an answer that is none of the choices", repr(answer))
