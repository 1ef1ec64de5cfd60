"""Labelled texts as ms-swift tunes classifiers on them: one message of the user's beside a number, or a list of numbers.

The numbers count the classes from 0; of a regression it is the value itself. What they are called is not in the data.
"""

from collections.abc import Iterator, Sequence

import msgspec

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
from formtune.dialects.conversations import is_messages, messages_in
from formtune.dialects.layouts import only_says, seen
from formtune.records import Labelled, Record
from formtune.sources import Row, value_of

NAME = "swift-classification"
SUMMARY = "A message of the user's beside a number, or several, as its label (ms-swift's classifiers and regressions)."
NEEDS = "'messages' of the user alone, and a number or a list of numbers in 'label'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"messages", "label"})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for numbers beside messages that nobody has answered."""
    return seen(rows, columns, _fits, why="a number in 'label' beside the user's message")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read what the user says, and the numbers as labels."""
    value = as_object(row)
    found = value.get("messages")
    messages = messages_in(found) if isinstance(found, list) else ()
    if len(messages) != 1 or messages[0].role != "user" or not only_says(messages[0]):
        raise RowFault("messages that are not one text of the user's", path="messages")
    labels = _numbers(value.get("label"))
    texts = [text_in({"label": label}, "label") for label in labels]
    yield Labelled(
        inputs={"text": filled_in({"messages": messages[0].content}, "messages")},
        labels=tuple(dict.fromkeys(texts)),
        origin=row.origin,
        extra=rest(value, NAMES),
    )


def write(record: Record) -> Object | None:
    """Write the text and the numbers; None where there are several texts, or a label is no number."""
    text = next(iter(record.inputs.values()), "") if isinstance(record, Labelled) else ""
    if not isinstance(record, Labelled) or set(record.inputs) != {"text"} or not text.strip() or not record.labels:
        return None
    numbers = [_number(label) for label in record.labels]
    if None in numbers:
        return None
    label = numbers[0] if len(numbers) == 1 else numbers
    return with_rest({"messages": [{"role": "user", "content": text}], "label": label}, record.extra)


def _fits(value: Object) -> bool:
    found = value.get("messages")
    is_asked = isinstance(found, list) and is_messages(found) and all(part.get("role") != "assistant" for part in found)
    return is_asked and bool(_numbers(value.get("label")))


def _numbers(found: object) -> list[object]:
    """List the numbers of a label; empty where it is anything else."""
    listed: list[object] = found if isinstance(found, list) else [found]
    return listed if all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in listed) else []


def _number(label: str) -> float | None:
    """Give the number that is read as a label again; None where it is none."""
    try:
        found = value_of(label)
    except msgspec.DecodeError:
        return None
    return found if _numbers(found) and text_in({"label": found}, "label") == label else None
