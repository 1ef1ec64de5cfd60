"""The search over settings: trials on one training, chosen by the dev records alone; the winner reads the test once.

Every trial has the same seed and records, so that only its settings tell it from the others. The log in the search's
folder is written as each trial ends (:mod:`formtune.studies`); a search that was stopped goes on where it was.
"""

import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor

from formtune.arms import Readied
from formtune.bench import Bench
from formtune.errors import SettingError
from formtune.findings import found_by, in_words, note_on, picture_of, said
from formtune.footprint import Limits
from formtune.loading import Options
from formtune.metrics import Metric
from formtune.model_files import read_json
from formtune.precision import settled
from formtune.progress import Event, Progress
from formtune.results import Result
from formtune.shards import MANIFEST, read_manifest, staged, sweep
from formtune.spaces import Space
from formtune.studies import (
    JOURNAL,
    Attempt,
    Pruned,
    State,
    Study,
    Tried,
    is_begun,
    opened,
)
from formtune.training import Diverged, Look, TracePoint, Trained
from formtune.training_job import done_by, write_run
from formtune.trials import Plan, as_memory_allows, judge_of, loaded, run_on
from formtune.updates import TrainSettings

RUN, RECIPE, RESULT, TRIALS, PICTURE = "run", "best.yaml", "tuning.json", "trials.jsonl", "trials.svg"
Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is searched.

    Attributes:
        space: what each setting is drawn from, by its place.
        own: what the first trial has; empty where that is drawn as well.
        configure: a trial's values → how the model is taken up and trained.
        recipe_of: values → the whole recipe that has them, as plain settings and as YAML.
        trials: how many, those of earlier sittings counted.
        hours: of trials, after which no other begins.
        pruner: a name of :data:`formtune.studies.PRUNERS`.
        asked: everything that makes it this search and no other, as plain values.
    """

    space: Space
    own: Values
    configure: Callable[[Values], tuple[Options, TrainSettings]]
    recipe_of: Callable[[Values], tuple[Values, str]]
    trials: int
    hours: float | None
    pruner: str
    asked: Values


def tuned(readied: Readied, plan: Plan, search: Search, *, facts: Values, out: Path, progress: Progress) -> Result:
    """Search, or go on with a search; then score the winner on the test records and write what was found.

    Args:
        readied: the arm and its material.
        plan: what all trials share; its ``chosen_by`` is what is best.
        search: what is searched.
        facts: what else belongs in the manifest, ``left_out`` and ``parts_lost`` among it.
        out: folder of the search.
        progress: told of every update.

    Raises:
        SettingError: where the folder holds another search, a value cannot be used, or no trial ends well.
    """
    manifest = _begun(out, search.asked)
    precision = manifest.get("precision") or settled(plan.options, readied.arm.model, progress=progress).precision
    lasting = {"asked": search.asked, "precision": precision}
    if not manifest:
        with staged(out, {"kind": "study", **lasting}) as staging:
            (staging / JOURNAL).touch()
    plan = replace(plan, options=replace(plan.options, precision=precision))
    with opened(out / JOURNAL, search.space, seed=plan.settings.seed, pruner=search.pruner) as study:
        sweep(out.parent, name=out.name)
        if manifest.get("kind") == "tuning" and not _goes_on(study.tried(), search):
            read_manifest(out, kind="tuning")
            kept = read_json(out / RESULT)
            if len(kept["trials"]) == len(study.tried()):  # else it was extended, and stopped before it was concluded
                return Result({**kept, **_places(out)})
        trials = _Trials(readied, plan, search, progress=progress)
        try:
            while _goes_on(study.tried(), search):
                trials.run(study.next(search.own))
        except KeyboardInterrupt:
            progress(Event(f"stopped after {len(study.tried())} of {search.trials} trials; the same command goes on"))
            raise
        return _concluded(study, trials, facts={**facts, **lasting}, out=out, progress=progress)


def _places(out: Path) -> dict[str, str]:
    return {"run": str(out / RUN), "recipe": str(out / RECIPE), "picture": str(out / PICTURE)}


def _goes_on(tried: Sequence[Tried], search: Search) -> bool:
    in_time = search.hours is None or sum(one.seconds for one in tried) < 3600 * search.hours
    return len(tried) < search.trials and in_time


def _begun(out: Path, asked: Values) -> Values:
    """Read the manifest of a search that has begun; empty where none has, or where no trial of it is over.

    Raises:
        SettingError: where it is another search, saying in what.
    """
    manifest = read_json(out / MANIFEST) if (out / MANIFEST).is_file() else {}
    if manifest.get("kind") not in ("study", "tuning") or not is_begun(out / JOURNAL):
        return {}
    odd = list(_differing(manifest["asked"], asked))
    if odd:
        raise SettingError(
            f"{str(out)!r} holds another search: {'; '.join(odd[:4])}{' ...' if len(odd) > 4 else ''}.",
            "Give another folder, or remove it.",
            at="--out",
        )
    return manifest


def _differing(before: object, now: object, at: str = "") -> Iterator[str]:
    """Say in which places two nested settings differ, a phrase each."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in sorted(before.keys() | now.keys()):
            yield from _differing(before.get(name), now.get(name), f"{at}.{name}" if at else name)
    elif before != now:
        section, _, name = at.partition(".")
        yield f"{name} differs" if section == "digests" else f"{at} was {said(before)} and is {said(now)}"


