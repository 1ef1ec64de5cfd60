"""What a training will compute, counted before it is done: settings, seed and examples decide every micro-batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from formtune.batches import Batch, collate, select
from formtune.flops import Flops, Load, Operations, Passage, passages
from formtune.models import Model
from formtune.objective import spared
from formtune.row_index import RowIndex
from formtune.state_store import StateStore
from formtune.tokens import Tokens
from formtune.trunk import Trunk
from formtune.updates import TrainSettings, dealt, micro_batches, n_computed, n_learned, updates
from formtune.weaving import asked_of, woven
from formtune.work import Work, padded_places, padding_work


@dataclass(frozen=True, slots=True)
class Piece:
    """A micro-batch of the plan, the tokens that a trunk could replay, and the operations that it takes at its turn."""

    examples: tuple[Tokens, ...]
    n_replayable: int
    load: Load
    operations: Operations


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What some trainings compute, one after the other on the same model.

    Attributes:
        pieces: their micro-batches.
        n_updates: their updates.
        most_pieces: micro-batches of the update that has most of them.
        n_tokens: tokens of the examples, those of several epochs several times.
        n_learned: tokens with a loss weight among them (examples, for a class head).
        work: what is computed, and what that spares.
        trunk_bytes: what the trunk's cache grows by.
    """

    pieces: list[Piece]
    n_updates: int
    most_pieces: int
    n_tokens: int
    n_learned: int
    work: Work
    trunk_bytes: int


def counted(model: Model, examples: Sequence[Tokens], runs: Sequence[TrainSettings]) -> Counted:
    """Count what trainings on the same examples compute; nothing is computed by the model.

    Patience is taken to last, and the trunk's room on disk to suffice; what it has kept of earlier trainings counts as
    it will.

    Args:
        model: frozen and adapted.
        examples: what it is trained on.
        runs: one after the other, at least one; blocks are computed twice in all of them or in none.
    """
    plan = _Counter(model, Flops(model, recomputes=runs[0].checkpoint_activations))
    for settings in runs:
        for update in updates(examples, settings, model.tokenizer):
            plan.add(update, settings)
    return plan.total()


class _Counter:
    """Goes through updates as the loop will, remembering which states the trunk will have kept."""

    def __init__(self, model: Model, flops: Flops) -> None:
        self.model = model
        self.flops = flops
        self.store = model.trunk.store_on(model.device.type) if model.trunk else None
        self.kept = RowIndex()
        self.n_kept = 0
        self.pieces: list[Piece] = []
        self.works: list[Work] = []
        self.most_pieces = self.n_tokens = self.n_learned = 0

    def total(self) -> Counted:
        return Counted(
            pieces=self.pieces,
            n_updates=len(self.works),
            most_pieces=self.most_pieces,
            n_tokens=self.n_tokens,
            n_learned=self.n_learned,
            work=sum(self.works, Work()),
            trunk_bytes=self.n_kept * self.store.row_bytes if self.store else 0,
        )

    def add(self, update: Sequence[Tokens], settings: TrainSettings) -> None:
        model = self.model
        shares = model.weaves and settings.share_prefixes
        (hand,) = dealt(update, 1, shares=shares)
        groups = micro_batches(update, hand, settings, shares=shares, pads=model.pads)
        work = padding_work(update, scores=model.class_head is None)
        for group in groups:
            work += self._piece(tuple(update[i] for i in group), shares=settings.share_prefixes)
        self.works.append(work)
        self.most_pieces = max(self.most_pieces, len(groups))
        self.n_tokens += sum(map(n_computed, update))
        self.n_learned += sum(map(n_learned, update))

    def _piece(self, examples: tuple[Tokens, ...], *, shares: bool) -> Work:
        batch, n_scored = laid_out(self.model, examples, shares=shares)
        trunk, store = self.model.trunk, self.store
        through, n_through = self._through_trunk(batch, trunk, store) if trunk and store else (None, len(batch.ids_T))
        n_classed = len(examples) if self.model.class_head else 0
        load = Load(passages(self.model, batch), through, n_scored, n_classed)
        self.pieces.append(Piece(examples, len(batch.ids_T), load, self.flops.of(load)))
        apart = padded_places(examples) if self.model.pads else sum(map(n_computed, examples))
        laid = apart if self.model.pads else batch.n_tokens
        n_replayed = len(batch.ids_T) - n_through
        return Work(apart=apart, laid=laid, spared=spared(self.model, n_replayed), scored=n_scored)

    def _through_trunk(self, batch: Batch, trunk: Trunk, store: StateStore) -> tuple[Passage, int]:
        """Say what passes the trunk: paths of whose last segment something is not kept, with all that stands before it.

        Returns:
            What is computed, padding included, and the tokens among that.
        """
        keys_N2 = trunk.keys(batch)
        missing = trunk.missing(batch, keys_N2, (store.find(keys_N2) < 0) & (self.kept.find(keys_N2) < 0))
        if not missing:
            return Passage(), 0
        computed = select(batch, missing)
        keys_M2 = np.unique(trunk.keys(computed), axis=0)
        keys_M2 = keys_M2[(store.find(keys_M2) < 0) & (self.kept.find(keys_M2) < 0)]
        self.kept.add(keys_M2, np.arange(len(keys_M2)))
        self.n_kept += len(keys_M2)
        return passages(self.model, computed)[0], len(computed.ids_T)


def laid_out(model: Model, examples: Sequence[Tokens], *, shares: bool) -> tuple[Batch, int]:
    """Lay a micro-batch out as the objective will.

    Returns:
        The batch, and at how many places the vocabulary is scored.
    """
    if model.class_head is not None:
        return collate(examples, causal=False), 0
    factors_E = np.ones(len(examples), dtype=np.float32)
    if shares and model.weaves:
        batch, asked = woven(examples, factors_E)
    else:
        batch = collate(examples, causal=model.causal)
        asked = asked_of(batch, factors_E)
    return batch, len(asked.places_N)
