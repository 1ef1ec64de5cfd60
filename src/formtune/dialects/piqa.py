"""Physical commonsense as PIQA lays it out: a goal and two solutions, and in a file beside, which of the two is right.

Line N of the labels, 0 for the first solution and 1 for the second, belongs to row N; both files are given together. The
label may stand in the row too, as ``label``, and is written there. Bisk et al. 2020.
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
    objects,
    rest,
    text_in,
    with_rest,
)
from formtune.errors import DataError
from formtune.records import LeftOut, Question, Record
from formtune.sources import Row

NAME = "piqa"
SUMMARY = "A goal with two solutions, and the right one's number in the row or in a file of labels (PIQA)."
NEEDS = "columns 'goal', 'sol1' and 'sol2'; the file of labels beside them"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"goal", "sol1", "sol2"})

_SOLUTIONS = ("sol1", "sol2")
_LABELS = ("0", "1")
_UNKNOWN = ("", "-1")  # of rows that are to be predicted


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for a goal and two solutions; lines of labels beside them are no other rows."""
    asked = [row for row in rows if not _is_label(row)]
    fitting = sum(_fits(value) for value in objects(asked))
    if fitting * 2 <= len(asked):
        return None
    why = f"'goal' with 'sol1' and 'sol2' in {fitting} of {len(asked)} rows"
    return Evidence(1.0, why + ("; labels in a file beside" if len(asked) < len(rows) else ""), columns)


def answered(rows: Sequence[Row | LeftOut]) -> list[Row | LeftOut]:
    """Give every row the label that stands in the line of its number.

    Raises:
        DataError: when there are not as many labels as rows, or the rows have labels already.
    """
    labels = [row for row in rows if isinstance(row, Row) and isinstance(row.value, str)]
    asked = [row for row in rows if not (isinstance(row, Row) and isinstance(row.value, str))]
    counted = [row for row in asked if isinstance(row, Row) or not row.kept]
    if not labels:
        return asked
    if len(labels) != len(counted):
        raise DataError(
            f"There are {len(labels)} labels for {len(counted)} rows.",
            "Give files of which line N belongs to row N.",
            at=labels[0].origin.file,
        )
    if any("label" in value for value in objects(row for row in counted if isinstance(row, Row))):
        raise DataError("The rows have labels already.", "Leave this file away.", at=labels[0].origin.file)
    found = dict(zip(map(id, counted), labels, strict=True))
    return [_with_label(row, found[id(row)]) if isinstance(row, Row) else row for row in asked]


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the goal as the question and the solutions as its choices."""
    value = as_object(row)
    choices = tuple(filled_in(value, name) for name in _SOLUTIONS)
    label = text_in(value, "label").strip()
    if label not in (*_LABELS, *_UNKNOWN):
        raise RowFault("an answer that is none of the choices", repr(label), path="label", found=value["label"])
    yield Question(
        question=filled_in(value, "goal"),
        choices=choices,
        answers=() if label in _UNKNOWN else (choices[_LABELS.index(label)],),
        origin=row.origin,
        extra=rest(value, {"goal", "label", *_SOLUTIONS}),
    )


def write(record: Record) -> Object | None:
    """Write goal, solutions and label; None where there are not two choices, or a text beside them."""
    if not isinstance(record, Question) or len(record.choices) != 2 or record.context is not None or record.starts:
        return None
    if len(record.answers) > 1 or not set(record.answers) <= set(record.choices):
        return None
    row: Object = {"goal": record.question, **dict(zip(_SOLUTIONS, record.choices, strict=True))}
    label: Object = {"label": record.choices.index(record.answers[0])} if record.answers else {}
    return with_rest({**row, **label}, record.extra, ("label",))


def _fits(value: Object) -> bool:
    return all(isinstance(value.get(name), str) for name in ("goal", *_SOLUTIONS))


def _is_label(row: Row) -> bool:
    return isinstance(row.value, str) and row.value.strip() in _LABELS


def _with_label(row: Row, label: Row) -> Row:
    return (
        msgspec.structs.replace(row, value={**row.value, "label": label.value}) if isinstance(row.value, dict) else row
    )
