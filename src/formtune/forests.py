"""Who sees whom in a flat row: the groups of segments that attend together, and their masks.

A place sees the places of its own segment and of its ancestors: all of them, or in a causal model those that stand
before it in its path; within a sliding window only the nearest. Everything follows from the segments' parents and the
places' positions, so that every way of attending (:mod:`formtune.attention`) reads one rule.

Shape letters: T tokens of the row, S segments, Q queries and K keys of a group.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from formtune.batches import Batch

TOGETHER = 64  # tokens of short neighbors in one call: the scores that nobody needs cost less than the calls saved


@dataclass(frozen=True, slots=True)
class Sight:
    """How far a layer sees along a path.

    Attributes:
        causal: only what stands before.
        window: only places less than so many apart; None for all.
    """

    causal: bool
    window: int | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Neighboring segments with the same ancestors, which attend in one call.

    Attributes:
        start: first place.
        end: one past the last.
        before: places of the ancestors, from the root on.
        n_segments: how many; where it is one and has no ancestors, no mask is needed.
    """

    start: int
    end: int
    before: tuple[tuple[int, int], ...]
    n_segments: int

    @property
    def own(self) -> tuple[int, int]:
        """The group's own places."""
        return self.start, self.end

    @property
    def seen(self) -> tuple[tuple[int, int], ...]:
        """The places that some of them see, in the order of the keys."""
        return (*self.before, self.own)

    @property
    def n_queries(self) -> int:
        """Places that attend."""
        return self.end - self.start

    @property
    def n_keys(self) -> int:
        """Places that some of them see."""
        return self.n_queries + sum(end - start for start, end in self.before)


class Forest:
    """The sight of a batch, with the masks of each kind of layer made once."""

    def __init__(self, batch: Batch, device: torch.device) -> None:
        self.groups = grouped(batch)
        self._batch = batch
        self._device = device
        self._masks: dict[tuple[Group, Sight], Tensor | None] = {}
        self._blocks: dict[Sight, BlockMask] = {}

    @cached_property
    def n_keys_mean(self) -> float:
        """How many keys a place meets on average: what decides whether the row's texts are long."""
        return sum(g.n_queries * g.n_keys for g in self.groups) / len(self._batch.ids_T)

    def mask(self, group: Group, sight: Sight) -> Tensor | None:
        """Give what a group's places see, bool ``[Q, K]``; None where its one segment sees all it may.

        "All it may" is every place in a layer that sees both ways, and every place up to itself in a causal one.
        """
        if (group, sight) not in self._masks:
            self._masks[group, sight] = self._mask(group, sight)
        return self._masks[group, sight]

    def _mask(self, group: Group, sight: Sight) -> Tensor | None:
        own = np.arange(group.start, group.end)
        behind = int(self._batch.positions_T[own].max()) + 1
        narrow = sight.window is not None and behind > sight.window
        if group.n_segments == 1 and not narrow and not (sight.causal and group.before):
            return None
        seen_K = np.concatenate([np.arange(start, end) for start, end in group.seen])
        return torch.from_numpy(self._seen(own, seen_K, sight)).to(self._device)

    def _seen(self, query_Q: np.ndarray, key_K: np.ndarray, sight: Sight) -> np.ndarray:
        segments_T, positions_T, sees_SS = self._rule
        seen_QK: np.ndarray = sees_SS[segments_T[query_Q][:, None], segments_T[key_K][None, :]]
        distance_QK = positions_T[query_Q][:, None] - positions_T[key_K][None, :]
        if sight.causal:
            seen_QK &= distance_QK >= 0
        if sight.window is not None:
            seen_QK &= np.abs(distance_QK) < sight.window
        return seen_QK

    @cached_property
    def _rule(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What decides who sees whom: each place's segment and position, and which segments each segment sees."""
        batch = self._batch
        segments_T = np.repeat(np.arange(batch.n_segments), batch.ends_S - batch.starts_S)
        sees_SS = np.eye(batch.n_segments, dtype=bool)
        for segment in range(batch.n_segments):
            sees_SS[segment, batch.path(segment)] = True
        return segments_T, batch.positions_T, sees_SS

    def blocks(self, sight: Sight) -> BlockMask:
        """Give the same rule as FlexAttention takes it: in blocks of the row, those that nobody sees left out."""
        if sight not in self._blocks:
            self._blocks[sight] = self._block_mask(sight)
        return self._blocks[sight]

    def _block_mask(self, sight: Sight) -> BlockMask:
        segments_T, positions_T, sees_SS = (torch.from_numpy(array).to(self._device) for array in self._rule)

        def seen(_row: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            found = sees_SS[segments_T[query], segments_T[key]]
            distance = positions_T[query] - positions_T[key]
            if sight.causal:
                found = found & (distance >= 0)
            if sight.window is not None:
                found = found & (distance.abs() < sight.window)
            return found

        n_tokens = len(self._batch.ids_T)
        return create_block_mask(seen, None, None, n_tokens, n_tokens, device=self._device)


def grouped(batch: Batch) -> tuple[Group, ...]:
    """Part the row into groups: each segment for itself, but short neighbors of equal ancestors together."""
    groups: list[Group] = []
    first = 0  # the first segment of the last group
    for segment in range(batch.n_segments):
        start, end = int(batch.starts_S[segment]), int(batch.ends_S[segment])
        last = groups[-1] if groups else None
        if last and end - last.start <= TOGETHER and _before(batch, segment, outside=first) == last.before:
            groups[-1] = Group(last.start, end, last.before, last.n_segments + 1)
        else:
            first = segment
            groups.append(Group(start, end, _before(batch, segment, outside=segment), 1))
    return tuple(groups)


def _before(batch: Batch, segment: int, *, outside: int) -> tuple[tuple[int, int], ...]:
    """List the places of those ancestors that stand before the segment ``outside``."""
    ancestors = [a for a in batch.path(segment)[:-1] if a < outside]
    return tuple((int(batch.starts_S[a]), int(batch.ends_S[a])) for a in ancestors)
