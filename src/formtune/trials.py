"""The runs of a comparison: for every arm the same trials of the learning rate, then the same seeds.

Every arm sees the same records in the same order for the same number of updates. The learning rate is chosen on the
dev records with the first seed; the other seeds use it. The test records are read once per run, by final weights only.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from formtune.adapters import new_weights
from formtune.answers import Prediction
from formtune.arms import Readied
from formtune.bench import Bench
from formtune.checkpoints import Keeper
from formtune.evaluation import outcomes
from formtune.examples import Example, Task
from formtune.footprint import Limits, within_memory
from formtune.loading import Options
from formtune.memory import held_bytes, release
from formtune.metrics import Metric
from formtune.models import Model
from formtune.outcomes import Outcome
from formtune.precision import settled
from formtune.prediction import in_labels, label_prior, predict
from formtune.processes import alike, check_same, from_main, spread
from formtune.progress import Event, Progress
from formtune.training import Diverged, TracePoint, Trained
from formtune.updates import TrainSettings, n_looks
from formtune.verdicts import Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What every arm of a comparison gets, the same for all.

    Attributes:
        task: what the formats are told of the data.
        settings: one fine-tuning, but for its learning rate and seed.
        learning_rates: to try on the first seed.
        seeds: of the runs.
        options: how models are taken up.
        metric: what is compared.
        limits: what the user says of memory.
        chosen_by: what is best on the dev records while training; the loss where it is None.
        label_prior: whether what a model answers to a record that says nothing is taken off its scores.
        generate: whether free answers are written beside the scored ones.
        max_new_tokens: the most that a free answer is long.
    """

    task: Task
    settings: TrainSettings
    learning_rates: Sequence[float]
    seeds: Sequence[int]
    options: Options
    metric: Metric
    limits: Limits
    chosen_by: Metric | None = None
    label_prior: bool = False
    generate: bool = False
    max_new_tokens: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedRun:
    """One run of an arm.

    Attributes:
        seed: its seed.
        trained: how training went.
        prior: log-probabilities of the labels that were taken off; empty where none were.
        predictions: one per test record, in order.
        outcomes: the same, beside the right answers.
        ms_per_answer: wall time.
    """

    seed: int
    trained: Trained
    prior: tuple[float, ...]
    predictions: Sequence[Prediction]
    outcomes: Sequence[Outcome]
    ms_per_answer: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRuns:
    """All runs of an arm.

    Attributes:
        readied: the arm and its material.
        plan: what the arm got, with what was measured on this machine in the place of ``"auto"``.
        learning_rate: the one that won on the dev records.
        tried: learning rate → dev score of its trial (larger is better).
        runs: one per seed.
        best_seed: the seed whose dev score is best.
        weights: what that run trained.
        base_digest: digest of the pretrained model.
        n_parameters: parameters of the whole model.
        n_fresh: parameters that are not pretrained: drawn anew for each seed.
    """

    readied: Readied
    plan: Plan
    learning_rate: float
    tried: Mapping[float, float]
    runs: Sequence[SeedRun]
    best_seed: int
    weights: Mapping[str, Tensor]
    base_digest: str
    n_parameters: int
    n_fresh: int

    @property
    def cost(self) -> Cost:
        """What this arm costs; an answer's time is that of the first seed, for which nothing of the test is replayed."""
        first = self.runs[0]
        return Cost(
            parameters_trained=first.trained.n_parameters,
            tokens_laid=round(float(np.mean([r.trained.n_tokens for r in self.runs]))),
            training_s=float(np.mean([r.trained.seconds for r in self.runs])),
            tokens_per_answer=float(np.mean([_tokens_of(p) for p in first.predictions])),
            ms_per_answer=first.ms_per_answer,
            parameters=self.n_parameters,
        )


def _tokens_of(answer: Prediction) -> int:
    """Count what an answer takes; a text written beside scored label words is not part of it."""
    return answer.n_tokens_in + (answer.n_tokens_out if answer.label is None else 0)


def taken_up(readied: Readied, plan: Plan, *, progress: Progress) -> tuple[Bench, Plan]:
    """Load an arm's model, and settle what depends on the machine.

    Returns:
        The bench, and the plan as it is carried out: every run of the arm, resumed ones as well, must use the same.
    """
    options = from_main(lambda: settled(plan.options, readied.arm.model, progress=progress))
    bench = loaded(readied, plan.task, options=options, progress=progress)
    settings = from_main(lambda: as_memory_allows(bench, plan.settings, limits=plan.limits, progress=progress))
    return bench, replace(plan, options=options, settings=settings)


