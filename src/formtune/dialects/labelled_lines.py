"""Labelled lines of text: ``NUM:dist How far is it?`` as in TREC, ``__label__spam Win now`` as in fastText."""

import re
from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, RowFault
from formtune.records import Labelled, Record
from formtune.sources import Row, text_of, value_of

NAME = "labelled-lines"
SUMMARY = "Text lines that begin with their label: 'NUM:dist How far ...' (TREC) or '__label__spam ...' (fastText)."
NEEDS = "text lines that begin with LABEL:fine or __label__LABEL"
ROLES: frozenset[str] = frozenset()
NAMES: frozenset[str] = frozenset()

_TREC = re.compile(r"([A-Za-z][^\s:]{0,39}):([^\s:/]{1,40}) (.*\S.*)", re.DOTALL)
_FASTTEXT = re.compile(r"((?:__label__\S+\s+)+)(.*\S.*)", re.DOTALL)


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look whether nearly all lines begin with one of a few labels."""
    lines = [row.value for row in rows if isinstance(row.value, str)]
    parsed = [found for line in lines if (found := _parse(line))]
    labels = {label for found in parsed for label in found[0]}
    if columns.text or columns.label or not parsed or len(parsed) < 0.95 * len(rows):
        return None
    if len(labels) * 4 > len(parsed) and len(parsed) >= 20:
        return None
    return Evidence(
        0.7 * len(parsed) / len(rows), f"{len(labels)} labels before the text in {len(lines)} lines", columns
    )


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the label (the coarse one; a fine one goes aside as ``fine_label``) and the text behind it."""
    found = _parse(row.value) if isinstance(row.value, str) else None
    if found is None:
        raise RowFault("a line that does not begin with a label")
    labels, fine, text = found
    extra = text_of({"fine_label": fine}) if fine else None
    yield Labelled(inputs={"text": text}, labels=labels, origin=row.origin, extra=extra)


def write(record: Record) -> str | None:
    """Write a line as TREC has it where there is a fine label, else as fastText has it."""
    if not isinstance(record, Labelled) or len(record.inputs) != 1 or not record.labels:
        return None
    text = next(iter(record.inputs.values()))
    fine = value_of(record.extra).get("fine_label") if record.extra else None
    marks = " ".join(f"__label__{label}" for label in record.labels)
    line = f"{record.labels[0]}:{fine} {text}" if fine and len(record.labels) == 1 else f"{marks} {text}"
    # What would not come back the same has no place in a line.
    found = None if re.search(r"[\r\n]", line) else _parse(line)
    return line if found is not None and (found[0], found[2]) == (record.labels, text) else None


def _parse(line: str) -> tuple[tuple[str, ...], str | None, str] | None:
    """Take a line apart: its labels, the fine label, the text."""
    if match := _FASTTEXT.fullmatch(line):
        return tuple(mark.removeprefix("__label__") for mark in match[1].split()), None, match[2]
    if match := _TREC.fullmatch(line):
        return (match[1],), match[2], match[3]
    return None
