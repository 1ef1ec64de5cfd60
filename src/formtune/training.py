"""The one training loop.

The loss of an update is a weighted mean, by default over examples, each counting the mean over its learned tokens
(``average="token"`` counts every learned token equally). Its denominator is known before the update begins, so every
micro-batch adds its share and how an update is split, over micro-batches or processes, changes nothing but rounding.

Shape letters: T tokens of a flat row, S segments, N places that are asked for something.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, astuple, dataclass, field, replace
from itertools import islice
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from formtune import processes
from formtune.checkpoints import Keeper
from formtune.errors import SettingError
from formtune.freezing import levels, trained
from formtune.holding import held
from formtune.models import Model
from formtune.optimizing import let_join, optimizer_of, parameter_groups, set_rates
from formtune.shards import digest_of
from formtune.tokens import Tokens
from formtune.training_state import State, digest_of_tokens, random_state, restore_random
from formtune.updates import (
    TrainSettings,
    dealt,
    factors_of,
    looks_after,
    micro_batches,
    n_computed,
    n_learned,
    updates,
)
from formtune.work import Work, padding_work


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look at the dev records found: the value that training goes by, larger is better, and what to show."""

    score: float
    shown: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TracePoint:
    """One update: its loss, what it cost, what that spared others and, where one was taken, the look after it."""

    step: int
    loss: float
    learning_rate: float
    n_learned: int
    n_tokens: int
    seconds: float
    work: Work
    look: Look | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training came to; the model holds the weights of the best look.

    Attributes:
        trace: one point per update.
        best_step: the update whose weights were kept.
        best: the look that chose them.
        work: what was computed and what that spared, looks not counted.
        n_tokens: tokens that were laid out, looks not counted.
        n_learned: tokens with a loss weight among them (examples, for a class head).
        seconds: wall time of the updates, looks not counted.
        n_parameters: how many numbers were trained.
        stopped_early: whether patience ran out.
        resumed: after which updates it was taken up again, in order.
    """

    trace: tuple[TracePoint, ...]
    best_step: int
    best: Look
    work: Work
    n_tokens: int
    n_learned: int
    seconds: float
    n_parameters: int
    stopped_early: bool
    resumed: tuple[int, ...] = ()


class Diverged(SettingError):
    """A loss, a gradient or a weight is no number."""


def train(
    model: Model,
    examples: Sequence[Tokens],
    *,
    settings: TrainSettings,
    look: Callable[[], Look] | None = None,
    progress: Callable[[TracePoint], None] | None = None,
    keeper: Keeper | None = None,
) -> Trained:
    """Fine-tune a model in place and leave it with the weights of its best look.

    Args:
        model: from :func:`formtune.loading.load_model`; what is frozen stays as it is.
        examples: the training records in one format.
        settings: how.
        look: scores the model on the dev records; without it the last weights are kept.
        progress: told of every update.
        keeper: keeps checkpoints; where it has some, training goes on from the newest whole one.

    Raises:
        SettingError: where there is nothing to train; where what is kept is of another training, or cannot be written;
            :class:`Diverged` where the loss or its gradient is no longer a number.
        Stopped: where a signal that the keeper heeds asked to stop.
    """
    if not examples:
        raise ValueError("There is nothing to train on.")
    _check_some_trained(model)
    _check_prompt(model, settings)
    torch.manual_seed(settings.seed)
    course = _Course(model, _Loop(model, settings), look)
    if keeper:
        course.take_up(keeper, examples)
    with keeper.heeding() if keeper else nullcontext():
        for update in updates(examples, settings, model.tokenizer, after=course.step):
            if course.best.tired:
                break
            try:
                point = course.go(update)
                if progress:
                    progress(point)
                if keeper:
                    keeper.after(course.step, course.state)
            except Diverged as error:
                raise _advised(error, keeper) from error
    return course.finish()


def _advised(error: Diverged, keeper: Keeper | None) -> Diverged:
    return Diverged(error.problem, f"{error.remedy} {keeper.advice()}", at=error.at) if keeper else error


class _Course:
    """A training on its way: what it has come to, how it is kept and how it is taken up again."""

    def __init__(self, model: Model, loop: "_Loop", look: Callable[[], Look] | None) -> None:
        self.loop = loop
        self.model, self.settings = model, loop.settings
        self.parameters = trained(model)
        self.look = look
        self.best = _Best(self.parameters, loop.settings.patience)
        self.trace: list[TracePoint] = []
        self.resumed: list[int] = []

    @property
    def step(self) -> int:
        """Updates done."""
        return len(self.trace)

    def go(self, update: Sequence[Tokens]) -> TracePoint:
        """Do the next update, and take a look where one is due."""
        step = self.step + 1
        point = self.loop.update(step, update)
        if self.look is not None and looks_after(step, self.settings):
            point = replace(point, look=self.look())
        self.best.see(point)
        self.trace.append(point)
        return point

    def state(self) -> State:
        """Give everything that the next update depends on.

        Raises:
            Diverged: where a weight is no number: that is not to be kept.
        """
        weights = self.loop.held.weights()
        if not all(bool(torch.isfinite(one).all()) for one in weights.values()):
            raise _diverged("A weight is no number", self.step)
        best = {"look": self.best.look, "waited": self.best.waited}
        notes = {"trace": self.trace, "best": best, "resumed": self.resumed}
        return State(
            step=self.step,
            weights=weights,
            optimizer=self.loop.held.optimizer_state(self.loop.optimizer),
            random=_random_of_all(),
            best_step=self.best.step,
            best=self.best.weights,
            notes=msgspec.to_builtins(notes),
        )

    def take_up(self, keeper: Keeper, examples: Sequence[Tokens]) -> None:
        """Go on from what a keeper has of this training; begin where it has nothing."""
        state = keeper.take_up(self._job(examples))
        if state is None:
            return
        n_steps, done = self.settings.steps, state.step
        keeper.tell(
            f"goes on at update {done + 1} of {n_steps}" if done < n_steps else f"all {n_steps} updates are done"
        )
        self.loop.held.put(state.weights, self.loop.optimizer, state.optimizer)
        self.trace = msgspec.convert(state.notes["trace"], list[TracePoint])
        best = state.notes["best"]
        self.best.look = msgspec.convert(best["look"], Look | None)
        self.best.step, self.best.weights, self.best.waited = state.best_step, dict(state.best), best["waited"]
        self.resumed = [*state.notes["resumed"], state.step]
        if self.loop.model.trunk:
            self._remember(examples)
        restore_random(_own(state.random))

    def _job(self, examples: Sequence[Tokens]) -> dict[str, Any]:
        """Say what this training is of."""
        return {
            "settings": asdict(self.settings),
            "data": digest_of_tokens(examples),
            "model": self.model.base_digest,
            "processes": processes.count(),
            "parameters": digest_of([(name, list(p.shape)) for name, p in self.parameters.items()]),
        }

    def _remember(self, examples: Sequence[Tokens]) -> None:
        """Fill the trunk's cache, where it is not on disk any more, as the updates done have filled it.

        In the same batches: a product of matrices may round a row differently beside other rows. States are found by
        their texts, so one epoch and one look have met them all.
        """
        looked, per_epoch = self.look is None, -(-len(examples) // self.settings.batch_size)
        for step, update in enumerate(islice(updates(examples, self.settings, self.model.tokenizer), self.step), 1):
            if step <= per_epoch:
                self.loop.remember(update)
            if self.look is not None and not looked and looks_after(step, self.settings):
                self.look()  # as far as the trunk goes, it does not depend on the trained weights
                looked = True
            if looked and step >= per_epoch:
                return

    def finish(self) -> Trained:
        """Leave the model with its best weights, and say what came out."""
        self.best.restore()
        self.model.train(False)
        return Trained(
            trace=tuple(self.trace),
            best_step=self.best.step or self.step,
            best=self.best.look or Look(score=-self.trace[-1].loss),
            work=sum((p.work for p in self.trace), Work()),
            n_tokens=sum(p.n_tokens for p in self.trace),
            n_learned=sum(p.n_learned for p in self.trace),
            seconds=sum(p.seconds for p in self.trace),
            n_parameters=sum(p.numel() for p in self.parameters.values()),
            stopped_early=self.best.tired,
            resumed=tuple(self.resumed),
        )


def _check_some_trained(model: Model) -> None:
    if not trained(model):
        raise SettingError(
            "Everything is frozen, so there is nothing to train.", "Free a block or a head.", at="model.freeze"
        )


def _random_of_all() -> dict[str, Tensor]:
    """Give the states of every process's random generators, by the process's number and the generator's name."""
    return {
        f"{rank}/{name}": state
        for rank, states in enumerate(processes.gathered(random_state()))
        for name, state in states.items()
    }