def loaded(readied: Readied, task: Task, *, options: Options, progress: Progress) -> Bench:
    """Load an arm's model, telling what of its frozen part is kept on disk, or why nothing is."""
    # What of the model before is in a circle goes first (code of its family, or an exception with its frames, may make
    # one): two would not fit where one does, and what is free is measured next.
    release()
    bench = alike(lambda: Bench(readied, task, options=options))
    check_same(bench.model.base_digest, what="model")
    for notice in alike(bench.notices):
        progress(Event(f"{readied.arm.name}: {notice}"))
    return bench


def as_memory_allows(bench: Bench, settings: TrainSettings, *, limits: Limits, progress: Progress) -> TrainSettings:
    """Settle how much is computed at once, telling where blocks are computed twice for it."""
    readied = bench.readied
    settings = within_memory(bench.model, readied.train.in_order(), settings, limits=limits)
    if settings.checkpoint_activations and limits.checkpoint_activations is None:
        progress(Event(f"{readied.arm.name}: blocks are computed twice, since memory is short"))
    return settings


def run_arm(readied: Readied, plan: Plan, *, progress: Progress) -> ArmRuns:
    """Do the trials and the seeds of one arm; the winning trial is the first seed's run."""
    bench, plan = taken_up(readied, plan, progress=progress)
    first, *others = plan.seeds
    chosen, tried = _best_trial(bench, plan, progress=progress)
    bench.restore(chosen.weights)
    runs = [_read_test(bench, first, chosen.trained, plan=plan, progress=progress)]
    best_seed, best, weights = first, chosen.trained.best.score, chosen.weights
    for seed in others:
        settings = replace(plan.settings, learning_rate=chosen.learning_rate, seed=seed)
        trained = fine_tuned(bench, settings, plan, progress=progress)
        runs.append(_read_test(bench, seed, trained, plan=plan, progress=progress))
        if trained.best.score > best:
            best_seed, best, weights = seed, trained.best.score, bench.weights()
    return ArmRuns(
        readied=readied,
        plan=plan,
        learning_rate=chosen.learning_rate,
        tried=tried,
        runs=runs,
        best_seed=best_seed,
        weights=weights,
        base_digest=bench.model.base_digest,
        n_parameters=sum(p.numel() for p in bench.model.module.parameters()),
        n_fresh=sum(p.numel() for p in new_weights(bench.model).values()),
    )


@dataclass(frozen=True, slots=True)
class _Trial:
    """One learning rate on the first seed: its score on the dev records, ties broken by the loss."""

    learning_rate: float
    score: tuple[float, float]
    trained: Trained
    weights: Mapping[str, Tensor]


def _best_trial(bench: Bench, plan: Plan, *, progress: Progress) -> tuple[_Trial, dict[float, float]]:
    """Try the learning rates, keeping the weights of the best alone; one at which training diverges is no candidate.

    Raises:
        SettingError: where training diverges at every one.
    """
    best: _Trial | None = None
    tried: dict[float, float] = {}
    for rate in plan.learning_rates:
        try:
            trial = _trial(bench, rate, plan, progress=progress)
        except Diverged as error:
            if rate == plan.learning_rates[-1] and best is None:
                raise
            progress(Event(f"{bench.readied.arm.name}: {error.problem}"))
            tried[rate] = -math.inf
            continue
        tried[rate] = trial.score[0]
        best = trial if best is None or trial.score > best.score else best
    assert best is not None
    return best, tried


def _trial(bench: Bench, rate: float, plan: Plan, *, progress: Progress) -> _Trial:
    settings = replace(plan.settings, learning_rate=rate, seed=plan.seeds[0])
    trained = fine_tuned(bench, settings, plan, progress=progress)
    loss, metric = trained.best.score, plan.metric
    score = (loss, loss)
    if metric.needs in ("label", "probabilities") and len(plan.learning_rates) > 1:
        prior = prior_of(bench.model, bench.readied, plan)
        dev = list(bench.readied.dev.examples.values())
        value = metric.score(answered(bench, dev, plan, prior=prior)[1])
        score = (value if metric.higher_is_better else -value, loss)
    return _Trial(rate, score, trained, bench.weights())


