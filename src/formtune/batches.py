"""Tokens → batches: lay examples side by side without padding, keep them apart.

A batch is flat: the tokens of all its segments in one row, positions restarting. A segment sees itself and its
ancestors, nothing else, so nothing is attended across examples; a segment with a parent goes on where the parent
ends (a prompt computed once for several continuations). How a model that needs padding gets it is the model's matter.

Shape letters: T tokens of the row, S segments.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from formtune.tokens import Tokens


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Examples side by side in one row.

    Attributes:
        ids_T: int64, what the model sees.
        positions_T: int64, restarting per path (a child goes on from its parent's end).
        types_T: int64, token types.
        labels_T: int64, the id that place t must predict: in a causal model its successor, else what stands there.
        weights_T: float32, loss weight of that prediction; 0 where nothing is asked.
        starts_S: int64, first place of each segment.
        ends_S: int64, one past its last place.
        parents_S: int64, index of the segment that comes before it in its path, or -1.
        golds_S: int64, class of each segment, or -1.
        decoder: for encoder-decoder models, the target side: its segment s answers segment s.
    """

    ids_T: np.ndarray
    positions_T: np.ndarray
    types_T: np.ndarray
    labels_T: np.ndarray
    weights_T: np.ndarray
    starts_S: np.ndarray
    ends_S: np.ndarray
    parents_S: np.ndarray
    golds_S: np.ndarray
    decoder: "Batch | None" = None

    @property
    def n_tokens(self) -> int:
        """Tokens that are computed, both sides counted."""
        return len(self.ids_T) + (self.decoder.n_tokens if self.decoder else 0)

    @property
    def n_segments(self) -> int:
        """Segments side by side."""
        return len(self.starts_S)

    def path(self, segment: int) -> list[int]:
        """List the segments that this one sees, from the root to itself."""
        path = [segment]
        while self.parents_S[path[0]] >= 0:
            path.insert(0, int(self.parents_S[path[0]]))
        return path


def collate(tokens: Sequence[Tokens], *, causal: bool) -> Batch:
    """Lay examples side by side.

    In a causal model each place is asked for its successor, so labels and weights move one place to the left; the
    last place of an example is asked for nothing.
    """
    lengths_S = np.array([len(t.ids_T) for t in tokens], dtype=np.int64)
    ends_S = np.cumsum(lengths_S)
    starts_S = ends_S - lengths_S
    labels_T = np.concatenate([t.labels_T for t in tokens]).astype(np.int64)
    weights_T = np.concatenate([t.weights_T for t in tokens]).astype(np.float32)
    if causal:
        labels_T, weights_T = np.roll(labels_T, -1), np.roll(weights_T, -1)
        weights_T[ends_S - 1] = 0.0
    decoders = [t.decoder for t in tokens if t.decoder is not None]
    return Batch(
        ids_T=np.concatenate([t.ids_T for t in tokens]).astype(np.int64),
        positions_T=np.arange(int(lengths_S.sum())) - np.repeat(starts_S, lengths_S),
        types_T=np.concatenate([t.types_T for t in tokens]).astype(np.int64),
        labels_T=labels_T,
        weights_T=weights_T,
        starts_S=starts_S,
        ends_S=ends_S,
        parents_S=np.full(len(tokens), -1, dtype=np.int64),
        golds_S=np.array([-1 if t.gold is None else t.gold for t in tokens], dtype=np.int64),
        decoder=collate(decoders, causal=True) if decoders else None,
    )


def branched(prompts: Sequence[np.ndarray], continuations: Sequence[Sequence[np.ndarray]]) -> Batch:
    """Lay each prompt once and each of its continuations behind it, as children that do not see one another.

    Args:
        prompts: ids of each prompt.
        continuations: for each prompt the ids of its continuations; an empty one is refused.

    Returns:
        A batch without labels: each prompt, then its continuations, prompt after prompt.
    """
    pieces: list[np.ndarray] = []
    parents: list[int] = []
    offsets: list[int] = []
    for prompt, children in zip(prompts, continuations, strict=True):
        root = len(pieces)
        pieces.append(prompt)
        parents.append(-1)
        offsets.append(0)
        for child in children:
            if not len(child):
                raise ValueError("A continuation needs at least one token.")
            pieces.append(child)
            parents.append(root)
            offsets.append(len(prompt))
    return rooted(pieces, parents, offsets)


