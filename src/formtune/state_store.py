"""States on disk, a row each, found by the key of what they depend on; written once, never changed.

Three files grow at their ends: ``states`` (the rows), ``keys`` (16 bytes a row) and ``commits`` (32 bytes for each piece
that was written: where its rows are, and checksums). A commit is written last, so that a process that is ended at any
moment leaves a piece whole or absent; what it had begun to write stays as a gap, and nobody writes there again. Several
processes may write: one at a time, under the lock of :mod:`formtune.state_folder`, each behind what is there. A piece
is checked against its checksum when a process reads of it for the first time; a damaged one counts as absent.

Shape letters: N rows, D numbers of a row.
"""

import errno
import json
import os
import weakref
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from formtune.errors import SettingError
from formtune.row_index import RowIndex
from formtune.state_folder import ABOUT, locked, make_room, use

_MAGIC = 0x6B657074
_COMMIT = np.dtype(
    [("first", "<u8"), ("n", "<u8"), ("states", "<u4"), ("keys", "<u4"), ("magic", "<u4"), ("sum", "<u4")]
)
_KEY_BYTES = 16


class StateStore:
    """The kept states of one frozen bottom.

    Attributes:
        folder: where they are.
        dtype: of their numbers; bfloat16 is kept as uint16.
        row_bytes: bytes of one state.
        size_bytes: of the rows that are there.
        n_damaged: rows that were there and did not agree with their checksum.
        full: why nothing more is kept; empty while there is room.
    """

    def __init__(
        self, folder: Path, about: Mapping[str, Any], *, width: int, dtype: np.dtype[Any], limit_bytes: int
    ) -> None:
        """Open what is there; nothing is written before something is kept.

        Args:
            folder: of this bottom, inside the folder of all kept states; made when the first states come.
            about: what the states depend on, for people to read.
            width: numbers of a row.
            dtype: of its numbers.
            limit_bytes: how large everything beside the folder and in it may become.

        Raises:
            SettingError: where the folder cannot be written, or not be made.
        """
        self.folder = folder
        self.n_damaged = 0
        self.full = ""
        self.dtype = dtype
        self._about = about
        self._limit_bytes = limit_bytes
        self._width = width
        self.row_bytes = width * dtype.itemsize
        self._index = RowIndex()
        self._commits = np.zeros(0, dtype=_COMMIT)
        self._checked = np.zeros(0, dtype=np.int8)  # 0 not yet, 1 whole, -1 damaged
        self._n_read = 0
        self._map = np.zeros((0, width), dtype=dtype)
        self._files: dict[str, int] = {}
        self._close = weakref.finalize(self, _closed, self._files)
        try:
            _check_writable(folder.parent)
            self._refresh()
        except OSError as error:
            raise SettingError(
                f"What the frozen bottom gives cannot be kept in {str(folder)!r} ({error.strerror or error}).",
                "Let FORMTUNE_CACHE name a folder that you may write to, or set model.cache_trunk to false.",
                at="model.cache_trunk",
            ) from error

    @property
    def size_bytes(self) -> int:
        """Bytes of the rows that are there."""
        return int(self._commits["n"].sum()) * self.row_bytes

    def find(self, keys_N2: np.ndarray) -> np.ndarray:
        """Find the rows of keys, checked: int64 ``[N]``, -1 where a state is not there."""
        rows_N = self._index.find(keys_N2)
        if (rows_N < 0).any() and self._refresh():
            rows_N = self._index.find(keys_N2)
        known = np.flatnonzero(rows_N >= 0)
        if len(known):
            commits = np.searchsorted(self._commits["first"], rows_N[known].astype(np.uint64), side="right") - 1
            if (self._checked[commits] != 1).any():
                self._check(np.unique(commits))
                rows_N[known[self._checked[commits] < 0]] = -1
        return rows_N

    def read(self, rows_N: np.ndarray) -> np.ndarray:
        """Copy rows that :meth:`find` gave out of the file: ``[N, D]``."""
        found: np.ndarray = self._map.take(rows_N, axis=0)
        return found

    def keep(self, keys_N2: np.ndarray, states_ND: np.ndarray) -> None:
        """Write states that are not there yet, if there is room; no key may come twice.

        What cannot be written is no error: it is computed again the next time.
        """
        if self.full or not len(keys_N2):
            return
        try:
            with locked(self.folder.parent):
                self._open()
                new = np.flatnonzero(self.find(keys_N2) < 0)  # another process may have been faster
                if len(new):
                    self._write(np.ascontiguousarray(keys_N2[new]), np.ascontiguousarray(states_ND[new]))
        except OSError as error:
            self.full = f"writing failed ({error.strerror or error})"

    def close(self) -> None:
        """Let go of the files."""
        self._map = self._map[:0].copy()
        self._close()

    def _write(self, keys_N2: np.ndarray, states_ND: np.ndarray) -> None:
        size_bytes = len(keys_N2) * (self.row_bytes + _KEY_BYTES) + 2 * _COMMIT.itemsize
        if not make_room(self.folder.parent, self.folder, size_bytes, limit_bytes=self._limit_bytes):
            self.full = "there is no room left (model.cache_gb, or the disk)"
            return
        first = max(_rows(self._files["states"], self.row_bytes), _rows(self._files["keys"], _KEY_BYTES))
        commit = np.array(
            [(first, len(keys_N2), zlib.crc32(states_ND.data), zlib.crc32(keys_N2.data), _MAGIC, 0)], dtype=_COMMIT
        )
        commit["sum"] = _sum(commit[0])
        try:
            _put(self._files["states"], states_ND, first * self.row_bytes)
            _put(self._files["keys"], keys_N2, first * _KEY_BYTES)
            _put(self._files["commits"], commit, _rows(self._files["commits"], _COMMIT.itemsize) * _COMMIT.itemsize)
        except OSError:
            os.ftruncate(self._files["states"], first * self.row_bytes)  # nobody was told of these rows
            raise
        os.utime(self._files["in-use"])
        self._refresh(own=True)

    def _open(self) -> None:
        """Open the files if they are not yet, made where they are missing; called under the lock."""
        if not self._files:
            self._files.update(_opened(self.folder, self._about))

    def _is_open(self) -> bool:
        """Open the files if some process has made them, and say whether they are open."""
        if not self._files and (self.folder / ABOUT).is_file():
            with locked(self.folder.parent):
                if (self.folder / ABOUT).is_file():  # nobody has removed them meanwhile
                    self._open()
        return bool(self._files)

    def _refresh(self, *, own: bool = False) -> bool:
        """Read what was committed since the last time, by whatever process; say whether anything was."""
        if not self._is_open():
            return False
        n_there = os.fstat(self._files["commits"]).st_size // _COMMIT.itemsize
        if n_there <= self._n_read:
            return False
        n_bytes = (n_there - self._n_read) * _COMMIT.itemsize
        raw = os.pread(self._files["commits"], n_bytes, self._n_read * _COMMIT.itemsize)
        self._n_read = n_there
        n_rows = os.fstat(self._files["states"]).st_size // self.row_bytes
        whole = [commit for commit in np.frombuffer(raw, dtype=_COMMIT) if self._noted(commit, n_rows)]
        if whole:
            self._commits = np.concatenate([self._commits, np.array(whole, dtype=_COMMIT)])
            self._checked = np.concatenate([self._checked, np.full(len(whole), int(own), dtype=np.int8)])
            shape = (n_rows, self._width)
            self._map = np.memmap(self.folder / "states", dtype=self.dtype, mode="r", shape=shape).view(np.ndarray)
        return bool(whole)

    def _noted(self, commit: np.void, n_rows: int) -> bool:
        """Take up the keys of a commit, if it and they are whole."""
        first, n = int(commit["first"]), int(commit["n"])
        if commit["magic"] != _MAGIC or commit["sum"] != _sum(commit):
            return False  # of a process that was ended: it never had rows
        raw = os.pread(self._files["keys"], n * _KEY_BYTES, first * _KEY_BYTES)
        if zlib.crc32(raw) != commit["keys"] or first + n > n_rows:
            self.n_damaged += n
            return False
        self._index.add(np.frombuffer(raw, dtype=np.uint64).reshape(n, 2), np.arange(first, first + n))
        return True

    def _check(self, commits: np.ndarray) -> None:
        """Compare pieces with their checksums, those that were not yet."""
        for place in commits[self._checked[commits] == 0]:
            first, n = int(self._commits["first"][place]), int(self._commits["n"][place])
            whole = zlib.crc32(self._map[first : first + n].data) == self._commits["states"][place]
            self._checked[place] = 1 if whole else -1
            self.n_damaged += 0 if whole else n


