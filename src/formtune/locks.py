"""Files that one process holds alone: the end of a process, whatever ends it, gives them free."""

import fcntl
import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from formtune.errors import SettingError

_ALIVE = "alive"


def hold_alone(file: IO[Any], *, at: Path, busy: str, remedy: str) -> None:
    """Hold an open file until it is closed.

    Args:
        file: open for writing.
        at: the place that an error names.
        busy: the problem where another process holds it, a sentence.
        remedy: what then helps.

    Raises:
        SettingError: where another process holds it, or the file system knows no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SettingError(busy, remedy, at=at) from error
    except OSError as error:
        raise SettingError(
            f"Nothing can be locked here ({error.strerror}).", "Give an --out on a local disk.", at=at
        ) from error


@contextmanager
def held_folder(folder: Path, name: str, *, keeps: str, busy: str) -> Iterator[None]:
    """Hold a folder of unfinished work, made where it is not there, for this process alone.

    Args:
        folder: which.
        name: of the file in it that is held.
        keeps: what is kept in it, a word.
        busy: the problem where another process holds it, a sentence.

    Raises:
        SettingError: where another process holds it, or it cannot be written.
    """
    lock = _held(folder, name, keeps=keeps, busy=busy)
    while not _stands(lock, folder / name):  # who held it before has removed the folder meanwhile
        lock.close()
        lock = _held(folder, name, keeps=keeps, busy=busy)
    with lock:
        yield


def _held(folder: Path, name: str, *, keeps: str, busy: str) -> IO[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / name).open("a", encoding="utf-8")
    except OSError as error:
        raise SettingError(
            f"No {keeps} can be kept here ({error.strerror}).", "Give an --out that you may write to.", at=folder
        ) from error
    try:
        hold_alone(lock, at=folder, busy=busy, remedy="Wait for it, or give another --out.")
    except SettingError:
        lock.close()
        raise
    return lock


def _stands(file: IO[Any], place: Path) -> bool:
    """Say whether an open file is the one that stands at a place."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), place.stat())
    except FileNotFoundError:
        return False


@contextmanager
def passing_folder(parent: Path, name: str) -> Iterator[Path]:
    """Give a hidden folder that lasts for a while; those of the same name that killed processes left are removed.

    Args:
        parent: where it stands.
        name: what it is for.

    Raises:
        OSError: where it cannot be made.
    """
    for left in parent.glob(f".{glob.escape(name)}.*/{_ALIVE}"):
        with suppress(OSError), left.open("r+b") as lock:  # held by who lives, or on a file system that knows no locks
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if lock.read(1):  # else its process has made it, and will hold it
                shutil.rmtree(left.parent)
    with TemporaryDirectory(dir=parent, prefix=f".{name}.") as place, (Path(place) / _ALIVE).open("w+b") as lock:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock.write(b"1")
        lock.flush()
        made = Path(place) / "made"
        made.mkdir()
        yield made
