"""Bytes to files that are whole or not there, packed as their names say."""

import bz2
import gzip
import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, cast

import zstandard

from formtune.errors import SettingError
from formtune.sources import STDIN

BLOCK_BYTES = 1 << 20  # of what comes piece by piece, written at once


def check_apart(paths: Iterable[str], out: str, *, at: str) -> None:
    """Refuse to write over what is read, where what did not come through would be lost, or over another result.

    Raises:
        SettingError: where ``out`` is one of the paths; ``at`` is what asks for it.
    """
    if any(path != STDIN and Path(path).resolve() == Path(out).resolve() for path in paths):
        raise SettingError("This file is read or written already.", "Name another one.", at=at)


def save(data: bytes, path: str) -> None:
    """Write a file whole or not at all."""
    with _staged(path, size=len(data)) as file, _told(path):
        file.write(data)


@contextmanager
def blocks(path: str) -> Iterator[Callable[[bytes], None]]:
    """Write a file out of pieces that are collected to blocks; it is whole or not there.

    Raises:
        SettingError: where the file cannot be written; the message names it.
    """
    waiting = io.BytesIO()

    def flush() -> None:
        with _told(path):
            file.write(waiting.getvalue())
        waiting.seek(0)
        waiting.truncate()

    def write(data: bytes) -> None:
        waiting.write(data)
        if waiting.tell() >= BLOCK_BYTES:
            flush()

    with _staged(path) as file:
        yield write
        flush()


@contextmanager
def _staged(path: str, *, size: int = -1) -> Iterator[IO[bytes]]:
    """Open a file beside the path, packed as the path's ending says, that takes its place once all is written.

    Args:
        path: of the file.
        size: bytes that will be written; -1 where nobody knows.
    """
    part = Path(f"{path}.part")
    with ExitStack() as undoing:
        with _told(path):
            raw = part.open("wb")
            undoing.callback(_tried, part.unlink)
            undoing.callback(_tried, raw.close)
            packed = _packed(raw, Path(path).suffix.lower(), size)
            undoing.callback(_tried, packed.close)
        yield packed
        with _told(path):
            packed.close()
            raw.close()
            part.replace(path)
        undoing.pop_all()


def _tried(work: Callable[[], object]) -> None:
    """Do what a full disk may refuse, where it was told already."""
    with suppress(OSError):
        work()


def _packed(raw: IO[bytes], ending: str, size: int) -> IO[bytes]:
    match ending:
        case ".gz":
            return cast(IO[bytes], gzip.GzipFile("", "wb", fileobj=raw, mtime=0))
        case ".bz2":
            return bz2.BZ2File(raw, "wb")
        case ".zst":
            return zstandard.ZstdCompressor().stream_writer(raw, size=size, closefd=False)
    return raw


@contextmanager
def _told(path: str) -> Iterator[None]:
    """Tell the user of what the disk refuses."""
    try:
        yield
    except OSError as error:
        raise SettingError(
            f"The file cannot be written ({error.strerror}).", "Name a folder that exists and is yours.", at=path
        ) from error
