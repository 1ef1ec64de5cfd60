"""The one training loop.

The loss of an update is a weighted mean, by default over examples, each counting the mean over its learned tokens
(``average="token"`` counts every learned token equally). Its denominator is known before the update begins, so every
micro-batch adds its share and how an update is split changes nothing but rounding.

Shape letters: T tokens of a flat row, S segments, N places that are asked for something.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from formtune.errors import SettingError
from formtune.freezing import trained
from formtune.models import Model
from formtune.objective import Objective
from formtune.optimizing import optimizer_of, parameter_groups, set_rates
from formtune.tokens import Tokens
from formtune.updates import TrainSettings, factors_of, micro_batches, n_learned, updates
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
    _check_prompt(model, settings)
    torch.manual_seed(settings.seed)
    loop = _Loop(model, settings, parameters)
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
        work=sum((p.work for p in trace), Work()),
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
    """Optimizer, schedule and the arithmetic of one update."""

    def __init__(self, model: Model, settings: TrainSettings, parameters: dict[str, nn.Parameter]) -> None:
        from accelerate import Accelerator

        self.model = model
        self.settings = settings
        self.accelerator = Accelerator(cpu=not torch.cuda.is_available())
        if self.accelerator.num_processes > 1:
            raise SettingError(
                f"Training runs in one process, and {self.accelerator.num_processes} were started.",
                "Start it without a launcher.",
                at="accelerate",
            )
        objective = Objective(
            model,
            label_smoothing=settings.label_smoothing,
            shares=settings.share_prefixes,
            recomputes=settings.checkpoint_activations,
        )
        optimizer = optimizer_of(parameter_groups(model, parameters, settings), settings)
        self.objective, self.optimizer = self.accelerator.prepare(objective, optimizer)
        self.optimizer.zero_grad()  # of a training before that diverged
        self.parameters = list(parameters.values())

    def update(self, step: int, examples: Sequence[Tokens]) -> TracePoint:
        start = time.perf_counter()
        self.model.train(True)
        examples, groups = micro_batches(examples, self.settings, weaves=self.model.weaves, pads=self.model.pads)
        factors = factors_of(examples, self.settings)
        parts = [self._backward([examples[i] for i in group], factors[group]) for group in groups]
        loss = sum(loss for loss, _ in parts)
        if not math.isfinite(loss):
            raise Diverged(
                f"The loss is {loss} at update {step}.", "Lower the learning rate.", at="training.learning_rate"
            )
        if self.settings.clip is not None:
            self.accelerator.clip_grad_norm_(self.parameters, self.settings.clip)
        work = sum((one for _, one in parts), padding_work(examples, scores=self.model.class_head is None))
        rate = set_rates(self.optimizer, step, self.settings)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return TracePoint(
            step=step,
            loss=loss,
            learning_rate=rate,
            n_learned=sum(n_learned(t) for t in examples),
            n_tokens=work.laid,
            seconds=time.perf_counter() - start,
            work=work,
        )

    def _backward(self, examples: Sequence[Tokens], factors_E: np.ndarray) -> tuple[float, Work]:
        loss, work = self.objective(examples, factors_E)
        self.accelerator.backward(loss)
        return float(loss.detach()), work
