"""Rows of token ids as columns of lists, many at a time: what stands in the files of :mod:`formtune.exporting`.

Shape letters: T tokens, N sequences, R rows.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

IGNORED = -100  # the label that loss functions skip
SLICE_TOKENS = 1 << 20  # tokens that are held at a time: some 10 MB

Prepared = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """Some rows, one behind the other.

    Attributes:
        ids_T: int32, of all sequences.
        weights_T: float32, likewise.
        ends_N: where each sequence ends.
        rows_N: the row that each stands in, from 0.
        width: tokens that every row is filled up to, or None.
    """

    ids_T: np.ndarray
    weights_T: np.ndarray
    ends_N: np.ndarray
    rows_N: np.ndarray
    width: int | None

    @property
    def n_rows(self) -> int:
        """Count the rows."""
        return int(self.rows_N[-1]) + 1

    def row_lengths(self) -> np.ndarray:
        """Count the tokens of each row: int64, R."""
        return np.bincount(self.rows_N, weights=np.diff(self.ends_N, prepend=0)).astype(np.int64)

    def batch(self, schema: pa.Schema) -> pa.RecordBatch:
        """Give them as columns."""
        return pa.RecordBatch.from_arrays([self._column(name, schema) for name in schema.names], schema=schema)

    def _column(self, name: str, schema: pa.Schema) -> pa.ListArray:
        lengths_N = np.diff(self.ends_N, prepend=0)
        n_sequences_R = np.bincount(self.rows_N)
        kind = schema.field(name).type.value_type
        if name == "seq_lengths":
            return _lists(lengths_N, n_sequences_R, kind)
        values_T, filling = self._values(name, lengths_N, n_sequences_R)
        n_tokens_R = self.row_lengths()
        if self.width is None:
            return _lists(values_T, n_tokens_R, kind)
        filled = np.full((self.n_rows, self.width), filling, dtype=values_T.dtype)
        filled[np.arange(self.width) < n_tokens_R[:, None]] = values_T
        return _lists(filled.ravel(), np.full(self.n_rows, self.width), kind)

    def _values(self, name: str, lengths_N: np.ndarray, n_sequences_R: np.ndarray) -> tuple[np.ndarray, int]:
        """Give a column's value for every token, and what rows are filled up with."""
        match name:
            case "input_ids":
                return self.ids_T, 0
            case "labels":
                return np.where(self.weights_T > 0, self.ids_T, np.int32(IGNORED)), IGNORED
            case "position_ids":
                return np.arange(len(self.ids_T)) - np.repeat(self.ends_N - lengths_N, lengths_N), 0
        assert name == "attention_mask"
        firsts_R = np.cumsum(n_sequences_R) - n_sequences_R
        return np.repeat(np.arange(len(lengths_N)) - firsts_R[self.rows_N] + 1, lengths_N), 0

    def counted(self, flags_T: np.ndarray) -> np.ndarray:
        """Count flags by sequence."""
        return np.diff(np.cumsum(flags_T)[self.ends_N - 1], prepend=0)


def _lists(values: np.ndarray, lengths_R: np.ndarray, kind: pa.DataType) -> pa.ListArray:
    bounds = np.concatenate([[0], np.cumsum(lengths_R)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(bounds), pa.array(values.astype(kind.to_pandas_dtype(), copy=False)))


def slices(rows: Iterable[Sequence[Prepared]], *, width: int | None, packed: bool = False) -> Iterator[Slice]:
    """Join rows to slices of so many tokens that array work pays.

    Args:
        rows: of each its sequences: ids (int32), loss weights (float32) and parts, all of one length, at least one token.
        width: tokens that every row is filled up to; None for as many as it has.
        packed: whether first tokens are not learned: in a row of several they would be predicted from another sequence.

    Raises:
        ValueError: where a sequence has no token, or arrays of different lengths.
    """
    held: list[Sequence[Prepared]] = []
    n_tokens = 0
    for row in rows:
        for ids_T, weights_T, _parts_T in row:
            if not 1 <= len(ids_T) == len(weights_T):
                raise ValueError(f"A sequence has {len(ids_T)} ids and {len(weights_T)} weights.")
            n_tokens += len(ids_T)
        held.append(row)
        if n_tokens >= SLICE_TOKENS:
            yield _joined(held, width, packed=packed)
            held, n_tokens = [], 0
    if held:
        yield _joined(held, width, packed=packed)


def _joined(held: Sequence[Sequence[Prepared]], width: int | None, *, packed: bool) -> Slice:
    sequences = [one for row in held for one in row]
    lengths_N = np.array([len(ids_T) for ids_T, _, _ in sequences])
    ends_N = np.cumsum(lengths_N)
    weights_T = np.concatenate([weights_T for _, weights_T, _ in sequences])
    if packed:
        weights_T[ends_N - lengths_N] = 0
    return Slice(
        ids_T=np.concatenate([ids_T for ids_T, _, _ in sequences]).astype(np.int32, copy=False),
        weights_T=weights_T,
        ends_N=ends_N,
        rows_N=np.repeat(np.arange(len(held)), [len(row) for row in held]),
        width=width,
    )
