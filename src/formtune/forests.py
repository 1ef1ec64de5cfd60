"""Who sees whom in a flat row: the groups of segments that attend together, and their masks.

A place sees the places of its own segment and of its ancestors: all of them, or in a causal model those that stand
before it in its path; within a sliding window only the nearest. Everything follows from the segments' parents and the
places' positions, so that every way of attending (:mod:`formtune.attention`) reads one rule.

Shape letters: T tokens of the row, S segments, Q queries and K keys of a group.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

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


@dataclass(frozen=True, slots=True, eq=False)
class Lengths:
    """Each segment as a sequence of queries behind one of keys: its own places, and those of its path.

    Attributes:
        seen_K: int64, the places of all paths one behind the other; None where every path is its segment alone.
        bounds_own: int32 ``[S + 1]``, where each segment's queries begin and end.
        bounds_seen: int32 ``[S + 1]``, where each path's keys begin and end.
        longest_own: places of the longest segment.
        longest_seen: places of the longest path.
    """

    seen_K: Tensor | None
    bounds_own: Tensor
    bounds_seen: Tensor
    longest_own: int
    longest_seen: int


class Forest:
    """The sight of a batch, with the masks of each kind of layer made once."""

    def __init__(self, batch: Batch, device: torch.device) -> None:
        self.groups = grouped(batch)
        self._batch = batch
        self._device = device
        self._masks: dict[tuple[Group, Sight], Tensor | None] = {}

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

    @cached_property
    def lengths(self) -> Lengths:
        """Give the same rule, but for the order within a path, as kernels of variable length take it."""
        batch, device = self._batch, self._device
        paths = [batch.path(segment) for segment in range(batch.n_segments)]
        sizes_S = batch.ends_S - batch.starts_S
        n_seen = [int(sizes_S[path].sum()) for path in paths]
        seen_K = None
        if (batch.parents_S >= 0).any():
            spans = [np.arange(batch.starts_S[s], batch.ends_S[s]) for path in paths for s in path]
            seen_K = torch.from_numpy(np.concatenate(spans)).to(device)
        return Lengths(
            seen_K=seen_K,
            bounds_own=_bounds(sizes_S, device),
            bounds_seen=_bounds(n_seen, device),
            longest_own=int(sizes_S.max()),
            longest_seen=max(n_seen),
        )


def _bounds(lengths: Sequence[int] | np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)).to(device)


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