def fine_tuned(
    bench: Bench,
    settings: TrainSettings,
    plan: Plan,
    *,
    progress: Progress,
    keeper: Keeper | None = None,
    watch: Callable[[TracePoint], None] | None = None,
) -> Trained:
    """Do one run of an arm, judged by what the plan chooses by; see :func:`run_on`."""
    stage = f"{bench.readied.arm.name}, seed {settings.seed}, learning rate {settings.learning_rate:g}"
    judge = judge_of(bench.readied, plan, plan.chosen_by) if plan.chosen_by else None
    return run_on(bench, settings, stage, judge=judge, progress=progress, keeper=keeper, watch=watch)


Judge = Callable[[Model], tuple[float, dict[str, float]]]


def run_on(  # noqa: PLR0913
    bench: Bench,
    settings: TrainSettings,
    stage: str,
    *,
    judge: Judge | None,
    progress: Progress,
    keeper: Keeper | None = None,
    watch: Callable[[TracePoint], None] | None = None,
) -> Trained:
    """Do one run, telling of every update, and in the end of what went wrong with keeping.

    Args:
        bench: holds the model.
        settings: how.
        stage: what the run is called.
        judge: scores the model on the dev records; None for the loss.
        progress: told of it.
        keeper: keeps checkpoints.
        watch: told all that is known of an update; may end the run by what it raises.
    """

    def tell(point: TracePoint) -> None:
        progress(told(stage, point, bench, settings=settings))
        if watch:
            watch(point)

    try:
        return bench.run(settings, metric=judge, progress=tell, keeper=keeper)
    finally:
        for news in bench.model.trunk.news() if bench.model.trunk else ():
            progress(Event(f"{bench.readied.arm.name}: {news}"))


def judge_of(readied: Readied, plan: Plan, metric: Metric) -> Judge:
    """Make what scores the dev records by a metric: larger is better first, then the metric's own value by name."""
    dev = list(readied.dev.examples.values())

    def judge(model: Model) -> tuple[float, dict[str, float]]:
        prior = prior_of(model, readied, plan)
        answers = spread(dev, lambda part: predict(model, part, max_new_tokens=plan.max_new_tokens, prior=prior))
        value = metric.score(outcomes(answers, dev, plan.task))
        return (value if metric.higher_is_better else -value), {metric.name: value}

    return judge


def prior_of(model: Model, readied: Readied, plan: Plan) -> np.ndarray | None:
    """Find what the model as it stands answers to a record that says nothing, where that is to be taken off.

    A class head is left as it is: its bias is trained.

    """
    if not plan.label_prior or not plan.task.labels or model.output == "head":
        return None
    return label_prior(model, readied.blanks)


def told(stage: str, point: TracePoint, bench: Bench, *, settings: TrainSettings) -> Event:
    """Tell of an update."""
    return Event(
        stage,
        step=point.step,
        steps=settings.steps,
        loss=point.loss,
        n_learned=point.n_learned,
        seconds=point.seconds,
        shown=point.look.shown if point.look else None,
        looks_left=n_looks(settings, after=point.step) if bench.readied.dev.tokens else 0,
        n_computed=point.work.computed,
        n_padded=point.work.padded,
        memory_bytes=held_bytes(bench.model.device),
    )


def answered(
    bench: Bench,
    examples: Sequence[Example],
    plan: Plan,
    *,
    prior: np.ndarray | None,
    generate: bool = False,
) -> tuple[list[Prediction], list[Outcome]]:
    """Answer examples with the bench's model as it stands, and set the answers beside what is right."""
    found = predict(bench.model, examples, generate=generate, max_new_tokens=plan.max_new_tokens, prior=prior)
    predictions = in_labels(found, plan.task)
    return predictions, outcomes(predictions, examples, plan.task)


def _read_test(bench: Bench, seed: int, trained: Trained, *, plan: Plan, progress: Progress) -> SeedRun:
    progress(Event(f"{bench.readied.arm.name}, seed {seed}: test records"))
    examples = list(bench.readied.test.examples.values())
    prior = prior_of(bench.model, bench.readied, plan)
    start = time.perf_counter()
    # The time of the first seed tells what an answer costs.
    with bench.model.computing_anew() if seed == plan.seeds[0] else nullcontext():
        predictions, found = answered(bench, examples, plan, prior=prior)
    ms = (time.perf_counter() - start) * 1000 / max(1, len(examples))
    if plan.generate:  # what is written beside scored words is not what an answer costs
        predictions, found = answered(bench, examples, plan, prior=prior, generate=True)
    return SeedRun(
        seed=seed,
        trained=trained,
        prior=() if prior is None else tuple(prior.tolist()),
        predictions=predictions,
        outcomes=found,
        ms_per_answer=ms,
    )
