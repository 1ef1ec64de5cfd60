"""Solutions in steps, each judged right or wrong, as TRL and axolotl's ``stepwise_supervised`` lay them out.

Read too: Math-Shepherd's ``input``, whose steps end in a mark, and ``label``, with ``+`` or ``-`` in its place.
"""

import re
from collections.abc import Iterator, Sequence

from formtune.dialects.columns import (
    Columns,
    Evidence,
    Object,
    RowFault,
    as_object,
    filled_in,
    objects,
    rest,
    text_in,
    with_rest,
)
from formtune.dialects.exchanges import are_texts, exchanges_of
from formtune.records import Conversation, Message, Record, Span
from formtune.sources import Row

NAME = "stepwise"
SUMMARY = "A prompt, the steps of its solution and whether each is right (TRL, axolotl's stepwise_supervised)."
NEEDS = "columns 'prompt', 'completions' and 'labels', a list of steps and one of truth values"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"prompt", "completions", "labels"})
_BETWEEN = "\n"
_MARK = "ки"  # ends each step of Math-Shepherd
_FIRST = re.compile(r"\s*Step 1:")


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for steps beside their labels."""
    table = objects(rows)
    fitting = sum(map(_fits, table))
    if fitting * 2 <= len(table):
        return None
    return Evidence(0.99 * fitting / len(table), f"steps with labels in {fitting} of {len(table)} rows", columns)


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read one answer of all steps, a line or more each, of which those judged wrong are not to be learned."""
    value = as_object(row)
    if _is_marked(value):
        yield _shepherd(row, value)
        return
    steps, labels = value.get("completions"), value.get("labels")
    if not are_texts(steps) or not isinstance(steps, list):
        raise RowFault("no steps")
    if not isinstance(labels, list) or [type(label) for label in labels] != [bool] * len(steps):
        raise RowFault("labels that are not a truth value for each step")
    messages = (Message("user", filled_in(value, "prompt")), _answer(steps, labels))
    yield Conversation(messages=messages, origin=row.origin, extra=rest(value, NAMES))


def write(record: Record) -> Object | None:
    """Write the steps; None where an answer is not in steps, a line or more each, with the weight 0 or 1."""
    found = exchanges_of(record)
    if found is None or found[0] is not None or len(found[1]) > 1:
        return None
    [(asked, answer)] = found[1]
    if answer is None or not asked.content.strip() or not all(span.weight in (0, 1) for span in answer.spans):
        return None
    steps = [answer.content[span.start : span.end] for span in answer.spans]
    labels = [span.weight > 0 for span in answer.spans]
    if not steps or _answer(steps, labels).spans != answer.spans or _BETWEEN.join(steps) != answer.content:
        return None
    return with_rest({"prompt": asked.content, "completions": steps, "labels": labels}, record.extra)


def _answer(steps: Sequence[str], labels: Sequence[bool]) -> Message:
    spans, start = [], 0
    for step, label in zip(steps, labels, strict=True):
        spans.append(Span(start, start + len(step), float(label)))
        start += len(step) + len(_BETWEEN)
    return Message("assistant", _BETWEEN.join(steps), spans=tuple(spans))


def _fits(value: Object) -> bool:
    return (are_texts(value.get("completions")) and isinstance(value.get("labels"), list)) or _is_marked(value)


def _is_marked(value: Object) -> bool:
    """Say whether steps stand in one text, as Math-Shepherd has them."""
    text = value.get("input")
    return isinstance(text, str) and _MARK in text and isinstance(value.get("label"), str)


def _shepherd(row: Row, value: Object) -> Conversation:
    """Read steps that end in a mark, and what the label has in the mark's place.

    Raises:
        RowFault: when the two texts differ otherwise.
    """
    text, judged = text_in(value, "input"), text_in(value, "label")
    pieces, labels, place = text.split(_MARK), [], 0
    for piece in pieces[:-1]:
        place += len(piece)
        labels.append(judged[place : place + 1])
        place += 1
    if not set(labels) <= {"+", "-"} or "".join(map("".join, zip(pieces, [*labels, ""], strict=True))) != judged:
        raise RowFault("labels that are not a truth value for each step", path="label")
    first = _FIRST.search(pieces[0])
    asked, pieces[0] = (pieces[0][: first.start()], pieces[0][first.start() :]) if first else ("", pieces[0])
    messages = (
        Message("user", filled_in({"input": asked}, "input")),
        _answer([piece.strip() for piece in pieces[:-1]], [label == "+" for label in labels]),
    )
    return Conversation(messages=messages, origin=row.origin, extra=rest(value, {"input", "label"}))
