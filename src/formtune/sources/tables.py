"""Rows of comma- and tab-separated files.

Commas come with quoted fields, which may hold line breaks; tabs come without quoting (a double quote is a character
like any other), as the files of the field have it. Whether the first line names the columns is decided from what
stands under it; without names, columns are called ``1``, ``2`` and so on.
"""

import csv
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Literal

from formtune.errors import DataError
from formtune.records import LeftOut, Origin
from formtune.sources.lines import Opened, blocks_of
from formtune.sources.rows import Row, check_names
from formtune.sources.streams import ArchiveCut, decode

N_SAMPLE = 1000
_SHORT_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class _Cells:
    line: int
    values: list[str]


def table_rows(
    opened: Opened, delimiter: str, *, known_names: Collection[str], header: bool | None = None
) -> Iterator[Row | LeftOut]:
    """Read a table; a row that has not as many fields as the others is left out.

    Args:
        opened: the file.
        delimiter: a comma or a tab.
        known_names: normalized column names that mark a first line as the header.
        header: whether the first line names the columns; None: decide from the content.

    Raises:
        DataError: when a quoted field is never closed, a column name stands twice, or most rows do not fit the first.
    """
    # The limit is the process's, not the reader's; the default of 128 KiB is less than a long document.
    csv.field_size_limit(2**31 - 1)
    found = _cells(opened, delimiter)
    sample = list(islice(found, N_SAMPLE))
    cells = [item.values for item in sample if isinstance(item, _Cells)]
    if header is None:
        header = has_header(cells, known_names)
    names = _names(cells, opened.path, header=header)
    _check_widths(cells, len(names), opened.path, delimiter=delimiter)
    if header:
        sample.pop(next(place for place, item in enumerate(sample) if isinstance(item, _Cells)))
    for item in chain(sample, found):
        yield _row(item, names, opened.path) if isinstance(item, _Cells) else item


def has_header(cells: Sequence[Sequence[str]], known_names: Collection[str]) -> bool:
    """Decide whether the first row names the columns.

    It does when it holds a known name, or when its values are unlike what stands under them: words over numbers, a
    value that never comes again over values that do, a short name over long texts. Columns without a name, which
    spreadsheets leave at the end of every line, have no vote.
    """
    if not cells:
        return False
    known = any(normalize(cell) in known_names for cell in cells[0])
    named = [place for place, cell in enumerate(cells[0]) if cell.strip()]
    has_gap = named[:1] not in ([0], [1]) or named != list(range(named[0], named[-1] + 1))
    if has_gap and not known:
        return False
    below = [row for row in cells[1:] if len(row) == len(cells[0])]
    if len({cells[0][place] for place in named}) < len(named) or not below:
        return known
    return sum(_vote(cells[0][place], [row[place] for row in below], known_names) for place in named) > 0


def normalize(name: str) -> str:
    """Bring a column name to the form in which names are compared: ``Gold Label`` and ``gold-label`` are one."""
    return "_".join(name.replace("-", " ").replace("_", " ").casefold().split())


def _vote(first: str, values: Sequence[str], known_names: Collection[str]) -> int:
    """Vote for (above 0) or against a header, from one column that has a name."""
    if first in values:
        return -2
    if normalize(first) in known_names:
        return 3
    if _is_number(first):
        return -1
    if all(_is_number(value) for value in values if value):
        return 1
    if len(set(values)) * 2 <= len(values):
        return 1
    mean = sum(map(len, values)) / len(values)
    return 1 if len(first) <= _SHORT_CHARACTERS and mean > 3 * len(first) else 0


def _is_number(value: str) -> bool:
    return value.replace(".", "", 1).replace("-", "", 1).replace(",", "").strip().isdecimal()


def _text_lines(opened: Opened) -> Iterator[str]:
    for first_line, block in blocks_of(opened):
        if b"\n" not in block and b"\r" in block:
            block = block.replace(b"\r", b"\n")  # files of the old Mac end their lines so
        lines = decode(block, opened.path, first_line=first_line).split("\n")
        if b"\0" in block:
            raise _zero_byte(block, opened.path, first_line)
        last = lines.pop()
        for line in lines:
            yield line + "\n"
        if last:
            yield last


def _zero_byte(block: bytes, path: str, first_line: int) -> DataError:
    line = first_line + block.count(b"\n", 0, block.index(b"\0"))
    return DataError("There is a zero byte in this line.", "Take the zero bytes out of the file.", at=f"{path}:{line}")


def _cells(opened: Opened, delimiter: str) -> Iterator[_Cells | LeftOut]:
    path = opened.path
    quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    reader = csv.reader(_text_lines(opened), delimiter=delimiter, quoting=quoting, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except ArchiveCut:
            yield LeftOut("the end of the archive is missing", Origin(path, line), detail="from this line on")
            return
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                raise DataError(
                    "A quoted field that begins in this row is never closed.",
                    "Close it, or double the quotes inside fields.",
                    at=f"{path}:{line}",
                ) from error
            yield LeftOut("a quote or line break inside an unquoted field", Origin(path, line), detail=str(error))
            continue
        if values:
            yield _Cells(line, values)


def _names(cells: Sequence[Sequence[str]], path: str, *, header: bool) -> list[str]:
    if not cells:
        raise DataError("The file holds no rows.", "Give a file that holds records.", at=path)
    if not header:
        width = Counter(map(len, cells)).most_common(1)[0][0]
        return [str(place) for place in range(1, width + 1)]
    names = [name.strip() or f"column {place}" for place, name in enumerate(cells[0], 1)]
    check_names(names, path)
    return names


def _check_widths(cells: Sequence[Sequence[str]], width: int, path: str, *, delimiter: str) -> None:
    if width == 1 and delimiter == "," and sum(";" in row[0] or "\t" in row[0] for row in cells) * 2 > len(cells):
        raise DataError(
            "The lines hold semicolons or tabs, but the file's name ends in .csv.",
            "Save it with commas, or name a tab-separated file .tsv.",
            at=path,
        )
    n_other = sum(len(row) != width for row in cells)
    if n_other * 2 > len(cells):
        raise DataError(
            f"{n_other} of the first {len(cells)} rows have another number of fields than the first, {width}.",
            "Remove title lines above the header, or quote fields that hold the delimiter.",
            at=path,
        )


def _row(cells: _Cells, names: Sequence[str], path: str) -> Row | LeftOut:
    origin = Origin(path, cells.line)
    if len(cells.values) != len(names):
        return LeftOut(
            "another number of fields than the header",
            origin,
            detail=f"{len(cells.values)} instead of {len(names)}",
        )
    return Row(dict(zip(names, cells.values, strict=True)), origin)
