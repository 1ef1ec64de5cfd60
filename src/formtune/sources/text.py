"""Rows of text files: a line or a paragraph each; and what else a file without a telling name may hold."""

import csv
from collections.abc import Iterator

from formtune.records import LeftOut, Origin
from formtune.sources.json_values import FAULTS, value_of
from formtune.sources.lines import Opened, lines_of
from formtune.sources.rows import Row
from formtune.sources.streams import decode

_LINES_PER_PARAGRAPH = 1.5
_WRAPPED_CHARACTERS = 120  # longer lines are not wrapped text: each is a paragraph of its own


def line_rows(opened: Opened) -> Iterator[Row | LeftOut]:
    """Read a text by lines; blank ones do not count, and one with a zero byte is left out."""
    for number, line in lines_of(opened):
        if b"\0" in line:
            yield _zero_byte(line, Origin(opened.path, number))
        elif line.strip():
            yield Row(decode(line, opened.path, first_line=number), Origin(opened.path, number))


def _zero_byte(line: bytes, origin: Origin) -> LeftOut:
    """Leave a line out that holds a zero byte."""
    column = len(line[: line.index(b"\0")].decode(errors="replace")) + 1
    return LeftOut("a zero byte", origin, detail=f"column {column}", column=column)


def paragraph_rows(opened: Opened) -> Iterator[Row | LeftOut]:
    """Read a text by paragraphs, which blank lines part; a line with a zero byte is left out."""
    paragraph: list[str] = []
    first = 0
    for row in _with_blank_lines(opened):
        if isinstance(row, LeftOut):
            yield row
        elif row.value:
            first = first if paragraph else row.origin.line or 0
            paragraph.append(str(row.value))
        elif paragraph:
            yield Row("\n".join(paragraph), Origin(opened.path, first))
            paragraph = []


def sniff(head: bytes, *, commas: bool) -> str:
    """Name the layout of a text from its first bytes.

    Args:
        head: whole lines, or the beginning of one that is longer.
        commas: whether a comma-separated table is looked for too. In a file that is not named .csv, commas are
            punctuation.

    Returns:
        ``"jsonl"``, ``"json"``, ``"tsv"``, ``"csv"``, ``"paragraphs"`` or ``"lines"``.
    """
    text = head[: head.rfind(b"\n") + 1] or head
    lines = text.decode(errors="replace").split("\n")
    filled = [line.rstrip("\r") for line in lines if line.strip()]
    if not filled:
        return "lines"
    if filled[0].startswith("{"):
        return "jsonl" if _is_object(filled[0]) or len(lines) == 1 else "json"
    if filled[0].startswith("[") and commas:
        return "json"
    if _same_count(line.count("\t") for line in filled):
        return "tsv"
    if commas and _same_count(len(row) - 1 for row in csv.reader(line + "\n" for line in lines) if row):
        return "csv"
    return "paragraphs" if _has_paragraphs(lines) else "lines"


def holds_lines(head: bytes) -> bool:
    """Say whether what is called JSON is JSON lines: its first line is an object of its own, and more follows."""
    first, _, more = head.lstrip().partition(b"\n")
    return first.startswith(b"{") and bool(more.strip()) and _is_object(first)


def _with_blank_lines(opened: Opened) -> Iterator[Row | LeftOut]:
    number = opened.first_line
    for number, line in lines_of(opened):
        text = decode(line, opened.path, first_line=number)
        if b"\0" in line:
            yield _zero_byte(line, Origin(opened.path, number))
            continue
        yield Row(text if text.strip() else "", Origin(opened.path, number))
    yield Row("", Origin(opened.path, number + 1))


def _is_object(line: str | bytes) -> bool:
    try:
        return isinstance(value_of(line), dict)
    except FAULTS:
        return False


def _same_count(counts: Iterator[int]) -> bool:
    found = list(counts)
    return len(found) > 1 and found[0] > 0 and len(set(found)) == 1


def _has_paragraphs(lines: list[str]) -> bool:
    filled = [bool(line.strip()) for line in lines]
    n_paragraphs = sum(now and not before for before, now in zip([False, *filled], filled, strict=False))
    wrapped = sum(map(len, lines)) <= _WRAPPED_CHARACTERS * sum(filled)
    return wrapped and not all(filled[:-1]) and sum(filled) > _LINES_PER_PARAGRAPH * n_paragraphs
