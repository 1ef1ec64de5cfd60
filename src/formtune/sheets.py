"""Sequences of tokens as a few flat arrays: put together, taken apart, cut and joined without work per token.

A sequence is made of *pieces*: stretches of ids that stand somewhere in a pool, each with one bearing. Pieces of many
sequences are described by three arrays (where they begin in the pool, how long they are, what they bear), and filled in
at once. What a token carries changes a few times in a sequence, so it is kept as *runs*, not token by token.

Shape letters: T tokens of all sequences, N sequences, R runs, P pieces, G sequences of one group.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from formtune.assembly import Bearing
from formtune.tokens import Tokens

_MOST_INT32 = 2**31


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """Sequences, one after the other.

    Attributes:
        ids_T: int32, what the model sees.
        labels_T: int32, what stands at that place; None where that is what the model sees everywhere.
        ends_N: int64, where each sequence ends.
        run_ends_R: int32, where each run ends, counted from the beginning of its sequence.
        bearings_R: uint16, what its tokens carry: a number in ``bearings``.
        runs_N: int64, where the runs of each sequence end.
        bearings: in ascending order, each of them in use.
    """

    ids_T: np.ndarray
    labels_T: np.ndarray | None
    ends_N: np.ndarray
    run_ends_R: np.ndarray
    bearings_R: np.ndarray
    runs_N: np.ndarray
    bearings: tuple[Bearing, ...]

    def __len__(self) -> int:
        """Count the sequences."""
        return len(self.ends_N)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each sequence: int64, N."""
        return np.diff(self.ends_N, prepend=0)

    def n_learned(self) -> np.ndarray:
        """Count the tokens of each sequence that have a loss weight: int64, N."""
        is_learned_B = np.array([bearing.weight > 0 for bearing in self.bearings], dtype=bool)
        lengths_R = self._run_lengths()
        if not len(lengths_R):
            return np.zeros(len(self), dtype=np.int64)
        learned_R = np.cumsum(lengths_R * is_learned_B[self.bearings_R], dtype=np.int64)
        return np.diff(np.concatenate([[0], learned_R])[self.runs_N], prepend=0)

    def carried(self) -> tuple[np.ndarray, np.ndarray]:
        """Give the loss weight and the part of every token: float32 and uint8, T."""
        owners_T = np.repeat(self.bearings_R, self._run_lengths())
        weights_B = np.array([bearing.weight for bearing in self.bearings], dtype=np.float32)
        parts_B = np.array([bearing.part for bearing in self.bearings], dtype=np.uint8)
        return weights_B[owners_T], parts_B[owners_T]

    def _run_lengths(self) -> np.ndarray:
        """Give the tokens of each run: R."""
        lengths_R = np.diff(self.run_ends_R, prepend=0)
        firsts_N = self.runs_N[:-1][np.diff(self.runs_N) > 0] if len(self) else self.runs_N
        lengths_R[firsts_N] = self.run_ends_R[firsts_N]  # a sequence's first run is counted from its beginning
        return lengths_R

    def tokens(self, number: int, *, id: str = "") -> Tokens:
        """Give one sequence as it stands in a training: an array for each thing that a token carries."""
        start, end = _bounds(self.ends_N, number)
        first, last = _bounds(self.runs_N, number)
        lengths_R = np.diff(self.run_ends_R[first:last], prepend=0)
        owners_T = np.repeat(self.bearings_R[first:last], lengths_R)
        table = self.bearings or (Bearing(),)
        ids_T = self.ids_T[start:end]
        return Tokens(
            id,
            ids_T=ids_T,
            labels_T=ids_T if self.labels_T is None else self.labels_T[start:end],
            weights_T=np.array([b.weight for b in table], dtype=np.float32)[owners_T],
            parts_T=np.array([b.part for b in table], dtype=np.uint8)[owners_T],
            types_T=np.array([b.type for b in table], dtype=np.uint8)[owners_T],
            cuts_T=np.array([b.cut for b in table], dtype=np.uint8)[owners_T],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One stretch of each sequence of a group.

    Attributes:
        starts_G: where it begins in the pool; one number where it is the same stretch in all of them.
        lengths_G: how many tokens it has; one number likewise.
        bearing: what they carry.
    """

    starts_G: np.ndarray | int
    lengths_G: np.ndarray | int
    bearing: Bearing


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Sequences that are made of the same pieces: their numbers, and the pieces in order."""

    numbers_G: np.ndarray
    pieces: Sequence[Piece]

    def lengths(self) -> np.ndarray:
        """Tokens of each of its sequences: int64, G."""
        lengths_G = np.zeros(len(self.numbers_G), dtype=np.int64)
        for piece in self.pieces:
            lengths_G += piece.lengths_G
        return lengths_G

    def only(self, kept_G: np.ndarray) -> "Group":
        """Keep some of its sequences: a mask."""
        pieces = [Piece(_some(p.starts_G, kept_G), _some(p.lengths_G, kept_G), p.bearing) for p in self.pieces]
        return Group(self.numbers_G[kept_G], pieces)

    def numbered(self, numbers_G: np.ndarray) -> "Group":
        """Give its sequences other numbers."""
        return Group(numbers_G, self.pieces)


def _some(values: np.ndarray | int, kept_G: np.ndarray) -> np.ndarray | int:
    return values if isinstance(values, int) else values[kept_G]


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Ids that pieces are cut from; ``labels_T`` is None where it would be the same."""

    ids_T: np.ndarray
    labels_T: np.ndarray | None = None


def pool_of(ids: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> Pool:
    """Put ids and labels behind one another; labels are left away where they are the ids everywhere."""
    ids_T, labels_T = _flat(ids, np.int32), _flat(labels, np.int32)
    return Pool(ids_T, None if np.array_equal(ids_T, labels_T) else labels_T)


def assemble(groups: Sequence[Group], pool: Pool, *, n_sequences: int) -> Sheet:
    """Fill in the sequences of all groups; the cost is a few array operations over all tokens.

    Args:
        groups: which together hold every number from 0 to ``n_sequences`` once.
        pool: what their pieces are cut from.
        n_sequences: how many there are.
    """
    table = sorted({piece.bearing for group in groups for piece in group.pieces})
    number_of = {bearing: number for number, bearing in enumerate(table)}
    n_pieces_N = np.zeros(n_sequences, dtype=np.int64)
    for group in groups:
        n_pieces_N[group.numbers_G] = len(group.pieces)
    firsts_N = np.cumsum(n_pieces_N) - n_pieces_N
    starts_P, lengths_P, bearings_P = (np.zeros(int(n_pieces_N.sum()), dtype=np.int64) for _ in range(3))
    for group in groups:
        places_G = firsts_N[group.numbers_G]
        for n, piece in enumerate(group.pieces):
            starts_P[places_G + n] = piece.starts_G
            lengths_P[places_G + n] = piece.lengths_G
            bearings_P[places_G + n] = number_of[piece.bearing]
    cut = _Cut(starts_P, lengths_P, bearings_P, owners_P=np.repeat(np.arange(n_sequences), n_pieces_N))
    return _filled(cut.only(lengths_P > 0), pool, table, n_sequences=n_sequences)


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """Pieces of all sequences, in order: where they begin in the pool, their lengths, bearings, and sequences."""

    starts_P: np.ndarray
    lengths_P: np.ndarray
    bearings_P: np.ndarray
    owners_P: np.ndarray

    def only(self, kept_P: np.ndarray) -> "_Cut":
        return _Cut(
            self.starts_P[kept_P], self.lengths_P[kept_P], self.bearings_P[kept_P], owners_P=self.owners_P[kept_P]
        )


def _filled(cut: _Cut, pool: Pool, table: Sequence[Bearing], *, n_sequences: int) -> Sheet:
    sources_T = spread(cut.starts_P, cut.lengths_P)
    lengths_N = np.bincount(cut.owners_P, weights=cut.lengths_P, minlength=n_sequences).astype(np.int64)
    ends_N = np.cumsum(lengths_N)
    is_last_P = np.ones(len(cut.lengths_P), dtype=bool)
    is_last_P[:-1] = (cut.owners_P[1:] != cut.owners_P[:-1]) | (cut.bearings_P[1:] != cut.bearings_P[:-1])
    run_ends_P = np.cumsum(cut.lengths_P) - (ends_N - lengths_N)[cut.owners_P]
    used, bearings_R = np.unique(cut.bearings_P[is_last_P], return_inverse=True)
    return Sheet(
        ids_T=pool.ids_T[sources_T],
        labels_T=None if pool.labels_T is None else pool.labels_T[sources_T],
        ends_N=ends_N,
        run_ends_R=run_ends_P[is_last_P].astype(np.int32),
        bearings_R=bearings_R.astype(np.uint16),
        runs_N=np.cumsum(np.bincount(cut.owners_P[is_last_P], minlength=n_sequences)),
        bearings=tuple(table[number] for number in used),
    )


def spread(starts_P: np.ndarray, lengths_P: np.ndarray) -> np.ndarray:
    """List the places of stretches, one stretch after the other.

    >>> spread(np.array([7, 2]), np.array([2, 3])).tolist()
    [7, 8, 2, 3, 4]
    """
    ends_P = np.cumsum(lengths_P)
    n_places = int(ends_P[-1]) if len(ends_P) else 0
    kind = np.int32 if n_places + int(np.max(starts_P, initial=0)) < _MOST_INT32 else np.int64  # half the memory
    return np.repeat((starts_P - (ends_P - lengths_P)).astype(kind), lengths_P) + np.arange(n_places, dtype=kind)


def take(sheet: Sheet, numbers_N: np.ndarray) -> Sheet:
    """Give some sequences of a sheet, in the order asked for."""
    starts_N = sheet.ends_N - sheet.lengths
    lengths_N = sheet.lengths[numbers_N]
    places_T = spread(starts_N[numbers_N], lengths_N)
    n_runs_N = np.diff(sheet.runs_N, prepend=0)
    runs_R = spread((sheet.runs_N - n_runs_N)[numbers_N], n_runs_N[numbers_N])
    used, bearings_R = np.unique(sheet.bearings_R[runs_R], return_inverse=True)
    return Sheet(
        ids_T=sheet.ids_T[places_T],
        labels_T=None if sheet.labels_T is None else sheet.labels_T[places_T],
        ends_N=np.cumsum(lengths_N),
        run_ends_R=sheet.run_ends_R[runs_R],
        bearings_R=bearings_R.astype(np.uint16),
        runs_N=np.cumsum(n_runs_N[numbers_N]),
        bearings=tuple(sheet.bearings[number] for number in used),
    )


def joined(sheets: Sequence[Sheet]) -> Sheet:
    """Put sheets behind one another."""
    table = sorted(set(chain.from_iterable(sheet.bearings for sheet in sheets)))
    number_of = {bearing: number for number, bearing in enumerate(table)}
    renumbered = [
        np.array([number_of[bearing] for bearing in sheet.bearings], dtype=np.uint16)[sheet.bearings_R]
        for sheet in sheets
    ]
    labels = None
    if any(sheet.labels_T is not None for sheet in sheets):
        labels = [sheet.ids_T if sheet.labels_T is None else sheet.labels_T for sheet in sheets]
    return Sheet(
        ids_T=_flat([sheet.ids_T for sheet in sheets], np.int32),
        labels_T=None if labels is None else _flat(labels, np.int32),
        ends_N=_shifted([sheet.ends_N for sheet in sheets]),
        run_ends_R=_flat([sheet.run_ends_R for sheet in sheets], np.int32),
        bearings_R=_flat(renumbered, np.uint16),
        runs_N=_shifted([sheet.runs_N for sheet in sheets]),
        bearings=tuple(table),
    )


def sheet_of(tokens: Iterable[Tokens]) -> Sheet:
    """Lay tokens out, a sequence an example; of encoder-decoder examples the side that is given."""
    sequences = list(tokens)
    pool = pool_of([one.ids_T for one in sequences], [one.labels_T for one in sequences])
    groups, start = [], 0
    for number, one in enumerate(sequences):
        groups.append(Group(np.array([number]), list(pieces_of(one, start))))
        start += len(one.ids_T)
    return assemble(groups, pool, n_sequences=len(sequences))


def pieces_of(tokens: Tokens, start: int) -> Iterator[Piece]:
    """Part tokens, which stand in the pool from ``start`` on, where what they carry changes."""
    columns = (tokens.parts_T, tokens.weights_T, tokens.cuts_T, tokens.types_T)
    if not len(tokens.ids_T):
        return
    changes_T = np.zeros(len(tokens.ids_T), dtype=bool)
    changes_T[0] = True
    for column_T in columns:
        changes_T[1:] |= column_T[1:] != column_T[:-1]
    firsts = np.flatnonzero(changes_T)
    for first, length in zip(firsts, np.diff(firsts, append=len(tokens.ids_T)), strict=True):
        part, weight, cut, type_ = (column_T[first].item() for column_T in columns)
        yield Piece(start + int(first), int(length), Bearing(part, weight, cut, type_))


def _bounds(ends_N: np.ndarray, number: int) -> tuple[int, int]:
    return (int(ends_N[number - 1]) if number else 0), int(ends_N[number])


def _flat(arrays: Sequence[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype=kind), *arrays]).astype(kind, copy=False)


def _shifted(ends: Sequence[np.ndarray]) -> np.ndarray:
    """Join places that were counted from the beginning of each part."""
    offsets = np.cumsum([0, *(int(one[-1]) if len(one) else 0 for one in ends)])
    return _flat([one + offset for one, offset in zip(ends, offsets[:-1], strict=True)], np.int64)
