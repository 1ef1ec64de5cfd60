"""The one training loop.

The loss of an update is a weighted mean, by default over examples, each counting the mean over its learned tokens
(``average="token"`` counts every learned token equally). Its denominator is known before the update begins, so every
micro-batch adds its share and how an update is split, over micro-batches or processes, changes nothing but rounding.

Shape letters: T tokens of a flat row, S segments, N places that are asked for something.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from formtune import processes
from formtune.batches import by_budget
from formtune.errors import SettingError
from formtune.freezing import levels, trained
from formtune.holding import held
from formtune.models import Model
from formtune.optimizing import let_join, optimizer_of, parameter_groups, set_rates
from formtune.tokens import Tokens
from formtune.updates import TrainSettings, dealt, factors_of, n_computed, n_learned, updates


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look at the dev records found: the value that training goes by, larger is better, and what to show."""

    score: float
    shown: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TracePoint:
    """One update: its loss, what it cost and, where one was taken, the look after it."""

    step: int
    loss: float
    learning_rate: float
    n_learned: int
    n_tokens: int
    seconds: float
    look: Look | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training came to; the model holds the weights of the best look.

    Attributes:
        trace: one point per update.
        best_step: the update whose weights were kept.
        best: the look that chose them.
        n_tokens: tokens that were computed, looks not counted.
        n_learned: tokens with a loss weight among them (examples, for a class head).
        seconds: wall time of the updates, looks not counted.
        n_parameters: how many numbers were trained.
        stopped_early: whether patience ran out.
    """

    trace: tuple[TracePoint, ...]
    best_step: int
    best: Look
    n_tokens: int
    n_learned: int
    seconds: float
    n_parameters: int
    stopped_early: bool


class Diverged(SettingError):
    """The loss of an update is no number."""


def train(
    model: Model,
    examples: Sequence[Tokens],
    *,
    settings: TrainSettings,
    look: Callable[[], Look] | None = None,
    progress: Callable[[TracePoint], None] | None = None,
) -> Trained:
    """Fine-tune a model in place and leave it with the weights of its best look.

    Args:
        model: from :func:`formtune.loading.load_model`; what is frozen stays as it is.
        examples: the training records in one format.
        settings: how.
        look: scores the model on the dev records; without it the last weights are kept.
        progress: told of every update.

    Raises:
        SettingError: where there is nothing to train; :class:`Diverged` where the loss is no longer a number.
    """
    if not examples:
        raise ValueError("There is nothing to train on.")
    parameters = _some_trained(model)
    torch.manual_seed(settings.seed)
    loop = _Loop(model, settings)
    best = _Best(parameters, settings.patience)
    trace: list[TracePoint] = []
    for step, update in enumerate(updates(examples, settings, model.tokenizer), 1):
        point = loop.update(step, update)
        due = look is not None and (step % settings.validate_every == 0 or step == settings.steps)
        if look is not None and due:
            point = replace(point, look=look())
        best.see(point)
        trace.append(point)
        if progress:
            progress(point)
        if best.tired:
            break
    best.restore()
    model.train(False)
    return Trained(
        trace=tuple(trace),
        best_step=best.step or len(trace),
        best=best.look or Look(score=-trace[-1].loss),
        n_tokens=sum(p.n_tokens for p in trace),
        n_learned=sum(p.n_learned for p in trace),
        seconds=sum(p.seconds for p in trace),
        n_parameters=sum(p.numel() for p in parameters.values()),
        stopped_early=best.tired,
    )


def _some_trained(model: Model) -> dict[str, nn.Parameter]:
    parameters = trained(model)
    if not parameters:
        raise SettingError(
            "Everything is frozen, so there is nothing to train.", "Free a block or a head.", at="model.freeze"
        )
    return parameters


class _Best:
    """Remembers the weights of the best look, and how many looks ago it was."""

    def __init__(self, parameters: dict[str, nn.Parameter], patience: int | None) -> None:
        self.parameters = parameters
        self.patience = patience
        self.look: Look | None = None
        self.step = 0
        self.waited = 0
        self._weights: dict[str, Tensor] = {}

    @property
    def tired(self) -> bool:
        return self.patience is not None and self.waited >= self.patience

    def see(self, point: TracePoint) -> None:
        if point.look is None:
            return
        if self.look is not None and not point.look.score > self.look.score:  # a score that is no number is no better
            self.waited += 1
            return
        self.look, self.step, self.waited = point.look, point.step, 0
        self._weights = {n: p.detach().clone() for n, p in self.parameters.items()}

    def restore(self) -> None:
        with torch.no_grad():
            for name, weights in self._weights.items():
                self.parameters[name].copy_(weights)


class _Loop:
    """Optimizer, schedule and the arithmetic of one update, of which each process computes its share."""

    def __init__(self, model: Model, settings: TrainSettings) -> None:
        self.settings = settings
        self.held = held(model, settings)
        self.model = self.held.model
        self.shares = model.weaves and settings.share_prefixes
        self.levels = levels(self.model)
        self.optimizer = optimizer_of(parameter_groups(self.model, self.held.parameters, settings), settings)
        self.optimizer.zero_grad()  # of a training before that diverged
        if processes.rank():  # else every process would drop the same places
            torch.manual_seed(dropout_seed(settings.seed, processes.rank()))

    def update(self, step: int, examples: Sequence[Tokens]) -> TracePoint:
        start = time.perf_counter()
        self.held.begin()
        let_join(self.model, step, self.settings, levels=self.levels)
        parts = [self._backward(*batch) for batch in self._micro_batches(examples)]
        loss, n_tokens = self.held.add_up(sum(loss for loss, _ in parts), sum(n for _, n in parts))
        if not math.isfinite(loss):
            raise Diverged(
                f"The loss is {loss} at update {step}.", "Lower the learning rate.", at="training.learning_rate"
            )
        if self.settings.clip is not None:
            nn.utils.clip_grad_norm_(self.held.parameters.values(), self.settings.clip)
        rate = set_rates(self.optimizer, step, self.settings)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if step % self.settings.validate_every == 0 or step == self.settings.steps:
            self.held.hand_back()
        return TracePoint(
            step=step,
            loss=loss,
            learning_rate=rate,
            n_learned=sum(n_learned(t) for t in examples),
            n_tokens=n_tokens,
            seconds=time.perf_counter() - start,
        )

    def _micro_batches(self, examples: Sequence[Tokens]) -> list[tuple[list[Tokens], np.ndarray]]:
        """Give this process's examples of an update with their factors, as many at once as the settings say."""
        factors = factors_of(examples, self.settings)
        hands = dealt(examples, processes.count(), shares=self.shares)
        groups = [self._groups(examples, hand) for hand in hands]
        mine = [([examples[i] for i in group], factors[group]) for group in groups[processes.rank()]]
        idle = [min(examples, key=n_computed)], np.zeros(1, dtype=np.float32)
        return mine + [idle] * (max(map(len, groups)) - len(mine) if self.held.in_step else 0)

    def _groups(self, examples: Sequence[Tokens], hand: Sequence[int]) -> list[list[int]]:
        lengths = [n_computed(examples[i]) for i in hand]
        batches = by_budget(lengths, self.settings.micro_batch_tokens, sort=False, padded=self.model.pads)
        return [[hand[place] for place in batch] for batch in batches]

    def _backward(self, examples: Sequence[Tokens], factors_E: np.ndarray) -> tuple[float, int]:
        loss, n_tokens = self.held.objective(examples, factors_E)
        self.held.backward(loss)
        return float(loss.detach()), n_tokens if factors_E.any() else 0


def dropout_seed(seed: int, rank: int) -> int:
    """Seed a process's dropout: the main process with the training's own seed, each other with one derived from it."""
    return seed if rank == 0 else int(np.random.SeedSequence((seed, rank)).generate_state(1, np.uint64)[0])
