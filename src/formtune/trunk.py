"""The frozen bottom of a model, computed once per text.

With the bottom k blocks (and the embeddings) frozen, their output depends on the input alone: it is kept the first
time a path of tokens passes and replayed afterwards, in every epoch, seed and learning-rate trial. The backward pass
stops at the boundary by itself, since what is replayed carries no gradient. Dropout below the boundary is off.
(Lee et al. 2019, "What would Elsa do?", freeze; Liu et al. 2021, "AutoFreeze", section 3.3, cache.)

The states live in memory, up to a limit; beyond it they are computed anew each time, which changes no number.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from formtune.batches import Batch, select

LIMIT_BYTES = 2 << 30


class _Reached(Exception):
    """Carries the boundary's states out of a forward pass that need not go on."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states


class _Pass(nn.Module):
    """Stands in for a block that need not run: hands on what it gets or, at the boundary, the kept states."""

    def __init__(self, block: nn.Module, states: Tensor | None) -> None:
        super().__init__()
        self.states = states
        if hasattr(block, "attention_type"):  # read by the loops of models that mix attention types
            self.attention_type = block.attention_type

    def forward(self, hidden_states: Tensor, *_args: Any, **_kwargs: Any) -> Tensor:
        """Hand on."""
        return hidden_states if self.states is None else self.states


class Trunk:
    """The boundary states of every path of tokens seen so far.

    Attributes:
        n_blocks: how many bottom blocks are frozen.
        size_bytes: what is kept.
        n_computed: tokens that went through the trunk.
        n_replayed: tokens whose states were replayed instead.
    """

    def __init__(self, blocks: nn.ModuleList, n_blocks: int, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self.blocks = blocks
        self.n_blocks = n_blocks
        self.limit_bytes = limit_bytes
        self.size_bytes = 0
        self.n_computed = 0
        self.n_replayed = 0
        self._states: dict[bytes, Tensor] = {}

    def hidden(self, batch: Batch, run: Callable[[Batch], Tensor]) -> Tensor:
        """Compute the last hidden states ``[T, D]`` of a batch, the bottom only for paths not seen before.

        Args:
            batch: one flat row.
            run: the whole model over a batch; called with blocks swapped.
        """
        keys = [_key(batch, s) for s in range(batch.n_segments)]
        known = {k: self._states[k] for k in keys if k in self._states}
        missing = [s for s, k in enumerate(keys) if k not in known]
        self.n_replayed += batch.n_tokens - int(sum(batch.ends_S[s] - batch.starts_S[s] for s in missing))
        if missing:
            known |= self._compute(select(batch, missing), run)
        states = torch.cat([known[k] for k in keys])[None]
        with self._replaying(states):
            return run(batch)

    def _compute(self, batch: Batch, run: Callable[[Batch], Tensor]) -> dict[bytes, Tensor]:
        with torch.no_grad(), self._stopping():
            try:
                run(batch)
            except _Reached as reached:
                states = reached.states[0]
            else:
                raise AssertionError("The forward pass never came to the boundary block.")
        self.n_computed += batch.n_tokens
        new = {}
        for segment in range(batch.n_segments):
            piece = states[batch.starts_S[segment] : batch.ends_S[segment]].clone()
            new[_key(batch, segment)] = piece
            self._keep(_key(batch, segment), piece)
        return new

    def _keep(self, key: bytes, states: Tensor) -> None:
        size_bytes = states.numel() * states.element_size()
        if key not in self._states and self.size_bytes + size_bytes <= self.limit_bytes:
            self._states[key] = states
            self.size_bytes += size_bytes

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        def stop(_block: nn.Module, _inputs: object, output: Tensor) -> None:
            raise _Reached(output)

        handle = self.blocks[self.n_blocks - 1].register_forward_hook(stop)
        try:
            yield
        finally:
            handle.remove()

    @contextmanager
    def _replaying(self, states: Tensor) -> Iterator[None]:
        own = list(self.blocks[: self.n_blocks])
        try:
            for index, block in enumerate(own):
                last = index == self.n_blocks - 1
                self.blocks[index] = _Pass(block, states if last else None)
            yield
        finally:
            for index, block in enumerate(own):
                self.blocks[index] = block


def _key(batch: Batch, segment: int) -> bytes:
    """Name what a segment's states depend on: the ids and types along its path, and where its own places begin."""
    places = [slice(int(batch.starts_S[s]), int(batch.ends_S[s])) for s in batch.path(segment)]
    ids = b"".join(batch.ids_T[p].tobytes() for p in places)
    types = b"".join(batch.types_T[p].tobytes() for p in places)
    own = places[-1].stop - places[-1].start
    return ids + types + own.to_bytes(4, "little")
