"""The bytes of a file, out of whatever archive and encoding it is in.

A gzip, bzip2 or Zstandard archive is known by its first bytes, not by its name. A cut archive never ends in silence,
as with the usual readers of Zstandard: a training set that lost its second half would look like a small one. What
stands before the break is given, then :class:`ArchiveCut` is raised.
"""

import bz2
import codecs
import gzip
import io
import sys
import zlib
from contextlib import ExitStack
from typing import Protocol

import zstandard

from formtune.errors import DataError, SettingError
from formtune.sources.hub import is_hub, open_hub

BUFFER_BYTES = 1 << 16
_BREAK = b"\n"
STDIN = "-"
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstandard", b"\x50\x2a\x4d\x18": "zstandard"}
_KNOWN = {b"PK\x03\x04": "a zip archive", b"\xfd7zXZ": "an xz archive", b"\x89PNG": "an image", b"%PDF": "a PDF"}
_CONTROL = bytes({*range(32)} - {*b"\t\n\v\f\r\x1b"})
_BOMS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class _Readable(Protocol):
    def read1(self, size: int, /) -> bytes:
        """Unpack some bytes, at most so many; none at the end."""


class ArchiveCut(DataError):
    """The end of an archive is missing.

    Attributes:
        line: the line behind the last whole row; None where nobody counted lines.
    """

    line: int | None = None


class _Frames:
    """Zstandard frames one after another; one that is cut raises EOFError."""

    def __init__(self, packed: io.BufferedReader) -> None:
        self._packed = packed
        self._context = zstandard.ZstdDecompressor()
        self._frame = self._context.decompressobj()
        self._inside = False
        self._ready = io.BytesIO()

    def read1(self, size: int) -> bytes:
        out = self._ready.read(size)
        while not out and self._unpack_more():
            out = self._ready.read(size)
        return out

    def _unpack_more(self) -> bool:
        packed = self._packed.read(BUFFER_BYTES)
        if not packed:
            if self._inside:
                raise EOFError
            return False
        unpacked = []
        while packed:
            unpacked.append(self._frame.decompress(packed))
            self._inside = not self._frame.eof
            packed = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame = self._context.decompressobj()
        self._ready = io.BytesIO(b"".join(unpacked))
        return True


