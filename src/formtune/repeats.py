"""Which of very many keys stand again, and for the how-manieth time, in memory that does not grow with them.

Keys are sorted on disk by ranges: each lot of them is sorted in memory and written down, and then one range after the other
is taken from all lots together. Arrays are [N].
"""

from array import array
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import numpy as np

_LOT = 1 << 16  # keys that are sorted in memory at once
_N_RANGES = 64
_ITEM_BYTES = 8


class _Sorted:
    """Pairs of whole numbers on disk, given back in the order of the first; those of one first in the order they came in."""

    def __init__(self, folder: Path | None, *, below: int) -> None:
        import numpy as np  # a tenth of a second to import

        self._file = TemporaryFile(dir=folder)  # noqa: SIM115 (closed by close)
        self._inner_edges = np.array([below * n // _N_RANGES for n in range(1, _N_RANGES)], np.uint64)
        self._lots: list[tuple[int, np.ndarray]] = []  # where each begins, and its ranges in it

    def close(self) -> None:
        self._file.close()

    def extend(self, firsts_N: "np.ndarray", seconds_N: "np.ndarray") -> None:
        """Take pairs."""
        import numpy as np

        order_N = np.argsort(firsts_N, kind="stable")
        sorted_N = firsts_N[order_N]
        edges = np.concatenate(([0], np.searchsorted(sorted_N, self._inner_edges), [len(sorted_N)]))
        self._lots.append((self._file.seek(0, 2), edges))
        self._file.write(np.stack([sorted_N, seconds_N[order_N]], axis=1).tobytes())

    def ranges(self) -> "Iterator[tuple[np.ndarray, np.ndarray]]":
        """Give the pairs, one range of firsts after the other."""
        import numpy as np

        for n in range(_N_RANGES):
            pairs_N2 = np.concatenate([self._read(begin, edges[n], edges[n + 1]) for begin, edges in self._lots])
            order_N = np.argsort(pairs_N2[:, 0], kind="stable")
            yield pairs_N2[order_N, 0], pairs_N2[order_N, 1]

    def _read(self, begin: int, start: int, end: int) -> "np.ndarray":
        import numpy as np

        self._file.seek(begin + int(start) * 2 * _ITEM_BYTES)
        data = self._file.read(int(end - start) * 2 * _ITEM_BYTES)
        return np.frombuffer(data, np.uint64).reshape(-1, 2)


class Repeats:
    """Counts keys of 64 bits that belong to numbered things.

    Args:
        folder: on whose disk they are kept for a while; None for the usual one.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._keys, self._numbers = array("Q"), array("Q")
        self._by_key: _Sorted | None = None
        self._again: _Sorted | None = None
        self._n_distinct = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        for pairs in (self._by_key, self._again):
            if pairs is not None:
                pairs.close()

    def append(self, key: int, number: int) -> None:
        """Take the key of a thing; numbers ascend."""
        self._keys.append(key)
        self._numbers.append(number)
        if len(self._keys) >= _LOT:
            self._put_down()

    def n_distinct(self) -> int:
        """Count the keys that differ; none can be taken any more."""
        self._settle()
        return self._n_distinct

    def again(self) -> Iterator[tuple[int, int]]:
        """Give the number of each thing whose key stood before, and the how-manieth it is; none can be taken any more."""
        self._settle()
        for numbers_N, counts_N in self._again.ranges() if self._again else ():
            yield from zip(numbers_N.tolist(), counts_N.tolist(), strict=True)

    def _put_down(self) -> None:
        import numpy as np

        self._by_key = self._by_key or _Sorted(self._folder, below=1 << 64)
        self._by_key.extend(np.frombuffer(self._keys, np.uint64), np.frombuffer(self._numbers, np.uint64))
        self._last = self._numbers[-1]
        self._keys, self._numbers = array("Q"), array("Q")

    def _settle(self) -> None:
        """Number the things of one key, range by range, and bring those that stand again into the order of things."""
        import numpy as np

        if self._keys:
            self._put_down()
        if self._by_key is None or self._again is not None:
            return
        self._again = _Sorted(self._folder, below=self._last + 1)
        for keys_N, numbers_N in self._by_key.ranges():
            if not len(keys_N):
                continue
            is_first_N = np.concatenate(([True], keys_N[1:] != keys_N[:-1]))
            places_N = np.arange(len(keys_N))
            counts_N = places_N - np.maximum.accumulate(np.where(is_first_N, places_N, 0)) + 1
            self._n_distinct += int(is_first_N.sum())
            self._again.extend(numbers_N[~is_first_N], counts_N[~is_first_N].astype(np.uint64))
