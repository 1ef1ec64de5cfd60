"""Packing over a whole set: which sequences share a row of at most so many tokens.

Only lengths are looked at, all of them at once. Where a set is packed in pieces, the long sequences of one piece never
meet the short ones of another, and every piece ends in packs that are half empty.

Shape letters: N sequences, P packs, L lengths.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

WINDOW = 8192  # sequences that are sorted by length together
STEP = 1.25  # lengths of one side that count as equal where the other decides: measured best of 1.1, 1.25 and 1.5
_NUMBER_BITS = 32  # sequences, packs and lengths are all far fewer than 2 ** 31


@dataclass(frozen=True, slots=True, eq=False)
class Packs:
    """Which sequences share a row.

    Attributes:
        sequences_N: int64, the numbers of the sequences, pack after pack; each stands once.
        ends_P: int64, where in ``sequences_N`` each pack ends; none is empty.
    """

    sequences_N: np.ndarray
    ends_P: np.ndarray

    def __len__(self) -> int:
        """Count the packs."""
        return len(self.ends_P)

    def __getitem__(self, pack: int) -> np.ndarray:
        """Give the numbers of one pack's sequences."""
        start = self.ends_P[pack - 1] if pack else 0
        return self.sequences_N[start : self.ends_P[pack]]


def best_fit(lengths_N: np.ndarray, capacity: int) -> Packs:
    """Pack by best-fit decreasing: the longest first, each into the fullest pack that has room for it.

    The packs are those of the textbook's algorithm (Johnson et al. 1974: at most 11/9 of the fewest packs, and four
    more), with ties by order: of equally long sequences the first goes first, and of equally full packs the one that was
    opened first is taken. What is spared is a search for every sequence. Lengths are whole numbers, so sequences are
    counted by length (as Krell et al. 2021 do); and a pack that takes a sequence is then the fullest, so that one with room
    for ``r`` tokens takes ``r // length`` of them before another is looked at. All packs with equal room are filled at once.

    Args:
        lengths_N: tokens of each sequence.
        capacity: the most tokens of a pack.

    Returns:
        Packs in the order in which they were opened; in each, sequences in the order of their numbers.

    Cost: two sorts of N whole numbers, and a step of array work for every length and every room that it meets.

    Raises:
        ValueError: where a length is below 1 or above the capacity.

    >>> packs = best_fit(np.array([3, 5, 2, 4, 2]), 8)
    >>> [packs[n].tolist() for n in range(len(packs))]
    [[0, 1], [2, 3, 4]]
    """
    lengths_N = _checked(lengths_N, capacity)
    packs_N = np.empty(len(lengths_N), dtype=np.int64)  # of each sequence, the longest first
    rooms = _Rooms(capacity)
    counts_L = np.bincount(lengths_N)
    placed = 0
    for length in np.flatnonzero(counts_L)[::-1].tolist():
        for taken in rooms.place(length, int(counts_L[length])):
            packs_N[placed : placed + len(taken)] = taken
            placed += len(taken)
    longest_first_N = _ranked(capacity - lengths_N, np.arange(len(lengths_N)))
    return Packs(_ranked(packs_N, longest_first_N), np.cumsum(np.bincount(packs_N)))


class _Rooms:
    """Packs by the room that is left in them, each group in the order in which its packs were opened."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._n_opened = 0
        self._sizes: list[int] = []  # ascending, the rooms that some pack has
        self._packs: dict[int, list[np.ndarray]] = {}  # of each room, in ascending pieces

    def place(self, length: int, count: int) -> Iterator[np.ndarray]:
        """Place sequences of one length; give, in turn, the pack of each."""
        while count:
            room = self._least(length)
            each = room // length
            packs = self._take(room, -(-count // each))
            n_placed = min(count, len(packs) * each)
            yield np.repeat(packs, each)[:n_placed]
            n_full, n_more = divmod(n_placed, each)
            self._put(room - each * length, packs[:n_full])
            self._put(room - n_more * length, packs[n_full:])
            count -= n_placed

    def _least(self, length: int) -> int:
        """Find the least room that is enough; an empty pack's where there is none."""
        at = bisect_left(self._sizes, length)
        return self._sizes[at] if at < len(self._sizes) else self._capacity

    def _take(self, room: int, most: int) -> np.ndarray:
        """Take the first packs with so much room, or open new ones."""
        if room == self._capacity:
            self._n_opened += most
            return np.arange(self._n_opened - most, self._n_opened)
        pieces = self._packs.pop(room)
        packs = pieces[0] if len(pieces) == 1 else np.sort(np.concatenate(pieces))
        if len(packs) > most:
            self._packs[room] = [packs[most:]]
        else:
            del self._sizes[bisect_left(self._sizes, room)]
        return packs[:most]

    def _put(self, room: int, packs: np.ndarray) -> None:
        if room and len(packs):
            if room not in self._packs:
                insort(self._sizes, room)
            self._packs.setdefault(room, []).append(packs)


