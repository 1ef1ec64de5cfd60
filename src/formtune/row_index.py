"""Keys of 128 bits → rows, for many keys at once: sorted arrays, since a dictionary would cost a step for each token."""

from dataclasses import dataclass

import numpy as np

_TIDY_AFTER = 8  # searches in a row that found several runs and nothing new: then one run is worth making


@dataclass(frozen=True, slots=True)
class _Run:
    """Keys in the order of their first half, and the row of each."""

    first_N: np.ndarray
    second_N: np.ndarray
    rows_N: np.ndarray


class RowIndex:
    """Which row holds the state of a key; of two rows for one key, the one that was added last.

    The keys are in runs, each sorted, and runs of about equal length are merged, so that adding N keys piece by piece
    costs N log N in all (O'Neil et al. 1996, "The log-structured merge-tree").
    """

    def __init__(self) -> None:
        self._runs: list[_Run] = []
        self._n_searches = 0

    def add(self, keys_N2: np.ndarray, rows_N: np.ndarray) -> None:
        """Note the row of each key."""
        self._n_searches = 0
        run = _sorted(keys_N2[:, 0], keys_N2[:, 1], rows_N)
        while self._runs and len(self._runs[-1].rows_N) <= 2 * len(run.rows_N):
            run = _merged([self._runs.pop(), run])
        self._runs.append(run)

    def find(self, keys_N2: np.ndarray) -> np.ndarray:
        """Give the row of each key: int64 ``[N]``, -1 where there is none.

        Two keys that agree in their first half alone (one pair among 2^64) hide one another: the hidden one is not found.
        """
        self._tidy()
        rows_N = np.full(len(keys_N2), -1, dtype=np.int64)
        for run in self._runs:
            at_N = np.maximum(np.searchsorted(run.first_N, keys_N2[:, 0], side="right") - 1, 0)
            same_N = (run.first_N[at_N] == keys_N2[:, 0]) & (run.second_N[at_N] == keys_N2[:, 1])
            rows_N[same_N] = run.rows_N[at_N[same_N]]
        return rows_N

    def _tidy(self) -> None:
        self._n_searches += 1
        if self._n_searches > _TIDY_AFTER and len(self._runs) > 1:
            self._runs = [_merged(self._runs)]


def _merged(runs: list[_Run]) -> _Run:
    parts = ([run.first_N for run in runs], [run.second_N for run in runs], [run.rows_N for run in runs])
    first_N, second_N, rows_N = (np.concatenate(part) for part in parts)
    return _sorted(first_N, second_N, rows_N)


def _sorted(first_N: np.ndarray, second_N: np.ndarray, rows_N: np.ndarray) -> _Run:
    order = np.argsort(first_N, kind="stable")  # of equal keys the last added stays last
    return _Run(first_N[order], second_N[order], rows_N[order])
