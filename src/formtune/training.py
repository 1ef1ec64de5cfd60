"""The one training loop.

The loss of an update is a weighted mean, by default over examples, each counting the mean over its learned tokens
(``average="token"`` counts every learned token equally). Its denominator is known before the update begins, so every
micro-batch adds its share and how an update is split changes nothing but rounding.

Shape letters: T tokens of a flat row, S segments, N places that are asked for something.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from formtune.batches import by_budget
from formtune.corruption import corrupted
from formtune.errors import SettingError
from formtune.freezing import trained
from formtune.models import Model
from formtune.objective import Objective
from formtune.tokens import Tokens
from formtune.weaving import alike_together, families


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How a model is fine-tuned; the recipe's ``training`` section says what each is for.

    Attributes:
        steps: number of updates.
        batch_size: examples in an update.
        validate_every: updates between two looks at the dev records.
        patience: looks without a better one after which training stops; None for never.
        class_weights: a factor for each class, or empty.
    """

    steps: int
    batch_size: int = 16
    optimizer: Literal["adamw", "adam", "sgd", "adafactor"] = "adamw"
    learning_rate: float = 5e-5
    head_learning_rate: float | None = None
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float | None = 1.0
    micro_batch_tokens: int = 4096
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] = ()
    average: Literal["example", "token"] = "example"
    order: Literal["random", "families"] = "random"
    share_prefixes: bool = True
    validate_every: int = 50
    patience: int | None = None
    seed: int = 0


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
    loop = _Loop(model, settings, parameters)
    best = _Best(parameters, settings.patience)
    trace: list[TracePoint] = []
    for step, update in enumerate(_updates(examples, settings, model), 1):
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
        objective = Objective(model, label_smoothing=settings.label_smoothing, shares=settings.share_prefixes)
        optimizer = _optimizer(_groups(model, parameters, settings), settings)
        self.objective, self.optimizer = self.accelerator.prepare(objective, optimizer)
        self.optimizer.zero_grad()  # of a training before that diverged
        self.parameters = list(parameters.values())
        self.schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, settings))

    def update(self, step: int, examples: Sequence[Tokens]) -> TracePoint:
        start = time.perf_counter()
        self.model.train(True)
        if self.model.weaves and self.settings.share_prefixes:
            examples = [examples[i] for i in alike_together(examples)]
        factors = factors_of(examples, self.settings)
        lengths = [n_computed(t) for t in examples]
        groups = by_budget(lengths, self.settings.micro_batch_tokens, sort=False, padded=self.model.pads)
        parts = [self._backward([examples[i] for i in group], factors[group]) for group in groups]
        loss = sum(loss for loss, _ in parts)
        if not math.isfinite(loss):
            raise Diverged(
                f"The loss is {loss} at update {step}.", "Lower the learning rate.", at="training.learning_rate"
            )
        if self.settings.clip is not None:
            self.accelerator.clip_grad_norm_(self.parameters, self.settings.clip)
        rate = float(self.schedule.get_last_lr()[0])
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        return TracePoint(
            step=step,
            loss=loss,
            learning_rate=rate,
            n_learned=sum(_n_learned(t) for t in examples),
            n_tokens=sum(n for _, n in parts),
            seconds=time.perf_counter() - start,
        )

    def _backward(self, examples: Sequence[Tokens], factors_E: np.ndarray) -> tuple[float, int]:
        loss, n_tokens = self.objective(examples, factors_E)
        self.accelerator.backward(loss)
        return float(loss.detach()), n_tokens


def n_computed(tokens: Tokens) -> int:
    """Count the tokens of an example, both sides of it."""
    return len(tokens.ids_T) + (len(tokens.decoder.ids_T) if tokens.decoder else 0)


def _side(tokens: Tokens) -> Tokens:
    return tokens.decoder or tokens


def _n_learned(tokens: Tokens) -> int:
    return int(np.count_nonzero(_side(tokens).weights_T)) or int(tokens.gold is not None)


def factors_of(examples: Sequence[Tokens], settings: TrainSettings) -> np.ndarray:
    """Say what the loss of each example of an update counts, so that the update's loss is a weighted mean.

    Returns:
        float32 ``[S]``: to multiply the sum of an example's weighted token losses (its one loss, for a class head).
    """
    counts = np.array(
        [1.0 if not settings.class_weights or t.gold is None else settings.class_weights[t.gold] for t in examples]
    )
    weights = np.array([float(_side(t).weights_T.sum()) or 1.0 for t in examples])
    if settings.average == "token":
        return np.asarray(counts / (counts * weights).sum(), dtype=np.float32)
    return np.asarray(counts / weights / counts.sum(), dtype=np.float32)


def _updates(examples: Sequence[Tokens], settings: TrainSettings, model: Model) -> Iterator[list[Tokens]]:
    """Give the examples of each update: every epoch in a new seeded order, an update never crossing two epochs."""
    chance = np.random.default_rng(settings.seed)
    alone = [[i] for i in range(len(examples))]
    groups = families(examples) if settings.order == "families" else alone
    done = epoch = 0
    while done < settings.steps:
        order = _order(groups, chance)
        for start in range(0, len(order), settings.batch_size):
            if done == settings.steps:
                return
            picked = [examples[i] for i in order[start : start + settings.batch_size]]
            yield [corrupted(t, model.tokenizer, (settings.seed, epoch, i)) for i, t in enumerate(picked, start)]
            done += 1
        epoch += 1


def _order(groups: Sequence[Sequence[int]], chance: np.random.Generator) -> list[int]:
    """Shuffle families, and the examples within each."""
    shuffled = [groups[g] for g in chance.permutation(len(groups))]
    return [group[i] for group in shuffled for i in (chance.permutation(len(group)) if len(group) > 1 else (0,))]


def _groups(model: Model, parameters: dict[str, nn.Parameter], settings: TrainSettings) -> list[dict[str, object]]:
    """Part parameters by learning rate (new heads may have their own) and by decay (none on biases and norms)."""
    head_rate = settings.head_learning_rate or settings.learning_rate
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        new = (name in model.fresh and "lora_" not in name) or name.startswith("class_head.")
        decay = settings.weight_decay if parameter.dim() > 1 else 0.0
        groups.setdefault((head_rate if new else settings.learning_rate, decay), []).append(parameter)
    return [{"params": p, "lr": rate, "weight_decay": decay} for (rate, decay), p in groups.items()]


def _optimizer(groups: list[dict[str, object]], settings: TrainSettings) -> torch.optim.Optimizer:
    rate = settings.learning_rate
    match settings.optimizer:
        case "adamw":
            return torch.optim.AdamW(groups, lr=rate, fused=True)
        case "adam":
            return torch.optim.Adam(groups, lr=rate, fused=True)
        case "sgd":
            return torch.optim.SGD(groups, lr=rate, momentum=0.9)
        case "adafactor":
            return torch.optim.Adafactor(groups, lr=rate)


def _rate(step: int, settings: TrainSettings) -> float:
    """Give the factor on the learning rate: up from zero over the warm-up, then down as the schedule says."""
    warm = round(settings.warmup * settings.steps)
    if step < warm:
        return (step + 1) / warm
    if settings.schedule == "constant":
        return 1.0
    done = min(1.0, (step - warm) / max(1, settings.steps - warm))
    return 1.0 - done if settings.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