def in_order(lengths_N: np.ndarray, capacity: int) -> Packs:
    """Pack in the order given: each sequence goes into the last pack, or opens the next (next-fit).

    Needs at most twice the fewest packs, and keeps what stands together together: a curriculum, the parts of a document.

    Args:
        lengths_N: tokens of each sequence.
        capacity: the most tokens of a pack.

    Cost: a binary search for every sequence, all in one call, and a step for every pack.

    Raises:
        ValueError: where a length is below 1 or above the capacity.

    >>> in_order(np.array([3, 5, 2, 4, 2]), 8).ends_P.tolist()
    [2, 5]
    """
    lengths_N = _checked(lengths_N, capacity)
    ends_N = np.cumsum(lengths_N)
    next_N = np.searchsorted(ends_N, ends_N - lengths_N + capacity, side="right")  # behind a pack that begins here
    return Packs(np.arange(len(lengths_N)), np.fromiter(_followed(next_N), dtype=np.int64))


def _followed(next_N: np.ndarray) -> Iterator[int]:
    """Go from the first place to the one that it names, and so on to the end."""
    following = next_N.data  # gives whole numbers several times as fast as the array does
    at, end = 0, len(next_N)
    while at < end:
        at = following[at]
        yield at


def of_similar_length(lengths: Sequence[np.ndarray], capacities: Sequence[int], *, window: int = WINDOW) -> Packs:
    """Batch sequences of similar length, for models whose sequences cannot share a row and are padded to equal length.

    So many sequences at a time, in the order given, are sorted by length, the longest first. Those with two sides are
    sorted by the first in steps of a quarter, and within a step by the second, up and down in turn, so that neither
    side jumps from one sequence to the next. A batch ends where one more would be too much: ``n`` sequences count
    ``n`` times the longest of them, on each side. A wide window pads less; a narrow one keeps more of the order given.

    Args:
        lengths: tokens of each sequence: of one side, or of an encoder-decoder's two.
        capacities: the most tokens of a batch, padding counted, on each side.
        window: sequences that are sorted together.

    Cost: a sort of each window, and for every batch a step, with two sides one over its sequences.

    Raises:
        ValueError: where a length is below 1 or above its side's capacity, or the two sides have unequally many.

    >>> of_similar_length([np.array([4, 1, 3, 1])], [6]).sequences_N.tolist()
    [0, 2, 1, 3]
    """
    sides = [_checked(side_N, capacity) for side_N, capacity in zip(lengths, capacities, strict=True)]
    n_sequences = len(sides[0])
    if len(sides[-1]) != n_sequences:
        raise ValueError(
            f"Every sequence needs a length on both sides, and they have {n_sequences} and {len(sides[-1])}."
        )
    sequences_N = np.empty(n_sequences, dtype=np.int64)
    ends: list[int] = []
    for start in range(0, n_sequences, window):
        own = [side[start : start + window] for side in sides]
        order = _by_length(*own)
        sequences_N[start : start + window] = start + order
        ends += [start + end for end in _rectangles([side[order] for side in own], capacities)]
    return Packs(sequences_N, np.array(ends, dtype=np.int64))


def _by_length(first: np.ndarray, second: np.ndarray | None = None) -> np.ndarray:
    """Bring sequences of similar length together; equal ones stay in order."""
    if second is None:
        return np.argsort(-first, kind="stable")
    steps = np.floor(np.log(first) / np.log(STEP)).astype(np.int64)
    return np.lexsort([np.where(steps % 2, second, -second), -steps])


def _rectangles(sides: Sequence[np.ndarray], capacities: Sequence[int]) -> Iterator[int]:
    """Cut sequences into batches, as long as they are: give where each ends."""
    at, n_sequences = 0, len(sides[0])
    both = list(zip(sides, capacities, strict=True))
    # The first sequence alone says how many there can be. It is the longest where there is one side; else a longer one
    # behind it makes them fewer.
    most_N = np.minimum.reduce([capacity // side for side, capacity in both]).tolist()
    while at < n_sequences:
        size = min(n_sequences - at, most_N[at])
        for side, capacity in both if len(both) > 1 else ():
            padded = np.maximum.accumulate(side[at : at + size]) * np.arange(1, size + 1)
            size = int(np.count_nonzero(padded <= capacity))
        at += size
        yield at


def _ranked(keys_N: np.ndarray, numbers_N: np.ndarray) -> np.ndarray:
    """Give numbers in the order of their keys, equal keys in the order of the numbers.

    One sort of whole numbers that hold both takes a fraction of what a stable ``argsort`` does.
    """
    ranked_N = keys_N << _NUMBER_BITS
    ranked_N |= numbers_N
    ranked_N.sort()
    ranked_N &= (1 << _NUMBER_BITS) - 1
    return ranked_N


def _checked(lengths_N: np.ndarray, capacity: int) -> np.ndarray:
    lengths_N = np.asarray(lengths_N, dtype=np.int64)
    if len(lengths_N) and not (lengths_N.min() >= 1 and lengths_N.max() <= capacity):
        raise ValueError(
            f"Lengths must be from 1 to the capacity {capacity}, and are from {lengths_N.min()} to {lengths_N.max()}."
        )
    return lengths_N
