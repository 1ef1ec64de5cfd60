"""Rows that were left out, written to a file beside their bytes, so that they can be looked at and mended."""

import base64
import codecs
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from formtune.dialects.files import blocks, check_apart
from formtune.errors import SettingError
from formtune.faults import fault_of
from formtune.records import LeftOut, Origin
from formtune.sources import STDIN, open_bytes
from formtune.sources.lines import Opened, lines_of
from formtune.sources.streams import BUFFER_BYTES, ArchiveCut, bom_encoding
from formtune.spool import Spool
from formtune.tallies import Tally

# How lines are written in the encodings whose line break is more than one byte.
_WIDE = {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}


class Quarantine:
    """What is left out on the way, as it is met: counted, and kept on disk where it is to be written to a file.

    Args:
        path: of the file; None for no file.
        encoding: with which the rows are read, where one is named.

    Attributes:
        gone: rows and records that do not go on.
        parts: parts of rows that went on without them.
    """

    def __init__(self, path: str | None, *, encoding: str | None = None) -> None:
        self._path = path
        self._encoding = encoding
        self._spool = None if path is None else Spool(_folder_of(path), LeftOut)
        self.gone, self.parts = Tally(), Tally()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if self._spool is not None:
            self._spool.__exit__(kind, error, trace)

    def append(self, one: LeftOut) -> None:
        """Take what is left out."""
        (self.parts if one.kept else self.gone).append(one)
        if self._spool is not None:
            self._spool.append(one)

    def write(self) -> dict[str, str]:
        """Write the file that was asked for, and name it under ``quarantine``; nothing where none was.

        Raises:
            SettingError: as :func:`write_quarantine` does.
        """
        if self._path is None or self._spool is None:
            return {}
        write_quarantine(self._spool, self._path, encoding=self._encoding)
        return {"quarantine": self._path}


def _folder_of(path: str) -> Path:
    """Give the folder of a file that will be written there.

    Raises:
        SettingError: when there is none.
    """
    folder = Path(path).parent
    if not folder.is_dir():
        raise SettingError("There is no such folder.", "Make it, or name another.", at=folder)
    return folder


def write_quarantine(left_out: Iterable[LeftOut], path: str, *, encoding: str | None = None) -> int:
    """Write rows that were left out as JSON lines, in their order; the file is written whole or not at all.

    Each line has ``code``, ``reason``, ``expected`` and ``remedy``; ``place``, ``column``, ``path`` inside the row,
    ``found``, ``near`` and ``detail``, where they are known; ``kept`` where the row went on without this part;
    ``further`` faults of the row; and ``raw``, the line as it stands in the file. A line that is not UTF-8 stands under
    ``raw_base64`` instead. There is neither for standard input and Parquet, which have no lines to go back to.

    The files are read again beside the rows, a few megabytes at a time; from the beginning where a row stands before the
    one that was told before it.

    Args:
        left_out: the rows, to be gone through twice.
        path: of the file to write.
        encoding: with which the rows were read, where one was named.

    Returns:
        How many rows were written.

    Raises:
        SettingError: when the file is one of those that were read, or cannot be written.
    """
    check_apart({one.at.file for one in left_out if one.at is not None}, path, at=path)
    n_rows = 0
    with closing(_RawLines(encoding)) as lines, blocks(path) as write:
        for one in left_out:
            row = _facts(one) | _raw(None if one.at is None else lines.at(one.at))
            write(msgspec.json.encode(row) + b"\n")
            n_rows += 1
    return n_rows


def _facts(one: LeftOut) -> dict[str, object]:
    fault = fault_of(one.reason)
    facts: dict[str, object] = {
        "code": one.code,
        "reason": one.reason,
        "expected": fault.expected if fault else None,
        "remedy": fault.remedy if fault else None,
        "place": str(one.at or one.id or "") or None,
        "column": one.column,
        "path": one.path,
        "found": one.found,
        "near": one.near,
        "detail": one.detail,
        "kept": one.kept or None,
        "further": [_facts(other) for other in one.further] or None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _raw(line: bytes | None) -> dict[str, object]:
    if line is None:
        return {}
    try:
        return {"raw": line.decode()}
    except UnicodeDecodeError:
        return {"raw_base64": base64.b64encode(line).decode()}


class _RawLines:
    """Reads lines of files again, without their line breaks; each file once, as long as they are asked for in order."""

    def __init__(self, encoding: str | None) -> None:
        self._encoding = encoding
        self._file = ""
        self._lines: Iterator[tuple[int, bytes]] = iter(())
        self._number = 0
        self._line: bytes | None = None

    def at(self, place: Origin) -> bytes | None:
        """Give the line of a place; None where there are no lines to go back to."""
        if place.line is None:
            return None
        if place.file != self._file or place.line < self._number:
            self.close()
            self._file, self._number, self._line = place.file, 0, None
            self._lines = _lines_of(place.file, self._encoding)
        while self._number < place.line:
            self._number, self._line = next(self._lines, (sys.maxsize, None))
        return self._line if self._number == place.line else None

    def close(self) -> None:
        """Close the file that is being read."""
        if isinstance(self._lines, Generator):
            self._lines.close()


def _lines_of(file: str, encoding: str | None) -> Iterator[tuple[int, bytes]]:
    """Read the lines of a file as they stand there, each with its number; none of what has none."""
    if file == STDIN:
        return
    opened = Opened(open_bytes(file), file)
    head = opened.stream.peek(BUFFER_BYTES)
    wide = _WIDE.get(bom_encoding(head) or "") or (codecs.lookup(encoding).name if encoding else "")
    if head.startswith(b"PAR1"):
        opened.stream.close()
        return
    with suppress(ArchiveCut):  # which is among what was left out
        yield from _wide_lines(opened, wide) if wide.startswith(("utf-16", "utf-32")) else lines_of(opened)


def _wide_lines(opened: Opened, encoding: str) -> Iterator[tuple[int, bytes]]:
    """Read the lines of a text whose line breaks are more than one byte, each as its bytes stand in the file."""
    with opened.stream as stream:
        data = stream.read()
    as_marked = bom_encoding(data)
    text = data.decode(as_marked or encoding)
    is_big = data.startswith((codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)) or encoding.endswith("be")
    bare = f"{(as_marked or encoding)[:6]}-{'be' if is_big else 'le'}"
    for number, line in enumerate(text.split("\n"), 1):
        yield number, line.removesuffix("\r").encode(bare)
