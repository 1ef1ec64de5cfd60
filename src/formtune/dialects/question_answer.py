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
NAMES = frozenset({*QUESTIONS, *CONTEXTS, *ANSWERS})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Find a question column and an answer column; preferences are not for this dialect, unless the user says so."""
    table = objects(rows)
    names = names_of(table)
    question = settle_one(columns, "question", names, known=QUESTIONS)
    answer = settle_one(columns, "answer", names, known=ANSWERS)
    context = settle_one(columns, "context", names, known=CONTEXTS)
    if question is None or not (answer or columns.question) or (not columns.question and has_preferences(names)):
        return None
    found = replace(columns, question=question, answer=answer, context=context)
    over = f", context in {context!r}" if context else ""
    answered = f"answer in {answer!r}" if answer else "no answer column"
    return Evidence(0.8 * share(table, [question]), f"question in {question!r}, {answered}{over}", found)


def read(row: Row, columns: Columns) -> Iterator[Record]:
    """Read the question, its context and its answers; none means: to be predicted."""
    value = as_object(row)
    question, answer, context = columns.question or "question", columns.answer, columns.context
    paragraph = (text_in(value, context) or None) if context else None
    yield Question(
        question=filled_in(value, question),
        context=paragraph,
        answers=_answers(value, answer) if answer else (),
        group=context_group(paragraph),
        origin=row.origin,
        extra=rest(value, {question, answer or "", context or ""}),
    )


def write(record: Record) -> Object | None:
    """Write ``question``, ``context`` and ``answer`` (a list where there is not exactly one)."""
    if not isinstance(record, Question) or record.choices or record.starts or not record.answerable:
        return None
    answer: object = record.answers[0] if len(record.answers) == 1 else list(record.answers)
    context = {} if record.context is None else {"context": record.context}
    return with_rest({"question": record.question, **context, "answer": answer}, record.extra)


def _answers(value: Object, name: str) -> tuple[str, ...]:
    found = value.get(name)
    texts = [text_in({name: part}, name) for part in found] if isinstance(found, list) else [text_in(value, name)]
    return tuple(text for text in texts if text.strip())
