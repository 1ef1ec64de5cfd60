"""What a training will compute, counted before it is done: settings, seed and examples decide every micro-batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from formtune.batches import Batch, collate, select
from formtune.flops import Flops, Load, Operations, Passage, passages
from formtune.models import Model
from formtune.objective import spared
from formtune.tokens import Tokens
from formtune.updates import TrainSettings, dealt, micro_batches, n_computed, n_learned, updates
from formtune.weaving import asked_of, woven
from formtune.work import Work, padded_places, padding_work


@dataclass(frozen=True, slots=True)
class Piece:
    """A micro-batch of the plan, and the operations that it takes at its turn."""

    examples: tuple[Tokens, ...]
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
        trunk_tokens: tokens whose states the trunk keeps in the end.
    """

    pieces: list[Piece]
    n_updates: int
    most_pieces: int
    n_tokens: int
    n_learned: int
    work: Work
    trunk_tokens: int


def counted(model: Model, examples: Sequence[Tokens], runs: Sequence[TrainSettings]) -> Counted:
    """Count what trainings on the same examples compute; nothing is computed by the model.

    Patience is taken to last, and the trunk's memory to suffice.

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
    """Goes through updates as the loop will, with a trunk that remembers names instead of states."""

    def __init__(self, model: Model, flops: Flops) -> None:
        self.model = model
        self.flops = flops
        self.kept: dict[bytes, int] = {}
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
            trunk_tokens=sum(self.kept.values()),
        )

    def add(self, update: Sequence[Tokens], settings: TrainSettings) -> None:
        model = self.model
        (hand,) = dealt(update, 1, shares=model.weaves and settings.share_prefixes)
        groups = micro_batches(update, hand, settings, pads=model.pads)
        work = padding_work(update, scores=model.class_head is None)
        for group in groups:
            work += self._piece(tuple(update[i] for i in group), shares=settings.share_prefixes)
        self.works.append(work)
        self.most_pieces = max(self.most_pieces, len(groups))
        self.n_tokens += sum(map(n_computed, update))
        self.n_learned += sum(map(n_learned, update))

    def _piece(self, examples: tuple[Tokens, ...], *, shares: bool) -> Work:
        batch, n_scored = laid_out(self.model, examples, shares=shares)
        through = self._through_trunk(batch) if self.model.trunk else None
        n_classed = len(examples) if self.model.class_head else 0
        load = Load(passages(self.model, batch), through, n_scored, n_classed)
        self.pieces.append(Piece(examples, load, self.flops.of(load)))
        apart = padded_places(examples) if self.model.pads else sum(map(n_computed, examples))
        replayed = batch.n_tokens - through.places if through else 0
        laid = apart if self.model.pads else batch.n_tokens
        return Work(apart=apart, laid=laid, spared=spared(self.model, replayed), scored=n_scored)

    def _through_trunk(self, batch: Batch) -> Passage:
        """Say what passes the trunk: paths whose last segment it has not seen, with all that stands before them."""
        keys = [_key(batch, segment) for segment in range(batch.n_segments)]
        missing = [segment for segment, key in enumerate(keys) if key not in self.kept]
        if not missing:
            return Passage()
        for segment in {step for one in missing for step in batch.path(one)}:
            self.kept[keys[segment]] = int(batch.ends_S[segment] - batch.starts_S[segment])
        return passages(self.model, select(batch, missing))[0]


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


def _key(batch: Batch, segment: int) -> bytes:
    """Name what the states of a segment depend on: the ids and types of its path, and where its own places begin."""
    places = [slice(int(batch.starts_S[s]), int(batch.ends_S[s])) for s in batch.path(segment)]
    own = places[-1].stop - places[-1].start
    parts = [array[place].tobytes() for array in (batch.ids_T, batch.types_T) for place in places]
    return b"".join([*parts, own.to_bytes(4, "little")])
