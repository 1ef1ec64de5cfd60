"""Where data comes from: paths, archives, encodings, layouts, the Hub; out come rows with their physical lines."""

import io
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath
from typing import Literal

from formtune.records import LeftOut, Origin
from formtune.sources.columnar import JSON_COLUMNS, parquet_rows
from formtune.sources.documents import ElementReader, LineReader, Mend, json_rows, jsonl_rows
from formtune.sources.json_arrays import elements_of, raw_lines
from formtune.sources.json_values import text_of, value_of
from formtune.sources.lines import Opened, Slice, blocks_of, is_seekable, open_part, read_lines, slices, windows
from formtune.sources.paths import expand
from formtune.sources.rows import Row
from formtune.sources.streams import BUFFER_BYTES, STDIN, ArchiveCut, decode, open_bytes, open_utf8
from formtune.sources.tables import normalize, table_rows
from formtune.sources.text import holds_lines, line_rows, paragraph_rows, sniff

__all__ = [
    "JSON_COLUMNS",
    "STDIN",
    "ArchiveCut",
    "ElementReader",
    "LineReader",
    "Mend",
    "Opened",
    "Row",
    "Slice",
    "blocks_of",
    "can_be_cut",
    "cut_off",
    "decode",
    "elements_of",
    "expand",
    "json_form",
    "layout_of",
    "normalize",
    "open_bytes",
    "open_part",
    "open_utf8",
    "raw_lines",
    "read_lines",
    "read_part",
    "read_rows",
    "row_parts",
    "slices",
    "stem_and_suffix",
    "text_of",
    "value_of",
    "windows",
]

_PACKED = {".gz", ".bz2", ".zst", ".zstd"}
_BY_LINES = ("jsonl", "lines")  # layouts of a row a line, each of which can be read without the others
_LAYOUTS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


def read_rows(
    path: str,
    *,
    known_names: Collection[str] = (),
    encoding: str | None = None,
    header: bool | None = None,
    mend: Mend | None = None,
) -> Iterator[Row | LeftOut]:
    """Read a file's rows in order; what is not a row comes as a LeftOut in its place.

    The layout follows from the name (after ``.gz``, ``.bz2``, ``.zst``); under any other name, and on standard
    input, from the content: JSON lines, tab-separated (the same number of tabs in every line), text. A text with
    blank lines between blocks of several lines is read by paragraphs, else by lines.

    Of an archive that breaks off the whole rows before the break are given, then a LeftOut that tells the loss.

    Args:
        path: a file, ``-``, or an ``hf://`` address of one file.
        known_names: normalized column names by which a table's header is known.
        encoding: of a text file that is neither UTF-8 nor marked as UTF-16.
        header: whether a table's first line names its columns; None: decide from the content.
        mend: of each line of JSON lines gives what is read in its place.

    Raises:
        DataError: when the file cannot be read, or is at fault as a whole.
    """
    opened = Opened(open_utf8(path, encoding=encoding), path)
    rows = _rows(opened, known_names=known_names, header=header, mend=mend)
    return rows if isinstance(opened.stream.raw, io.FileIO) else _up_to_a_cut(rows, path)


def row_parts(path: str, size_bytes: int, *, encoding: str | None = None) -> list[Slice]:
    """Cut a file into slices that hold whole rows; one slice is the whole file, where rows cannot be told from the middle.

    JSON lines and texts of a row a line can be cut; :func:`read_part` reads a slice of them.

    Args:
        path: the file.
        size_bytes: the size aimed at; a slice is longer by up to one line.
        encoding: of a text file that is neither UTF-8 nor marked as UTF-16.

    Raises:
        DataError: as :func:`read_rows` does for the beginning of the file.
    """
    return slices(path, size_bytes) if can_be_cut(path, encoding=encoding) else [Slice(path)]


def can_be_cut(path: str, *, encoding: str | None = None) -> bool:
    """Say whether a file has its rows one a line, and can be entered in the middle.

    Raises:
        DataError: as :func:`read_rows` does for the beginning of the file.
    """
    with open_utf8(path, encoding=encoding) as stream:
        is_file = isinstance(stream.raw, io.FileIO)
        return is_file and layout_of(path, stream.peek(BUFFER_BYTES)) in _BY_LINES and is_seekable(path)


def read_part(part: Slice) -> Iterator[Row | LeftOut]:
    """Read the rows of a slice that :func:`row_parts` cut, in order.

    Raises:
        DataError: as :func:`read_rows` does.
    """
    return jsonl_rows(open_part(part)) if json_form(part.path) == "lines" else line_rows(open_part(part))


def json_form(path: str, *, encoding: str | None = None) -> Literal["lines", "array", "document"] | None:
    """Say how a file holds JSON, packed or not; None where it holds something else."""
    with open_utf8(path, encoding=encoding) as stream:
        head = stream.peek(BUFFER_BYTES)
    match layout_of(path, head):
        case "jsonl":
            return "lines"
        case "json":
            return "array" if head.lstrip().startswith(b"[") else "document"
        case _:
            return None


def _rows(
    opened: Opened, *, known_names: Collection[str], header: bool | None, mend: Mend | None
) -> Iterator[Row | LeftOut]:
    match layout_of(opened.path, opened.stream.peek(BUFFER_BYTES)):
        case "csv":
            return table_rows(opened, ",", known_names=known_names, header=header)
        case "tsv":
            return table_rows(opened, "\t", known_names=known_names, header=header)
        case "json":
            return json_rows(opened)
        case "jsonl":
            return jsonl_rows(opened, mend)
        case "parquet":
            return parquet_rows(opened)
        case "paragraphs":
            return paragraph_rows(opened)
        case _:
            return line_rows(opened)


def _up_to_a_cut(rows: Iterator[Row | LeftOut], path: str) -> Iterator[Row | LeftOut]:
    try:
        yield from rows
    except ArchiveCut as cut:
        yield cut_off(path, cut)


def cut_off(path: str, cut: ArchiveCut) -> LeftOut:
    """Tell what is lost of an archive that breaks off."""
    return LeftOut("the end of the archive is missing", Origin(path, cut.line), detail="from this line on")


def layout_of(path: str, head: bytes) -> str:
    """Name a file's layout from its name and its first bytes (unpacked, UTF-8)."""
    named = _LAYOUTS.get(stem_and_suffix(path)[1])
    if head.startswith(b"PAR1"):
        return "parquet"
    if named == "json" and holds_lines(head):
        return "jsonl"
    if named == "jsonl" and (head.lstrip().startswith(b"[") or head.split(b"\n", 1)[0].strip() == b"{"):
        return "json"
    return named or sniff(head, commas=path == STDIN)


def stem_and_suffix(path: str) -> tuple[str, str]:
    """Split a path into what stands before its last ending and that ending in lower case, archive endings aside.

    >>> stem_and_suffix("data/train.en.gz")
    ('data/train', '.en')
    """
    pure = PurePosixPath(path)
    if pure.suffix.lower() in _PACKED:
        pure = pure.with_suffix("")
    return str(pure.with_suffix("")), pure.suffix.lower()