def _opened(folder: Path, about: Mapping[str, Any]) -> dict[str, int]:
    """Open the files of a bottom, made where they are missing; called under the lock."""
    folder.mkdir(exist_ok=True)
    files = {"in-use": use(folder)}
    if not (folder / ABOUT).is_file():
        staging = folder / f".{ABOUT}.part"
        staging.write_text(json.dumps(dict(about), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        staging.rename(folder / ABOUT)
    for name in ("states", "keys", "commits"):
        files[name] = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o644)
    return files


def _closed(files: Mapping[str, int]) -> None:
    for descriptor in files.values():
        os.close(descriptor)


def _check_writable(folder: Path) -> None:
    """Raise the error that making a folder, or a file in it, would end with; nothing is made."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _rows(descriptor: int, row_bytes: int) -> int:
    """Count the rows of a file, one that was begun as well."""
    return -(-os.fstat(descriptor).st_size // row_bytes)


def _put(descriptor: int, values: np.ndarray, offset: int) -> None:
    left = values.reshape(-1).view(np.uint8).data
    while len(left):
        n_written = os.pwrite(descriptor, left, offset)
        left, offset = left[n_written:], offset + n_written


def _sum(commit: np.void) -> int:
    return zlib.crc32(commit.tobytes()[:-4])