class _Unpacked(io.RawIOBase):
    """What an archive holds; whatever is wrong with the archive becomes a DataError that names it."""

    def __init__(self, inner: _Readable, packed: io.BufferedReader, place: str) -> None:
        self._inner = inner
        self._packed = packed
        self._place = place

    def close(self) -> None:
        self._packed.close()
        super().close()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Unpack until the buffer is full; an archive that breaks off is told once nothing more comes."""
        n_filled = 0
        try:
            while n_filled < len(buffer) and (chunk := self._inner.read1(len(buffer) - n_filled)):
                buffer[n_filled : n_filled + len(chunk)] = chunk
                n_filled += len(chunk)
        except EOFError as error:
            if not n_filled:  # the next call comes here again
                raise ArchiveCut(
                    "The archive ends too early: a part of it is missing.", "Copy or make it again.", at=self._place
                ) from error
        except (OSError, zlib.error, zstandard.ZstdError) as error:
            raise DataError(f"The archive is damaged ({error}).", "Copy or make it again.", at=self._place) from error
        return n_filled


def open_bytes(path: str) -> io.BufferedReader:
    """Open a file, standard input (``-``) or a file on the Hub, unpacked.

    Raises:
        DataError: when the path is not a readable file; while reading, when an archive is cut or damaged.
    """
    packed = _open_packed(path)
    match packing(packed):
        case "gzip":
            return _guard(gzip.GzipFile(fileobj=packed), packed, path)
        case "bzip2":
            return _guard(bz2.BZ2File(packed), packed, path)
        case "zstandard":
            return _guard(_Frames(packed), packed, path)
        case _:
            return packed


def packing(stream: io.BufferedReader) -> str | None:
    """Name the archive that a stream begins with, without moving on in it; None for no archive."""
    head = stream.peek(4)
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)


def open_utf8(path: str, *, encoding: str | None = None) -> io.BufferedReader:
    """Open a text file as UTF-8 bytes without a byte order mark; a Parquet file comes through as it is.

    UTF-16 and UTF-32 are known by their byte order mark; anything else that is not UTF-8 needs ``encoding``.
    Text in another encoding is read into memory as a whole.

    Raises:
        DataError: when the file is empty, holds binary data, or is not in the encoding.
        SettingError: when there is no such encoding.
    """
    with ExitStack() as closing:
        stream = closing.enter_context(open_bytes(path))
        head = stream.peek(BUFFER_BYTES)
        if not head:
            raise DataError("The file is empty.", "Give a file that holds records.", at=path)
        name = _codec(encoding) if encoding else bom_encoding(head)
        if name not in (None, "utf-8", "utf-8-sig", "ascii") and not head.startswith(b"PAR1"):
            return io.BufferedReader(io.BytesIO(_recode(stream.read(), name, path)), BUFFER_BYTES)
        if _is_binary(head) and not head.startswith(b"PAR1"):
            raise _binary(head, path)
        if head.startswith(codecs.BOM_UTF8):
            stream.read(len(codecs.BOM_UTF8))
        closing.pop_all()
        return stream


def bom_encoding(head: bytes) -> str | None:
    """Name the encoding that a byte order mark announces; None for UTF-8 and for no mark."""
    return next((name for mark, name in _BOMS.items() if head.startswith(mark)), None)


def decode(block: bytes, path: str, *, first_line: int = 1) -> str:
    """Decode UTF-8 bytes that begin at the start of a line.

    Raises:
        DataError: when a byte is not UTF-8; it names the line and the byte.
    """
    try:
        return block.decode()
    except UnicodeDecodeError as error:
        line = first_line + block.count(b"\n", 0, error.start)
        place = error.start - block.rfind(b"\n", 0, error.start)
        raise DataError(
            f"Byte {place} of the line, {block[error.start]:#04x}, is not UTF-8.",
            "Save the file as UTF-8, or name its encoding, for instance --encoding latin-1.",
            at=f"{path}:{line}",
        ) from error


def _open_packed(path: str) -> io.BufferedReader:
    if path == STDIN:
        return io.BufferedReader(io.BytesIO(sys.stdin.buffer.read()), BUFFER_BYTES)
    if is_hub(path):
        return io.BufferedReader(open_hub(path), BUFFER_BYTES)
    try:
        return io.BufferedReader(io.FileIO(path), BUFFER_BYTES)
    except OSError as error:
        raise DataError(
            f"The file cannot be opened ({error.strerror}).", "Check the path and its rights.", at=path
        ) from error


def _guard(inner: _Readable, packed: io.BufferedReader, path: str) -> io.BufferedReader:
    return io.BufferedReader(_Unpacked(inner, packed, path), BUFFER_BYTES)


def _codec(encoding: str) -> str:
    try:
        return codecs.lookup(encoding).name
    except LookupError as error:
        raise SettingError(
            f"There is no encoding {encoding!r}.", "Name one like latin-1, gb18030, big5 or utf-16.", at="--encoding"
        ) from error


def _recode(data: bytes, encoding: str | None, path: str) -> bytes:
    assert encoding is not None
    try:
        return data.decode(encoding).removeprefix("\ufeff").encode()
    except UnicodeError as error:
        start = error.start if isinstance(error, UnicodeDecodeError) else 0
        raise DataError(
            f"The byte at offset {start} is not {encoding}.", "Name the file's own encoding with --encoding.", at=path
        ) from error


def _is_binary(head: bytes) -> bool:
    """Say whether bytes are no text: a zero byte in the first line, or more control characters than stray ones.

    Zero bytes further down are what a crash leaves in a file that is being written; they are told by their line.
    """
    n_zero = head.count(b"\0")
    first = head[: head.find(b"\n") + 1] or head
    if n_zero and (b"\0" in first or not _is_utf8(first) or head.startswith(tuple(_KNOWN))):
        return True
    n_control = len(head) - len(head.translate(None, delete=_CONTROL)) - n_zero
    return n_control * 50 > len(head)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _binary(head: bytes, path: str) -> DataError:
    what = next((name for magic, name in _KNOWN.items() if head.startswith(magic)), "binary data")
    zero = head.find(b"\0")
    at, column = path, ""
    if zero >= 0:
        at = f"{path}:{head.count(_BREAK, 0, zero) + 1}"
        column = f" (column {zero - head.rfind(_BREAK, 0, zero)} is a zero byte)"
    return DataError(
        f"The file holds {what}, not text{column}.",
        "Give csv, tsv, json, jsonl, parquet or text (plain or as gz, bz2, zst); UTF-16 without a byte order mark"
        " needs --encoding utf-16-le.",
        at=at,
    )
