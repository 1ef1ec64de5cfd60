"""Question and answer in two columns, perhaps over a context: GSM8K and the like."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from formtune.dialects.columns import (
    Columns,
    Evidence,
    Object,
    as_object,
    filled_in,
    names_of,
    objects,
    rest,
    settle_one,
    share,
    text_in,
    with_rest,
)
from formtune.dialects.conversations import has_preferences
from formtune.dialects.questions import ANSWERS, CONTEXTS, QUESTIONS, context_group
from formtune.records import Question, Record
from formtune.sources import Row

NAME = "question-answer"
SUMMARY = "A table with a question and its answer (one or a list), perhaps with a context."
NEEDS = "a question column (--question) and an answer column (--answer)"
ROLES = frozenset({"question", "context", "answer"})
NAMES = frozenset({*QUESTIONS, *CONTEXTS, *ANSWERS, "unanswerable_question"})
_UNANSWERABLE = "unanswerable_question"  # of axolotl's context_qa.load_404


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Find a question column and an answer column; preferences are not for this dialect, unless the user says so."""
    table = objects(rows)
    names = names_of(table)
    question = settle_one(columns, "question", names, known=(*QUESTIONS, _UNANSWERABLE))
    answer = settle_one(columns, "answer", names, known=ANSWERS)
    context = settle_one(columns, "context", names, known=CONTEXTS)
    is_asked = answer or columns.question or _UNANSWERABLE in names
    if question is None or not is_asked or (not columns.question and has_preferences(names)):
        return None
    found = replace(columns, question=question, answer=answer, context=context)
    over = f", context in {context!r}" if context else ""
    answered = f"answer in {answer!r}" if answer else "no answer column"
    asked = share(table, [question]) + (share(table, [_UNANSWERABLE]) if question != _UNANSWERABLE else 0.0)
    return Evidence(0.8 * min(asked, 1.0), f"question in {question!r}, {answered}{over}", found)


def read(row: Row, columns: Columns) -> Iterator[Record]:
    """Read the question, its context and its answers; none means: to be predicted."""
    value = as_object(row)
    question, answer, context = columns.question or "question", columns.answer, columns.context
    is_open = not text_in(value, _UNANSWERABLE).strip()
    question, answer = (question, answer) if is_open else (_UNANSWERABLE, None)
    paragraph = (text_in(value, context) or None) if context else None
    yield Question(
        question=filled_in(value, question),
        context=paragraph,
        answers=_answers(value, answer) if answer else (),
        answerable=is_open,
        group=context_group(paragraph),
        origin=row.origin,
        extra=rest(value, {question, answer or "", context or ""}),
    )


def write(record: Record) -> Object | None:
    """Write ``question``, ``context`` and ``answer`` (a list where there is not exactly one).

    A question that its context does not answer has the name that axolotl gives it, and no answer.
    """
    if not isinstance(record, Question) or record.choices or record.starts:
        return None
    answer: object = record.answers[0] if len(record.answers) == 1 else list(record.answers)
    context = {} if record.context is None else {"context": record.context}
    if not record.answerable:
        return None if record.answers else with_rest({**context, _UNANSWERABLE: record.question}, record.extra)
    return with_rest({"question": record.question, **context, "answer": answer}, record.extra)


def _answers(value: Object, name: str) -> tuple[str, ...]:
    found = value.get(name)
    texts = [text_in({name: part}, name) for part in found] if isinstance(found, list) else [text_in(value, name)]
    return tuple(text for text in texts if text.strip())
