"""What a state depends on, as a number of 128 bits: equal numbers, equal states.

In a causal model the state at a place depends on the tokens up to it and on nothing else, so places of equal paths have
equal keys wherever they stand: in a whole example, in a beginning that several share, in a prompt behind which other
words are scored. Where a model sees both ways, a state depends on its whole segment and on its place in it.

Each token at its position counts a pseudo-random number (the finalizer of splitmix64: Steele et al. 2014, "Fast
splittable pseudorandom number generators"), and the numbers of a path add up: Zobrist's hashing (1970) with sums, which
are prefix sums of the row. Two of them, of 64 bits each, are a key.

Shape letters: T tokens of the row, S segments.
"""

import numpy as np

from formtune.batches import Batch

_STEP = np.uint64(0x9E3779B97F4A7C15)
_SALTS_2 = np.array([0x243F6A8885A308D3, 0x13198A2E03707344], dtype=np.uint64)


def place_keys(batch: Batch, *, causal: bool) -> np.ndarray:
    """Name what the state at each place depends on.

    Args:
        batch: one flat row; a segment's parent stands before it.
        causal: whether a place sees only what stands before it in its path.

    Returns:
        uint64 ``[T, 2]``.
    """
    sums_T2, ends_S2 = _sums(batch, causal=causal)
    if causal:
        return _mixed(sums_T2)
    lengths_S = batch.ends_S - batch.starts_S
    return _mixed(np.repeat(ends_S2, lengths_S, axis=0) + _steps(batch.positions_T))


def segment_keys(batch: Batch) -> np.ndarray:
    """Name what a state of each whole segment (its pooled state) depends on: uint64 ``[S, 2]``."""
    _, ends_S2 = _sums(batch, causal=False)
    return _mixed(ends_S2 + _steps(batch.starts_S - batch.ends_S))


def _sums(batch: Batch, *, causal: bool) -> tuple[np.ndarray, np.ndarray]:
    """Add up the numbers of each place's path, and of each segment's.

    Where both ways are seen, what stands before a segment is mixed first: the states of its places are others than
    those of the same tokens in one segment.
    """
    places = (batch.positions_T.astype(np.uint64) << np.uint64(40)) | (batch.types_T.astype(np.uint64) << np.uint64(32))
    numbers_T2 = _mixed((places | batch.ids_T.astype(np.uint64))[:, None] + _SALTS_2)
    sums_T2 = np.cumsum(numbers_T2, axis=0, dtype=np.uint64)
    before_S2 = sums_T2[batch.starts_S] - numbers_T2[batch.starts_S]
    own_S2 = sums_T2[batch.ends_S - 1] - before_S2
    carried_S2 = np.zeros_like(own_S2)
    for segment in np.flatnonzero(batch.parents_S >= 0):
        parent = batch.parents_S[segment]
        path_2 = carried_S2[parent] + own_S2[parent]
        carried_S2[segment] = path_2 if causal else _mixed(path_2)
    sums_T2 += np.repeat(carried_S2 - before_S2, batch.ends_S - batch.starts_S, axis=0)
    return sums_T2, own_S2 + carried_S2


def _steps(counts: np.ndarray) -> np.ndarray:
    return (counts.astype(np.uint64) * _STEP)[:, None]


def _mixed(values: np.ndarray) -> np.ndarray:
    """Spread every bit over all others, one to one; sums and products go round at 2^64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = values ^ (values >> np.uint64(31))
    return mixed
