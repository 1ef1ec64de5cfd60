"""The frozen bottom of a model, computed once per text and kept on disk.

With the bottom k blocks (and the embeddings) frozen, their output depends on the input alone: it is kept the first
time a path of tokens passes and replayed afterwards, in every epoch, seed, learning-rate trial and later process. The
backward pass stops at the boundary by itself, since what is replayed carries no gradient. Dropout below the boundary is
off. (Lee et al. 2019, "What would Elsa do?", freeze; Liu et al. 2021, "AutoFreeze", section 3.3, cache.)

The boundary is as high as nothing below it is trained: above the topmost frozen block, above the whole body (then no
block is run at all), above its pooled states (one for an example), or between an encoder and its decoder.

Shape letters: T tokens of a flat row, S segments, N states, D width.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from formtune.batches import Batch, select
from formtune.path_keys import place_keys, segment_keys
from formtune.row_index import RowIndex
from formtune.state_store import StateStore

Boundary = Literal["blocks", "body", "pooled", "source"]
Compute = Callable[[Batch], Tensor]


class _Reached(Exception):
    """Carries the boundary's states out of a forward pass that need not go on."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states


class _Stand(nn.Module):
    """Stands in for a module that need not run, and gives the kept states instead of whatever it would."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.states: Tensor | None = None
        if hasattr(module, "attention_type"):  # read by the loops of models that mix attention types
            self.attention_type = module.attention_type

    def forward(self, *_args: Any, **_kwargs: Any) -> Tensor | None:
        """Give the states."""
        return self.states


class Bypass:
    """The two halves of a model that has one stack of blocks: up to a block, and from there on."""

    def __init__(self, blocks: nn.ModuleList, n_blocks: int, embeddings: Sequence[tuple[nn.Module, str]]) -> None:
        """Prepare what stands in for the lower half.

        Args:
            blocks: the stack.
            n_blocks: how many of them, from the bottom, make the lower half.
            embeddings: the owner and the name of each module that turns ids into the first states.
        """
        self._last = blocks[n_blocks - 1]
        own = [(blocks, str(place)) for place in range(n_blocks)]
        self._places = [(owner, name, getattr(owner, name)) for owner, name in (*embeddings, *own)]
        self._stands = [_Stand(module) for _, _, module in self._places]

    def bottom(self, run: Compute) -> Compute:
        """Give what computes the boundary's states ``[T, D]`` and goes no further."""

        def stop(_block: nn.Module, _inputs: object, output: Tensor) -> None:
            raise _Reached(output)

        def compute(batch: Batch) -> Tensor:
            handle = self._last.register_forward_hook(stop)
            try:
                run(batch)
            except _Reached as reached:
                return reached.states[0]
            finally:
                handle.remove()
            raise AssertionError("The forward pass never came to the boundary block.")

        return compute

    def top(self, run: Compute, batch: Batch, states_TD: Tensor) -> Tensor:
        """Compute the last states ``[T, D]`` from the boundary's; gradients flow down to it."""
        with self._replaying(states_TD[None]):
            return run(batch)

    @contextmanager
    def _replaying(self, states: Tensor) -> Iterator[None]:
        try:
            for (owner, name, _), stand in zip(self._places, self._stands, strict=True):
                stand.states = states
                setattr(owner, name, stand)
            yield
        finally:
            for (owner, name, module), stand in zip(self._places, self._stands, strict=True):
                setattr(owner, name, module)
                stand.states = None