def _own(states: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take this process's from what :func:`_random_of_all` gave."""
    own = f"{processes.rank()}/"
    return {name.removeprefix(own): state for name, state in states.items() if name.startswith(own)}


def _check_prompt(model: Model, settings: TrainSettings) -> None:
    if settings.prompt_weight and not (model.causal and model.shape == "decoder"):
        raise SettingError(
            f"A prompt is learned only where it is written on: by a decoder, and not by {model.name!r} here.",
            "Set it to 0.",
            at="training.prompt_weight",
        )


class _Best:
    """Remembers the weights of the best look, and how many looks ago it was."""

    def __init__(self, parameters: dict[str, nn.Parameter], patience: int | None) -> None:
        self.parameters = parameters
        self.patience = patience
        self.look: Look | None = None
        self.step = 0
        self.waited = 0
        self.weights: dict[str, Tensor] = {}

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
        # On the host: no device holds two of a model for this.
        self.weights = {n: p.detach().to("cpu", copy=True) for n, p in self.parameters.items()}

    def restore(self) -> None:
        _copy(self.weights, self.parameters)


def _copy(weights: Mapping[str, Tensor], parameters: Mapping[str, nn.Parameter]) -> None:
    with torch.no_grad():
        for name, one in weights.items():
            parameters[name].copy_(one)


def _diverged(problem: str, step: int) -> Diverged:
    return Diverged(f"{problem} at update {step}.", "Lower the learning rate.", at="training.learning_rate")


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
        computed = sum((one for _, one in parts), Work())
        loss, *counts = self.held.add_up(sum(loss for loss, _ in parts), *astuple(computed))
        if not math.isfinite(loss):
            raise _diverged(f"The loss is {loss}", step)
        length = self.held.clip(self.settings.clip or math.inf)
        if not math.isfinite(length):  # clipped by it, every weight would be lost
            raise _diverged(f"The gradient's length is {length}", step)
        work = Work.of(counts) + padding_work(examples, scores=self.model.class_head is None)
        rate = set_rates(self.optimizer, step, self.settings)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if looks_after(step, self.settings):
            self.held.hand_back()
        return TracePoint(
            step=step,
            loss=loss,
            learning_rate=rate,
            n_learned=sum(n_learned(t) for t in examples),
            n_tokens=work.laid,
            seconds=time.perf_counter() - start,
            work=work,
        )

    def remember(self, examples: Sequence[Tokens]) -> None:
        """Let the frozen trunk's cache see an update's examples in its micro-batches; nothing is learned."""
        self.held.begin()
        with torch.no_grad():
            for batch in self._micro_batches(examples):
                self.held.objective(*batch)

    def _micro_batches(self, examples: Sequence[Tokens]) -> list[tuple[list[Tokens], np.ndarray]]:
        """Give this process's examples of an update with their factors, as many at once as the settings say."""
        factors = factors_of(examples, self.settings)
        hands = dealt(examples, processes.count(), shares=self.shares)
        groups = [
            micro_batches(examples, hand, self.settings, shares=self.shares, pads=self.model.pads) for hand in hands
        ]
        mine = [([examples[i] for i in group], factors[group]) for group in groups[processes.rank()]]
        idle = [min(examples, key=n_computed)], np.zeros(1, dtype=np.float32)
        return mine + [idle] * (max(map(len, groups)) - len(mine) if self.held.in_step else 0)

    def _backward(self, examples: Sequence[Tokens], factors_E: np.ndarray) -> tuple[float, Work]:
        loss, work = self.held.objective(examples, factors_E)
        self.held.backward(loss)
        return float(loss.detach()), work if factors_E.any() else Work()


def dropout_seed(seed: int, rank: int) -> int:
    """Seed a process's dropout: the main process with the training's own seed, each other with one derived from it."""
    return seed if rank == 0 else int(np.random.SeedSequence((seed, rank)).generate_state(1, np.uint64)[0])
