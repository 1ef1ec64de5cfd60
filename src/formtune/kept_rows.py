"""Rows that stay in memory between two readings of a slice."""

from collections.abc import Hashable, Sequence

from formtune.records import LeftOut, Record

Rows = Sequence[Sequence[Record | LeftOut]]


class KeptRows:
    """Rows of slices that were read to find out what the whole data set asks for, and will be prepared next.

    The last ones met are kept, of up to so many bytes of text; of the others the files are read again. What is kept is
    known by the digest of the slice, so that a file that has changed meanwhile is read again as well.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: dict[Hashable, tuple[Rows, int]] = {}

    def put(self, key: Hashable, rows: Rows, n_bytes: int) -> None:
        """Keep rows; the oldest make room."""
        self._kept[key] = rows, n_bytes
        while sum(n for _, n in self._kept.values()) > self._most_bytes:
            del self._kept[next(iter(self._kept))]

    def take(self, key: Hashable) -> Rows | None:
        """Give rows away, or None where they are not here."""
        rows, _ = self._kept.pop(key, (None, 0))
        return rows