class Trunk:
    """The boundary's states of every path of tokens seen so far.

    Attributes:
        boundary: what is kept: states above the ``"blocks"`` or the ``"body"``, ``"pooled"`` ones, or an encoder's
            (``"source"``).
        n_blocks: how many bottom blocks are frozen.
        of_blocks: how many there are.
        bypass: the way past the blocks, where the boundary is one.
        n_computed: tokens that went through the trunk.
    """

    def __init__(
        self,
        boundary: Boundary,
        open_store: Callable[[str, Path | None], StateStore],
        *,
        n_blocks: int = 0,
        of_blocks: int = 0,
        causal: bool = False,
        bypass: Bypass | None = None,
    ) -> None:
        self.boundary: Boundary = boundary
        self.n_blocks = n_blocks
        self.of_blocks = of_blocks
        self.bypass = bypass
        self.n_computed = 0
        self._open_store = open_store
        self._causal = causal
        self._anew = False
        self._root: Path | None = None
        self._stores: dict[str, StateStore] = {}
        self._told: dict[str, tuple[int, str]] = {}

    def store_on(self, device: str) -> StateStore:
        """Give what is kept of a kind of device; opened when first asked for, since the weights are digested for its name."""
        if device not in self._stores:
            self._stores[device] = self._open_store(device, self._root)
        return self._stores[device]

    @property
    def share(self) -> float:
        """The share of its side's blocks that a replayed token does not pass."""
        return self.n_blocks / self.of_blocks if self.of_blocks else 1.0

    @property
    def size_bytes(self) -> int:
        """Bytes of the states that are kept, as far as they were asked for."""
        return sum(store.size_bytes for store in self._stores.values())

    def news(self) -> list[str]:
        """Say what went wrong with keeping since this was asked for last; nothing of it changes a result."""
        told = []
        for device, store in self._stores.items():
            n_before, full_before = self._told.get(device, (0, ""))
            if store.n_damaged > n_before:
                told.append(
                    f"{store.n_damaged - n_before} kept states were damaged, and are computed anew ({store.folder})"
                )
            if store.full != full_before:
                told.append(f"nothing more of what the frozen part gives is kept: {store.full}")
            self._told[device] = (store.n_damaged, store.full)
        return told

    @contextmanager
    def computing_anew(self) -> Iterator[None]:
        """Replay nothing for a while, as if nothing had been kept; what is computed is kept. For honest timings."""
        self._anew = True
        try:
            yield
        finally:
            self._anew = False

    @contextmanager
    def aside(self, root: Path) -> Iterator[None]:
        """Keep states under another folder for a while, as if nothing had been kept before: for trying out."""
        before = self._stores, self._root
        self._stores, self._root = {}, root
        try:
            yield
        finally:
            self._stores, self._root = before

    def hidden(self, batch: Batch, run: Compute, *, device: torch.device) -> Tensor:
        """Compute the last states ``[T, D]`` of a batch, the bottom only for paths not seen before.

        Args:
            batch: one flat row.
            run: the whole body over a batch.
            device: where the model is.
        """
        if self.boundary == "body":
            return self.states(batch, run, device=device)
        if self.bypass is None:
            return run(batch)
        return self.bypass.top(run, batch, self.states(batch, self.bypass.bottom(run), device=device))

    def states(self, batch: Batch, compute: Compute, *, device: torch.device) -> Tensor:
        """Give the boundary's states of a batch: ``[T, D]``, or ``[S, D]`` where they are pooled; without gradient.

        Args:
            batch: one flat row.
            compute: gives them for a batch; asked for what is not kept.
            device: where they are to be.
        """
        store, keys_N2 = self.store_on(device.type), self.keys(batch)
        rows_N = np.full(len(keys_N2), -1) if self._anew else store.find(keys_N2)
        missing = self.missing(batch, keys_N2, rows_N < 0)
        if not missing:
            return _decoded(store.read(rows_N)).to(device)
        fresh_M2, states_MD = self._computed(select(batch, missing), compute, store)
        found_ND = np.empty((len(keys_N2), states_MD.shape[1]), dtype=states_MD.dtype)
        found_ND[rows_N >= 0] = store.read(rows_N[rows_N >= 0])
        found_ND[rows_N < 0] = states_MD[_places(keys_N2[rows_N < 0], fresh_M2)]
        return _decoded(found_ND).to(device)

    def keys(self, batch: Batch) -> np.ndarray:
        """Name what is kept of a batch, uint64 ``[N, 2]``: of each place or, where states are pooled, each segment."""
        return segment_keys(batch) if self.boundary == "pooled" else place_keys(batch, causal=self._causal)

    def missing(self, batch: Batch, keys_N2: np.ndarray, lost_N: np.ndarray) -> list[int]:
        """List the segments of which something is lost, equal ones once."""
        if not lost_N.any():
            return []
        if self.boundary == "pooled":
            lost_S, last_S = np.flatnonzero(lost_N), np.arange(len(lost_N))
        else:
            counts = np.concatenate([[0], np.cumsum(lost_N)])
            lost_S, last_S = np.flatnonzero(counts[batch.ends_S] - counts[batch.starts_S]), batch.ends_S - 1
        lengths_S = batch.ends_S - batch.starts_S
        alike = {(*keys_N2[last_S[s]].tolist(), int(lengths_S[s])): int(s) for s in lost_S}
        return sorted(alike.values())

    def _computed(self, batch: Batch, compute: Compute, store: StateStore) -> tuple[np.ndarray, np.ndarray]:
        """Compute the states of a batch and keep them; give their keys and them, equal ones once."""
        with torch.no_grad():
            states_ND = _encoded(compute(batch), store.dtype)
        self.n_computed += len(batch.ids_T)
        keys_M2, places_M = np.unique(self.keys(batch), axis=0, return_index=True)
        order_M = np.argsort(places_M)  # in a row's order, so that an example's states stay together on disk
        keys_M2, states_MD = keys_M2[order_M], states_ND[places_M[order_M]]
        store.keep(keys_M2, states_MD)
        return keys_M2, states_MD


def _places(wanted_N2: np.ndarray, keys_M2: np.ndarray) -> np.ndarray:
    index = RowIndex()
    index.add(keys_M2, np.arange(len(keys_M2)))
    return index.find(wanted_N2)


def _encoded(states_ND: Tensor, dtype: np.dtype[Any]) -> np.ndarray:
    """Bring states to what is kept: float32, or bfloat16 as its bits."""
    states_ND = states_ND.detach().cpu()
    if dtype == np.uint16:
        states_ND = states_ND.bfloat16().view(torch.uint16)
    return np.asarray(states_ND.float().numpy() if dtype == np.float32 else states_ND.numpy())


def _decoded(states_ND: np.ndarray) -> Tensor:
    found = torch.from_numpy(states_ND)
    return found.view(torch.bfloat16).float() if found.dtype == torch.uint16 else found
