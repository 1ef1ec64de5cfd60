"""Examples that begin alike → one batch in which what they share stands once.

The examples of a batch are merged into a trie of segments: a system prompt, few-shot examples, or a paragraph with its
questions become a segment whose children go on where it ends. In a causal model a place sees only what stands before
it, so the states of a shared beginning are the same for all that share it, and so are the gradients, added up: where
several examples ask one place for the same token, their loss weights are added; where they ask for different ones (at a
fork), the place is asked several times.

Shape letters: T tokens of the row, E examples, N things that are asked for.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from formtune.batches import Batch, collate, rooted
from formtune.tokens import Tokens

SHORTEST = 16  # tokens: below that, attending to a segment more costs what is saved


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What the loss asks of a batch.

    Attributes:
        places_N: int64, the place whose state is asked; a place may be asked more than once.
        labels_N: int64, the right token.
        weights_N: float32, what its loss counts.
    """

    places_N: np.ndarray
    labels_N: np.ndarray
    weights_N: np.ndarray


def asked_of(batch: Batch, factors_E: np.ndarray) -> Asked:
    """List what is asked of a batch of examples side by side.

    Args:
        batch: from :func:`formtune.batches.collate`; its target side is asked where it has one.
        factors_E: what each example's loss counts.
    """
    side = batch.decoder or batch
    places_N = np.flatnonzero(side.weights_T)
    owners_N = np.searchsorted(side.ends_S, places_N, side="right")
    return Asked(places_N, side.labels_T[places_N], side.weights_T[places_N] * factors_E[owners_N])


def woven(tokens: Sequence[Tokens], factors_E: np.ndarray, *, shortest: int = SHORTEST) -> tuple[Batch, Asked]:
    """Lay the examples of a causal model in one row, what they share at the beginning once.

    Args:
        tokens: the examples, without decoder sides.
        factors_E: what each example's loss counts.
        shortest: tokens that must be shared for a segment of their own.

    Returns:
        The batch (without labels of its own), and what is asked of it.
    """
    trie = Trie([t.ids_T for t in tokens], shortest=shortest)
    if len(trie.pieces) == len(tokens) and all(p < 0 for p in trie.parents):
        batch = collate(tokens, causal=True)
        return batch, asked_of(batch, factors_E)
    batch = rooted(trie.pieces, trie.parents, trie.offsets)
    return batch, _asked(tokens, factors_E, [places_of(batch, leaf) for leaf in trie.leaves])


def alike_together(tokens: Sequence[Tokens]) -> list[int]:
    """Put examples that begin alike next to one another: their indices in the order of their ids."""
    return in_order([t.ids_T for t in tokens])


def in_order(texts: Sequence[np.ndarray]) -> list[int]:
    """Put texts that begin alike next to one another: their indices in the order of their ids."""
    return sorted(range(len(texts)), key=lambda i: texts[i].astype(">u4").tobytes())


def families(tokens: Sequence[Tokens], *, shortest: int = SHORTEST) -> list[list[int]]:
    """Part examples into those that share at least half of themselves: the questions of a paragraph, a document's turns.

    Returns:
        Indices per family; each index once.
    """
    found: list[list[int]] = []
    for index in alike_together(tokens):
        one = tokens[index].ids_T
        last = tokens[found[-1][-1]].ids_T if found else one
        enough = max(shortest, min(len(one), len(last)) // 2)
        if found and common_length(one, last) >= enough:
            found[-1].append(index)
        else:
            found.append([index])
    return found


class Trie:
    """The segments of some texts, each segment before its children.

    Attributes:
        pieces: ids of each segment.
        parents: index of the segment before it, or -1.
        offsets: tokens before it in its path.
        leaves: for each text the last segment of its path.
    """

    def __init__(self, texts: Sequence[np.ndarray], *, shortest: int = SHORTEST) -> None:
        self.pieces: list[np.ndarray] = []
        self.parents: list[int] = []
        self.offsets: list[int] = []
        self.leaves = [-1] * len(texts)
        order = in_order(texts)
        ids = [texts[i] for i in order]
        # How many tokens each text shares with the one before it in the order.
        shared = [0, *(common_length(a, b) for a, b in itertools.pairwise(ids))]
        self._grow(order, ids, shared, shortest=shortest)

    def _grow(self, order: Sequence[int], ids: Sequence[np.ndarray], shared: Sequence[int], *, shortest: int) -> None:
        waiting = [(0, len(order), 0, -1)] if order else []
        while waiting:
            first, end, depth, parent = waiting.pop()
            if end - first > 1:
                common = min(shared[first + 1 : end])
                if common >= depth + shortest:
                    parent, depth = self._add(ids[first][depth:common], parent, depth), common
                cuts = [i for i in range(first + 1, end) if shared[i] < depth + shortest]
                bounds = [first, *cuts, end]
                waiting += [(a, b, depth, parent) for a, b in itertools.pairwise(bounds)][::-1]
                continue
            rest = ids[first][depth:]
            self.leaves[order[first]] = self._add(rest, parent, depth) if len(rest) or parent < 0 else parent

    def _add(self, piece: np.ndarray, parent: int, offset: int) -> int:
        self.pieces.append(piece)
        self.parents.append(parent)
        self.offsets.append(offset)
        return len(self.pieces) - 1


def common_length(a: np.ndarray, b: np.ndarray) -> int:
    """Count the tokens with which two examples both begin.

    >>> common_length(np.array([1, 2, 3]), np.array([1, 2]))
    2
    """
    n = min(len(a), len(b))
    differ = np.flatnonzero(a[:n] != b[:n])
    return int(differ[0]) if len(differ) else n


def places_of(batch: Batch, leaf: int) -> np.ndarray:
    """List the places of a text's tokens, from the root to the end of a segment."""
    return np.concatenate([np.arange(batch.starts_S[s], batch.ends_S[s]) for s in batch.path(leaf)])


def _asked(tokens: Sequence[Tokens], factors_E: np.ndarray, rows: Sequence[np.ndarray]) -> Asked:
    """List what the examples ask of the places that their tokens stand at, each token at a place once."""
    places, labels, weights = [], [], []
    for one, row_T, factor in zip(tokens, rows, factors_E, strict=True):
        at = np.flatnonzero(one.weights_T[1:])
        places.append(row_T[at])
        labels.append(one.labels_T[at + 1].astype(np.int64))
        weights.append(one.weights_T[at + 1] * factor)
    places_M, labels_M = np.concatenate(places), np.concatenate(labels)
    pairs_2N, which_M = np.unique(np.stack([places_M, labels_M]), axis=1, return_inverse=True)
    weights_N = np.bincount(which_M.ravel(), weights=np.concatenate(weights), minlength=pairs_2N.shape[1])
    return Asked(pairs_2N[0], pairs_2N[1], weights_N.astype(np.float32))
