"""A loaded model on which an arm's fine-tunings are done, and how it does on the dev records meanwhile."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from formtune.adapters import renew
from formtune.arms import Readied
from formtune.checkpoints import Keeper
from formtune.corruption import corrupted
from formtune.examples import Task
from formtune.freezing import trained
from formtune.keeping import promise, why_not
from formtune.loading import Options, load_model
from formtune.models import Model
from formtune.objective import Objective
from formtune.processes import count, gathered, rank
from formtune.tokens import Tokens
from formtune.training import Look, TracePoint, Trained, train
from formtune.updates import TrainSettings, dealt, factors_of, micro_batches

DEV_SEED = 2**31  # beyond what users take for training seeds


class Bench:
    """A loaded model on which an arm's runs are done one after the other, each from the same pretrained weights."""

    def __init__(self, readied: Readied, task: Task, *, options: Options) -> None:
        self.readied = readied
        self.task = task
        self._limit_gb = options.cache_gb
        self._no_trunk = ""
        if options.cache_trunk and any(t.corrupt for t in readied.train.tokens.values()):
            self._no_trunk = "what is masked anew each epoch is never seen again"
            options = replace(options, cache_trunk=False)
        self.model: Model = load_model(
            readied.arm.model,
            output=readied.output,
            n_classes=len(task.labels) if readied.output == "head" else 0,
            options=options,
        )
        if options.cache_trunk:
            self._no_trunk = why_not(self.model)
        self._start = {n: p.detach().clone() for n, p in trained(self.model).items()}

    def notices(self) -> list[str]:
        """Say, before anything is computed, what of a frozen part is kept on disk, or why it is not."""
        if self.model.trunk:
            parts = (self.readied.train, self.readied.dev, self.readied.test)
            lengths = [len(tokens.ids_T) for part in parts for tokens in part.tokens.values()]
            told = promise(self.model.trunk, n_tokens=sum(lengths), n_examples=len(lengths), limit_gb=self._limit_gb)
            return [told]
        if self._no_trunk and self.model.quiet:
            return [f"what is frozen is computed anew each time: {self._no_trunk}"]
        return []

    def run(
        self,
        settings: TrainSettings,
        *,
        metric: Callable[[Model], tuple[float, dict[str, float]]] | None,
        progress: Callable[[TracePoint], None] | None = None,
        keeper: Keeper | None = None,
    ) -> Trained:
        """Fine-tune from the start with one seed and one learning rate; the model keeps the best weights.

        Args:
            settings: how.
            metric: scores the model on the dev records (larger is better) and says what to show; None for the loss.
            progress: told of every update.
            keeper: keeps checkpoints; where it has some, the run goes on from the newest.
        """
        self.restore(self._start)
        renew(self.model, settings.seed)
        dev = list(self.readied.dev.tokens.values())
        look = (lambda: look_at(self.model, dev, settings=settings, metric=metric)) if dev else None
        return train(
            self.model,
            self.readied.train.in_order(),
            settings=settings,
            look=look,
            progress=progress,
            keeper=keeper,
        )

    def weights(self) -> dict[str, Tensor]:
        """Copy what was trained."""
        return {n: p.detach().clone() for n, p in trained(self.model).items()}

    def restore(self, weights: Mapping[str, Tensor]) -> None:
        """Put copied weights back."""
        with torch.no_grad():
            for name, parameter in trained(self.model).items():
                parameter.copy_(weights[name])


def look_at(
    model: Model,
    dev: Sequence[Tokens],
    *,
    settings: TrainSettings,
    metric: Callable[[Model], tuple[float, dict[str, float]]] | None,
) -> Look:
    """Score the model on the dev records by a metric, or by their loss."""
    loss = dev_loss(model, dev, settings)
    if metric is None:
        return Look(score=-loss, shown={"loss": loss})
    score, shown = metric(model)
    return Look(score=score, shown={"loss": loss, **shown})


def dev_loss(model: Model, dev: Sequence[Tokens], settings: TrainSettings) -> float:
    """Compute the loss of the dev records, weighted as if they were one update.

    It is the loss of what they answer: labels are not smoothed and no prompt is learned, whatever training does, so
    that trainings which differ in that compare. What is masked at random is masked by the record's place, so that every
    look asks for the same. Each process computes its share.
    """
    dev = [corrupted(tokens, model.tokenizer, (DEV_SEED, place)) for place, tokens in enumerate(dev)]
    factors = factors_of(dev, settings)
    objective = Objective(model, label_smoothing=0.0, shares=settings.share_prefixes)
    total = 0.0
    with model.inference():
        shares = model.weaves and settings.share_prefixes
        hand = dealt(dev, count(), shares=shares)[rank()]
        for group in micro_batches(dev, hand, settings, shares=shares, pads=model.pads):
            total += float(objective([dev[i] for i in group], factors[group])[0])
    return sum(gathered(total))
