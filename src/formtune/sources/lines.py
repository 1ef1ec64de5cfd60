"""Lines with their physical numbers, from whole files and from slices of them.

A slice is a byte range that begins and ends at a line break, so that several processes can read one file. Its first
line number comes from counting line breaks once and summing up what stands before it: exact, whatever the slices.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import BinaryIO

from formtune.sources.hub import is_hub
from formtune.sources.streams import STDIN, ArchiveCut, bom_encoding, open_utf8, packing

BLOCK_BYTES = 1 << 22
_COUNTED_BYTES = 1 << 19
_BREAK = ord("\n")


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a file that begins and ends at a line break.

    Attributes:
        path: the file.
        start: offset of its first byte.
        end: offset behind its last byte; None is the end of the file, whatever the file is packed in.
        first_line: 1-based number of its first line.
    """

    path: str
    start: int = 0
    end: int | None = None
    first_line: int = 1


@dataclass(frozen=True, slots=True)
class Opened:
    """UTF-8 bytes that are being read, and where they stand.

    Attributes:
        stream: at the beginning of a line.
        path: the file, for the places in messages.
        first_line: the number of that line.
        n_bytes: how many bytes belong to it; None is all.
    """

    stream: io.BufferedReader
    path: str
    first_line: int = 1
    n_bytes: int | None = None


def slices(path: str, size_bytes: int) -> list[Slice]:
    """Cut a file into slices of about equal size; costs one pass over the bytes.

    What cannot be entered in the middle (an archive, UTF-16, the Hub, standard input) is one slice.

    Args:
        path: the file.
        size_bytes: the size aimed at; a slice is longer by up to one line.

    Raises:
        ValueError: when the size is not positive.
    """
    if size_bytes < 1:
        raise ValueError(f"size_bytes must be positive, not {size_bytes}")
    if not is_seekable(path):
        return [Slice(path)]
    with Path(path).open("rb") as file:
        cuts = _cuts(file, Path(path).stat().st_size, size_bytes)
        counts = [_count_breaks(file, start, end) for start, end in pairwise(cuts[:-1])]
    lines = accumulate(counts, initial=1)
    return [Slice(path, *place) for place in zip(cuts[:-1], cuts[1:], lines, strict=True)]


