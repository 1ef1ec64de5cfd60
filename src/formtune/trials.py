"""The runs of a comparison: for every arm the same trials of the learning rate, then the same seeds.

Every arm sees the same records in the same order for the same number of updates. The learning rate is chosen on the
dev records with the first seed; the other seeds use it. The test records are read once per run, by final weights only.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from formtune.answers import Prediction
from formtune.arms import Bench, Readied
from formtune.evaluation import outcomes
from formtune.examples import Example, Task
from formtune.loading import Options
from formtune.metrics import Metric
from formtune.outcomes import Outcome
from formtune.prediction import predict
from formtune.progress import Event, Progress
from formtune.training import TracePoint, Trained, TrainSettings
from formtune.verdicts import Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedRun:
    """One run of an arm.

    Attributes:
        seed: its seed.
        trained: how training went.
        predictions: one per test record, in order.
        outcomes: the same, beside the right answers.
        ms_per_answer: wall time.
    """

    seed: int
    trained: Trained
    predictions: Sequence[Prediction]
    outcomes: Sequence[Outcome]
    ms_per_answer: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRuns:
    """All runs of an arm.

    Attributes:
        readied: the arm and its material.
        learning_rate: the one that won on the dev records.
        tried: learning rate → dev score of its trial (larger is better).
        runs: one per seed.
        best_seed: the seed whose dev score is best.
        weights: what that run trained.
        base_digest: digest of the pretrained model.
        n_parameters: parameters of the whole model.
    """

    readied: Readied
    learning_rate: float
    tried: Mapping[float, float]
    runs: Sequence[SeedRun]
    best_seed: int
    weights: Mapping[str, Tensor]
    base_digest: str
    n_parameters: int

    @property
    def cost(self) -> Cost:
        """What this arm costs; an answer's time is that of the first seed, when nothing of the test was cached."""
        first = self.runs[0]
        return Cost(
            parameters_trained=first.trained.n_parameters,
            tokens_computed=sum(r.trained.n_tokens for r in self.runs),
            training_s=sum(r.trained.seconds for r in self.runs),
            tokens_per_answer=float(np.mean([p.n_tokens_in + p.n_tokens_out for p in first.predictions])),
            ms_per_answer=first.ms_per_answer,
            parameters=self.n_parameters,
        )


def run_arm(
    readied: Readied,
    task: Task,
    *,
    settings: TrainSettings,
    learning_rates: Sequence[float],
    seeds: Sequence[int],
    options: Options,
    metric: Metric,
    generate: bool,
    progress: Progress,
) -> ArmRuns:
    """Do the trials and the seeds of one arm; the winning trial is the first seed's run."""
    bench = Bench(readied, task, options=options)
    trials = [_trial(bench, replace(settings, learning_rate=r, seed=seeds[0]), metric, progress) for r in learning_rates]
    chosen = max(trials, key=lambda t: t.score)
    runs, weights = [], chosen.weights
    for seed in seeds:
        trained = chosen.trained
        if seed == seeds[0]:
            bench.restore(chosen.weights)
        else:
            own = replace(settings, learning_rate=chosen.learning_rate, seed=seed)
            trained = _fine_tuned(bench, own, progress)
        runs.append(_read_test(bench, seed, trained, generate=generate, progress=progress))
        if trained.best.score >= max(r.trained.best.score for r in runs):
            best_seed, weights = seed, bench.weights()
    return ArmRuns(
        readied=readied,
        learning_rate=chosen.learning_rate,
        tried={t.learning_rate: t.score[0] for t in trials},
        runs=runs,
        best_seed=best_seed,
        weights=weights,
        base_digest=bench.model.base_digest,
        n_parameters=sum(p.numel() for p in bench.model.module.parameters()),
    )


@dataclass(frozen=True, slots=True)
class _Trial:
    """One learning rate on the first seed: its score on the dev records, ties broken by the loss."""

    learning_rate: float
    score: tuple[float, float]
    trained: Trained
    weights: Mapping[str, Tensor]


def _trial(bench: Bench, settings: TrainSettings, metric: Metric, progress: Progress) -> _Trial:
    trained = _fine_tuned(bench, settings, progress)
    loss = trained.best.score
    answers = bench.readied.dev.examples.values()
    labelled = metric.needs in ("label", "probabilities") and answers
    value = metric.score(answered(bench, list(answers))[1]) if labelled else loss
    better = value if metric.higher_is_better or not labelled else -value
    return _Trial(settings.learning_rate, (better, loss), trained, bench.weights())


def _fine_tuned(bench: Bench, settings: TrainSettings, progress: Progress) -> Trained:
    stage = f"{bench.readied.arm.name}, seed {settings.seed}, learning rate {settings.learning_rate:g}"

    def tell(point: TracePoint) -> None:
        shown = point.look.shown if point.look else None
        progress(
            Event(stage, point.step, settings.steps, point.loss, point.n_learned, point.seconds, shown)
        )

    return bench.run(settings, metric=None, progress=tell)


def answered(
    bench: Bench, examples: Sequence[Example], *, generate: bool = False
) -> tuple[list[Prediction], list[Outcome]]:
    """Answer examples with the bench's model as it stands, and set the answers beside what is right."""
    predictions = predict(bench.model, examples, generate=generate)
    return predictions, outcomes(predictions, examples, bench.task)


def _read_test(bench: Bench, seed: int, trained: Trained, *, generate: bool, progress: Progress) -> SeedRun:
    progress(Event(f"{bench.readied.arm.name}, seed {seed}: test records"))
    examples = list(bench.readied.test.examples.values())
    start = time.perf_counter()
    predictions, found = answered(bench, examples, generate=generate)
    ms = (time.perf_counter() - start) * 1000 / max(1, len(examples))
    return SeedRun(seed=seed, trained=trained, predictions=predictions, outcomes=found, ms_per_answer=ms)
