"""The folder of kept states: a folder for each frozen bottom, how large all may become, and what goes first.

Everything that changes the folder does so under one lock, so that processes do not get in each other's way, and sizes
add up. Whoever uses a bottom's folder holds a lock on it that several may share; what nobody holds may be removed.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from formtune.model_files import cache_folder

ABOUT = "about.json"
IN_USE = "in-use"
FREE_BYTES = 2 << 30  # of the disk, left to everything else


@dataclass(frozen=True, slots=True)
class Kept:
    """The kept states of one frozen bottom.

    Attributes:
        folder: where they are.
        about: what they depend on.
        size_bytes: on disk.
        used_s: when they were last used, in seconds since 1970.
    """

    folder: Path
    about: dict[str, Any]
    size_bytes: int
    used_s: float

    def to_dict(self) -> dict[str, Any]:
        """Give what a person wants to know, as plain values."""
        used = datetime.fromtimestamp(self.used_s, UTC).isoformat(timespec="seconds")
        told = {key: self.about.get(key) for key in ("model", "boundary", "blocks", "precision")}
        return {**told, "size_mb": round(self.size_bytes / 1e6, 1), "used": used, "folder": str(self.folder)}


def states_folder() -> Path:
    """Give the folder of all kept states."""
    return cache_folder() / "trunk"


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Wait until no other process changes the folder, and keep others from it; the end of a process ends its lock."""
    root.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def use(folder: Path) -> int:
    """Hold a bottom's folder, so that nobody removes it, until the descriptor that this gives is closed."""
    descriptor = os.open(folder / IN_USE, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    os.utime(descriptor)
    return descriptor


def kept(root: Path) -> list[Kept]:
    """List what is kept, last used first."""
    if not root.is_dir():
        return []
    found = [_kept(path) for path in root.iterdir() if path.is_dir()]
    return sorted(found, key=lambda one: -one.used_s)


def _kept(folder: Path) -> Kept:
    size_bytes, used_s, about = 0, 0.0, {}
    try:
        size_bytes = sum(path.stat().st_size for path in folder.iterdir())
        used_s = (folder / IN_USE).stat().st_mtime
        about = json.loads((folder / ABOUT).read_bytes())
    except (OSError, ValueError):  # another process is removing it, or one was ended while making it
        pass
    return Kept(folder, about, size_bytes, used_s)


def make_room(root: Path, own: Path, size_bytes: int, *, limit_bytes: int) -> bool:
    """Remove what was not used for longest until so many bytes more fit; called under the lock.

    Args:
        root: of all kept states.
        own: the folder that is to grow; it stays.
        size_bytes: by how much.
        limit_bytes: how large everything may be.

    Returns:
        Whether they fit, into the limit and on the disk.
    """
    found = kept(root)
    others = [one for one in found if one.folder != own]
    total = sum(one.size_bytes for one in found)
    while total + size_bytes > limit_bytes or shutil.disk_usage(root).free < size_bytes + FREE_BYTES:
        removed = next((one for one in reversed(others) if _removed(one.folder)), None)
        if removed is None:
            return False
        others.remove(removed)
        total -= removed.size_bytes
    return True


def cleared(root: Path) -> tuple[list[Kept], list[Kept]]:
    """Remove everything that no process uses.

    Returns:
        What was removed, and what stays.
    """
    if not root.is_dir():
        return [], []
    with locked(root):
        found = kept(root)
        removed = [one for one in found if _removed(one.folder)]
    return removed, [one for one in found if one not in removed]


def _removed(folder: Path) -> bool:
    """Remove a bottom's folder, unless somebody uses it."""
    try:
        descriptor = os.open(folder / IN_USE, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    except OSError:  # in use (BlockingIOError), or not ours to remove
        return False
    finally:
        os.close(descriptor)
    return True
