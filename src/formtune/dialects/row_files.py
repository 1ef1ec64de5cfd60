"""Files of which each row is one record's, whatever the others are: written row by row, none of them held.

JSON lines and arrays of JSON are written as records come. The columns of tables and of Parquet are those of all rows, so that
the records are gone through once before.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import msgspec

from formtune.dialects import aligned, lmflow, natural_instructions, oasst, squad
from formtune.dialects.columns import Dialect, Object
from formtune.dialects.files import blocks
from formtune.dialects.parquet import Shape, parquet_file
from formtune.records import Record
from formtune.sources import stem_and_suffix, text_of

Piece = Object | str
Told = Callable[[Record, int | None], None]  # a record, and where its row begins; None where it cannot be written
_LINES = frozenset({".jsonl", ".ndjson"})
_TABS = frozenset({".tsv", ".tab"})
_PARQUET = frozenset({".parquet", ".pq"})
_BY_COLUMNS = frozenset({".csv"}) | _TABS | _PARQUET
# Dialects of which a document of JSON holds rows that are joined.
_IN_DOCUMENTS = frozenset({squad.NAME, natural_instructions.NAME, lmflow.NAME})


def stand_alone(dialect_name: str, path: str) -> bool:
    """Say whether each record becomes a row of its own: in JSON lines, arrays of JSON, tables and Parquet.

    They do not in lines of text, whose file is read by paragraphs where it has some; in trees of messages (``oasst``), which
    are put together from all of their ways; in ``aligned`` files, which have equally many targets for each line; nor in the
    documents of ``squad``, ``natural-instructions`` and ``lmflow``, in which questions stand under their paragraph and
    instances under their task.
    """
    ending = stem_and_suffix(path)[1]
    if dialect_name in (oasst.NAME, aligned.NAME):
        return False
    return ending in _LINES | _BY_COLUMNS or (ending == ".json" and dialect_name not in _IN_DOCUMENTS)


def is_walked_twice(path: str) -> bool:
    """Say whether records are gone through before they are written: in layouts that have columns."""
    return stem_and_suffix(path)[1] in _BY_COLUMNS


def write_rows(records: Iterable[Record], dialect: Dialect, path: str, *, told: Told) -> None:
    """Write records row by row; the file is whole or not there.

    Args:
        records: they, to be gone through twice where the layout says so (:func:`is_walked_twice`).
        dialect: of which rows stand alone in such a file (:func:`stand_alone`).
        path: of the file; its ending says how.
        told: is told of each record the line on which its row begins, or its number where there are no lines.

    Raises:
        SettingError: when the file cannot be written.
    """
    ending = stem_and_suffix(path)[1]
    first_walk = records if is_walked_twice(path) else ()
    rows = (piece for piece in map(dialect.write, first_walk) if isinstance(piece, dict) and fits(piece, ending))
    with row_file(rows, path) as put:
        for record in records:
            piece = dialect.write(record)
            told(record, put(piece) if piece is not None and fits(piece, ending) else None)


def row_file(rows: Iterable[Object], path: str) -> AbstractContextManager[Callable[..., int]]:
    """Begin a file, which is whole or not there.

    Args:
        rows: all that will be written, gone through where the layout has columns.
        path: of the file.

    Returns:
        What writes a row and gives the line on which it begins, or its number where there are no lines.

    Raises:
        SettingError: when the file cannot be written.
    """
    ending = stem_and_suffix(path)[1]
    if ending in _LINES:
        return _lines(path)
    if ending not in _BY_COLUMNS:
        return _array(path)
    if ending in _PARQUET:
        shape = Shape()
        for row in rows:
            shape.add(row)
        return parquet_file(path, shape)
    names = list(dict.fromkeys(name for row in rows for name in row))
    return _table(path, names, _tabs if ending in _TABS else _commas)


def fits(piece: Piece, ending: str) -> bool:
    """Say whether a row can stand in a file of this ending: tables have no place for texts, and tabs none for line breaks."""
    if ending not in _BY_COLUMNS:
        return True
    if not isinstance(piece, dict):
        return False
    return ending not in _TABS or not any(mark in _cell(value) for value in piece.values() for mark in "\t\r\n")


@contextmanager
def _lines(path: str) -> Iterator[Callable[[Piece], int]]:
    with blocks(path) as write:
        line = 0

        def put(piece: Piece) -> int:
            nonlocal line
            write(f"{text_of(piece)}\n".encode())
            line += 1
            return line

        yield put


@contextmanager
def _array(path: str) -> Iterator[Callable[[Piece], int]]:
    with blocks(path) as write:
        between, line = "[\n", 2

        def put(piece: Piece) -> int:
            nonlocal between, line
            element, begin = _element(piece), line
            write(f"{between}{element}".encode())
            between, line = ",\n", begin + element.count("\n") + 1
            return begin

        yield put
        write(b"[]\n" if between == "[\n" else b"\n]\n")


@contextmanager
def _table(path: str, names: list[str], row_of: Callable[[Iterable[str]], str]) -> Iterator[Callable[[Object], int]]:
    with blocks(path) as write:
        header = row_of(names)
        write(header.encode())
        line = header.count("\n") + 1

        def put(row: Object) -> int:
            nonlocal line
            text, begin = row_of(_cell(row.get(name)) for name in names), line
            write(text.encode())
            line += text.count("\n")
            return begin

        yield put


def _commas(cells: Iterable[str]) -> str:
    out = io.StringIO(newline="")
    row = list(cells)
    # Before 3.13 a carriage return was written without quotes, which no reader takes for part of a field.
    quoting: Literal[0, 1] = csv.QUOTE_ALL if any("\r" in cell for cell in row) else csv.QUOTE_MINIMAL
    csv.writer(out, lineterminator="\n", quoting=quoting).writerow(row)
    return out.getvalue()


def _tabs(cells: Iterable[str]) -> str:
    return "\t".join(cells) + "\n"


def _element(piece: Piece) -> str:
    """Lay a value out as it stands in an array of JSON, without what stands around all of them."""
    return msgspec.json.format(text_of([piece]), indent=1).removeprefix("[\n").removesuffix("\n]")


def _cell(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else text_of(value)