def windows(path: str, count: int, size_bytes: int) -> list[Slice]:
    """Spread slices over a file, from its beginning to its end, for a look at it; none knows the number of its lines.

    Args:
        path: a file that can be entered in the middle.
        count: how many, at least 2; fewer where they would begin at the same line.
        size_bytes: of each; the line that a window ends in belongs to it.
    """
    n_bytes = Path(path).stat().st_size
    last = max(0, n_bytes - size_bytes)
    with Path(path).open("rb") as file:
        starts = {_next_line(file, last * place // (count - 1)) for place in range(count)}
    return [Slice(path, start, min(start + size_bytes, n_bytes)) for start in sorted(starts) if start < n_bytes]


def read_lines(part: Slice) -> Iterator[tuple[int, bytes]]:
    """Read the lines of a slice as UTF-8 bytes without their line breaks, each with its 1-based number in the file.

    Raises:
        DataError: as :func:`formtune.sources.streams.open_utf8` does.
    """
    return lines_of(open_part(part))


def open_part(part: Slice) -> Opened:
    """Open a slice.

    Raises:
        DataError: as :func:`formtune.sources.streams.open_utf8` does.
    """
    stream = open_utf8(part.path)
    if part.start:
        stream.seek(part.start)
    n_bytes = None if part.end is None else part.end - stream.tell()
    return Opened(stream, part.path, part.first_line, n_bytes)


def lines_of(opened: Opened) -> Iterator[tuple[int, bytes]]:
    """Read lines without their line breaks, each with its number."""
    for first_line, block in blocks_of(opened):
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        for number, line in enumerate(lines, first_line):
            yield number, line.removesuffix(b"\r")


def blocks_of(opened: Opened, size_bytes: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Read blocks of whole lines, a few megabytes at a time, each with the number of its first line; then close.

    Args:
        opened: what is read.
        size_bytes: of a block, the rest of its last line aside; None: :data:`BLOCK_BYTES`.

    Raises:
        ArchiveCut: behind the last whole line of an archive that breaks off; it tells the number of the next.
    """
    line, left, size_bytes = opened.first_line, opened.n_bytes, size_bytes or BLOCK_BYTES
    with opened.stream as stream:
        while left is None or left > 0:
            block, cut = _whole_lines(stream, size_bytes if left is None else min(size_bytes, left))
            if block:
                yield line, block
                line += block.count(b"\n")
            if cut is not None:
                cut.line = line
                raise cut
            if not block:
                return
            left = None if left is None else left - len(block)


def beginning_of(opened: Opened, n_bytes: int) -> bytes:
    """Read the beginning of a file that is being read, or was; where reading stands stays the same."""
    stream = opened.stream
    if stream.closed or not stream.seekable():
        with open_utf8(opened.path) as again:
            return _piece(again, n_bytes)
    here = stream.tell()
    stream.seek(0)
    data = _piece(stream, n_bytes)
    stream.seek(here)
    return data


def pieces_of(opened: Opened) -> Iterator[bytes]:
    """Read a file a few megabytes at a time, wherever its lines end; it stays open.

    Raises:
        ArchiveCut: behind the last byte of an archive that breaks off.
    """
    while piece := _piece(opened.stream, BLOCK_BYTES):
        yield piece


def _whole_lines(stream: io.BufferedReader, n_bytes: int) -> tuple[bytes, ArchiveCut | None]:
    """Read so many bytes and the rest of the line they end in; the error, where an archive breaks off on the way."""
    block = b""
    try:
        block = _piece(stream, n_bytes)
        return (block, None) if block.endswith(b"\n") else (block + stream.readline(), None)
    except ArchiveCut as cut:
        return block[: block.rfind(b"\n") + 1], cut


def _piece(stream: io.BufferedReader, n_bytes: int) -> bytes:
    """Read so many bytes, or what is left; ``stream.read`` would lose what it has when an archive breaks off."""
    parts: list[bytes] = []
    while n_bytes > 0:
        try:
            part = stream.read1(n_bytes)
        except ArchiveCut:
            if parts:  # it is raised again at the next call
                break
            raise
        if not part:
            break
        parts.append(part)
        n_bytes -= len(part)
    return b"".join(parts)


def is_seekable(path: str) -> bool:
    """Say whether a file can be entered in the middle: no archive, UTF-16, address on the Hub, or standard input."""
    if path == STDIN or is_hub(path):
        return False
    with Path(path).open("rb") as stream:
        head = stream.peek(4)
        return bool(head) and packing(stream) is None and bom_encoding(head) is None


def _cuts(file: BinaryIO, n_bytes: int, size_bytes: int) -> list[int]:
    """Find the offsets at which slices begin, and the file's end."""
    cuts = [0]
    while (target := cuts[-1] + size_bytes) < n_bytes:
        cuts.append(_next_line(file, target))
    return cuts if cuts[-1] == n_bytes else [*cuts, n_bytes]


def _next_line(file: BinaryIO, offset: int) -> int:
    """Find the first beginning of a line from an offset on."""
    if offset == 0:
        return 0
    file.seek(offset - 1)  # a line break right before it is the nearest one
    file.readline()
    return file.tell()


def _count_breaks(file: BinaryIO, start: int, end: int) -> int:
    import numpy as np  # counts five times as fast as bytes do

    file.seek(start)
    count, left = 0, end - start
    while left > 0 and (block := file.read(min(_COUNTED_BYTES, left))):
        count += int(np.count_nonzero(np.frombuffer(block, np.uint8) == _BREAK))
        left -= len(block)
    return count