@dataclass(frozen=True, slots=True)
class _Best:
    """The best trial of this sitting, with what it trained."""

    tried: Tried
    trained: Trained
    weights: Mapping[str, Tensor]


class _Trials:
    """Runs trials one after the other, keeping the weights of the best alone.

    One loaded model is kept, for as long as the next trial takes it up in the same way: loading takes seconds, and a
    second model would take gigabytes.
    """

    def __init__(self, readied: Readied, plan: Plan, search: Search, *, progress: Progress) -> None:
        assert plan.chosen_by is not None
        self.readied = readied
        self.search = search
        self.progress = progress
        self.metric: Metric = plan.chosen_by
        self.best: _Best | None = None
        self._plan = plan
        self._judge = judge_of(readied, plan, self.metric)
        self._bench: tuple[Options, Bench] | None = None

    def taken_up(self, values: Values, limits: Limits | None = None) -> tuple[Bench, Plan]:
        """Give the loaded model that values ask for, and how they train it; within other limits where they are given."""
        options, settings = self.search.configure(values)
        options = replace(options, precision=self._plan.options.precision)
        if self._bench is None or self._bench[0] != options:
            self._bench = None  # the old model goes before the new one comes
            self._bench = options, loaded(self.readied, self._plan.task, options=options, progress=self.progress)
        bench = self._bench[1]
        limits = limits or self._plan.limits
        settings = as_memory_allows(bench, settings, limits=limits, progress=self.progress)
        return bench, replace(self._plan, options=options, settings=settings)

    def run(self, attempt: Attempt) -> None:
        """Run a trial and write down what it came to."""
        start, watch = time.perf_counter(), _Watch(attempt)
        stage = f"trial {attempt.number} of {self.search.trials}: {in_words(attempt.values)}"
        state: State = "diverged"
        fitted: dict[str, Any] = {}
        try:
            bench, plan, trained = self.trained(attempt.values, stage, watch=watch)
            state = "finished" if math.isfinite(trained.best.score) else "diverged"
            fitted = {name: getattr(plan.settings, name) for name in ("micro_batch_tokens", "checkpoint_activations")}
        except Pruned:
            state = "pruned"
            self.progress(Event(f"trial {attempt.number} is cut short: it is behind the others"))
        except Diverged as error:
            self.progress(Event(f"trial {attempt.number}: {error.problem}"))
        except SettingError as error:  # of the model, or of memory
            if attempt.number == 1:  # nothing is lost yet, and the others may well be refused for the same reason
                raise
            state = "refused"
            self.progress(Event(f"trial {attempt.number}: {error}"))
        tried = replace(_over(attempt, watch.looks, state=state, seconds=time.perf_counter() - start), **fitted)
        attempt.end(tried)
        if state == "finished" and (self.best is None or tried.merit > self.best.tried.merit):
            self.best = _Best(tried, trained, bench.weights())

    def trained(
        self, values: Values, stage: str, *, watch: Callable[[TracePoint, int], None], limits: Limits | None = None
    ) -> tuple[Bench, Plan, Trained]:
        """Fine-tune with values, telling of every update; the bench's model holds the weights of the best look."""
        bench, plan = self.taken_up(values, limits)
        steps = plan.settings.steps
        trained = run_on(
            bench,
            plan.settings,
            stage,
            judge=self._judge,
            progress=self.progress,
            watch=lambda point: watch(point, steps),
        )
        return bench, plan, trained

    def winner(self, tried: Tried) -> tuple[Bench, Plan, Trained]:
        """Give the bench with a trial's weights; one of an earlier sitting is trained again, to the same ones."""
        limits = replace(
            self._plan.limits,
            micro_batch_tokens=tried.micro_batch_tokens,
            checkpoint_activations=tried.checkpoint_activations,
        )
        if self.best and self.best.tried.number == tried.number:
            bench, plan = self.taken_up(tried.values, limits)
            bench.restore(self.best.weights)
            return bench, plan, self.best.trained
        stage = f"trial {tried.number} again, for its weights: {in_words(tried.values)}"
        return self.trained(tried.values, stage, watch=lambda _point, _steps: None, limits=limits)