def rooted(pieces: Sequence[np.ndarray], parents: Sequence[int], offsets: Sequence[int]) -> Batch:
    """Lay segments side by side, each behind its parent: a batch without labels.

    Args:
        pieces: ids of each segment.
        parents: for each the index of the segment before it in its path, or -1.
        offsets: how many tokens of its path stand before it.
    """
    lengths_S = np.array([len(p) for p in pieces], dtype=np.int64)
    ends_S = np.cumsum(lengths_S)
    starts_S = ends_S - lengths_S
    n_tokens = int(lengths_S.sum())
    within_T = np.arange(n_tokens) - np.repeat(starts_S, lengths_S)
    ids_T = np.concatenate(pieces).astype(np.int64)
    return Batch(
        ids_T=ids_T,
        positions_T=within_T + np.repeat(np.array(offsets, dtype=np.int64), lengths_S),
        types_T=np.zeros(n_tokens, dtype=np.int64),
        labels_T=ids_T,
        weights_T=np.zeros(n_tokens, dtype=np.float32),
        starts_S=starts_S,
        ends_S=ends_S,
        parents_S=np.array(parents, dtype=np.int64),
        golds_S=np.full(len(pieces), -1, dtype=np.int64),
    )


def select(batch: Batch, segments: Sequence[int]) -> Batch:
    """Take some segments of a batch, each with its whole path laid out anew (shared ancestors once)."""
    order: dict[int, int] = {}
    for segment in segments:
        for step in batch.path(segment):
            order.setdefault(step, len(order))
    places_T = np.concatenate([np.arange(batch.starts_S[s], batch.ends_S[s]) for s in order])
    lengths_S = np.array([batch.ends_S[s] - batch.starts_S[s] for s in order], dtype=np.int64)
    ends_S = np.cumsum(lengths_S)
    parents = [int(batch.parents_S[s]) for s in order]
    return Batch(
        ids_T=batch.ids_T[places_T],
        positions_T=batch.positions_T[places_T],
        types_T=batch.types_T[places_T],
        labels_T=batch.labels_T[places_T],
        weights_T=batch.weights_T[places_T],
        starts_S=ends_S - lengths_S,
        ends_S=ends_S,
        parents_S=np.array([order[p] if p >= 0 else -1 for p in parents], dtype=np.int64),
        golds_S=batch.golds_S[list(order)],
    )


def by_budget(lengths: Sequence[int], max_tokens: int, *, sort: bool, padded: bool = False) -> list[list[int]]:
    """Group examples into batches of at most ``max_tokens`` tokens, each with at least one example.

    Args:
        lengths: tokens of each example.
        max_tokens: the budget of one batch; a longer example stands alone.
        sort: longest first (less padding where a model pads); otherwise in the order given.
        padded: count every example as long as the longest of its batch, as where a model pads.

    Returns:
        Indices per batch; each index once.

    >>> by_budget([5, 3, 4, 9], 8, sort=False)
    [[0, 1], [2], [3]]
    >>> by_budget([5, 3, 4, 9], 9, sort=False, padded=True)
    [[0], [1, 2], [3]]
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i]) if sort else range(len(lengths))
    batches: list[list[int]] = []
    used = longest = 0
    for index in order:
        longest = max(longest, lengths[index])
        used = longest * (len(batches[-1]) + 1) if padded and batches else used + lengths[index]
        if not batches or used > max_tokens:
            batches.append([])
            used = longest = lengths[index]
        batches[-1].append(index)
    return batches