class _Watch:
    """Sees the looks of a trial, and lets it be cut short where there is something to save."""

    def __init__(self, attempt: Attempt) -> None:
        self.looks: list[Look] = []
        self._attempt = attempt

    def __call__(self, point: TracePoint, steps: int) -> None:
        if point.look is None:
            return
        self.looks.append(point.look)
        if point.step < steps:
            self._attempt.look(point.look.score, k=len(self.looks))


def _over(attempt: Attempt, looks: Sequence[Look], *, state: State, seconds: float) -> Tried:
    """Say what a trial came to."""
    finite = [look for look in looks if math.isfinite(look.score)]
    best = max(finite, key=lambda look: look.score, default=None)  # the first of equal ones, as training keeps it
    return Tried(
        number=attempt.number,
        values=attempt.values,
        state=state,
        score=best.score if best else None,
        loss=best.shown.get("loss") if best else None,
        looks=tuple(look.score for look in looks),
        seconds=seconds,
    )


def _concluded(study: Study, trials: _Trials, *, facts: Values, out: Path, progress: Progress) -> Result:
    """Score the winner on the test records, once, and write the folder anew: whole, with the log in it."""
    tried, search = study.tried(), trials.search
    best = _winner(tried)
    settings, recipe = search.recipe_of(best.values)
    scores, write = _won(trials, best, out, progress=progress)
    found = found_by(tried, trials.metric, own=search.own, importance=study.importance())
    values = {
        **found,
        "metrics": scores,
        "note": note_on(found, scores, trials.metric),
        **_places(out),
        "truncated": trials.readied.n_truncated,
        **{name: facts[name] for name in ("left_out", "parts_lost")},
    }
    manifest = {"kind": "tuning", "best": found["best"], **facts}
    with staged(out, manifest, growing=(JOURNAL,)) as staging:
        write(staging / RUN, {**facts, "recipe": settings, "run": str(out / RUN), "trial": best.number})
        (staging / RECIPE).write_text(recipe, encoding="utf-8")
        (staging / RESULT).write_bytes(msgspec.json.format(msgspec.json.encode(values), indent=1))
        (staging / TRIALS).write_bytes(b"".join(msgspec.json.encode(asdict(one)) + b"\n" for one in tried))
        (staging / PICTURE).write_text(picture_of(tried, trials.metric, space=search.space), encoding="utf-8")
    return Result(values)


def _won(
    trials: _Trials, best: Tried, out: Path, *, progress: Progress
) -> tuple[Values, Callable[[Path, Values], object]]:
    """Give the winner's scores on the test records, and what writes its run into a folder, with further facts."""
    kept = _kept_run(out, best.number)
    if kept is not None:
        return kept["metrics"], lambda folder, _facts: shutil.copytree(out / RUN, folder)
    bench, plan, trained = trials.winner(best)
    progress(Event("the winner's test records"))
    done = done_by(bench, trained, plan)
    return done.summary["metrics"], lambda folder, facts: write_run(folder, bench, done, plan=plan, facts=facts)


def _winner(tried: Sequence[Tried]) -> Tried:
    """Give the best of the trials that went to their end, the first of equal ones.

    Raises:
        SettingError: where none did.
    """
    finished = [one for one in tried if one.state == "finished"]
    if not finished:
        n_diverged, n_refused = (sum(one.state == state for one in tried) for state in ("diverged", "refused"))
        refused = f", and {n_refused} were refused" if n_refused else ""
        raise SettingError(
            f"No trial went to its end: training diverged in {n_diverged} of {len(tried)}{refused}.",
            "Search lower learning rates, in another folder.",
            at="tuning.search",
        )
    return max(finished, key=lambda one: one.merit)


def _kept_run(out: Path, number: int) -> Values | None:
    """Give the manifest of the run that is there already, where it is this trial's."""
    path = out / RUN / MANIFEST
    if not path.is_file() or read_json(path).get("trial") != number:
        return None
    return read_manifest(out / RUN, kind="run")
