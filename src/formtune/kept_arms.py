"""The arms of a comparison that are done, kept until the comparison is whole: one that was stopped need not repeat them.

An arm is kept under the digest of all that it depends on, so whatever is found is the right one: another setting, record
or version is another arm. Its weights stay on disk: of all arms only the best one's are asked for. Seeds of one arm are not
kept apart, since they share what its frozen trunk has computed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from formtune.answers import Prediction
from formtune.arms import Material, Readied
from formtune.checkpoints import ARM, OnDisk, write_tensors
from formtune.crew import longest_first, shared_out
from formtune.errors import DataError
from formtune.evaluation import outcomes
from formtune.loading import Options
from formtune.model_files import folder_digest, read_json, resolve
from formtune.precision import settled
from formtune.progress import Event, Progress
from formtune.shards import MANIFEST, digest_of, discard, read_manifest, staged, versions
from formtune.side_by_side import Crew, Job, done_side_by_side
from formtune.training import Trained
from formtune.training_state import digest_of_tokens
from formtune.trials import ArmRuns, Plan, SeedRun, run_arm
from formtune.updates import TrainSettings

_DONE, _WEIGHTS = "arm.json", "weights.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """The arms of one comparison.

    Attributes:
        title: of the comparison, where several are done together.
        arms: each with its material.
        plan: what every arm gets.
        folder: where arms are kept; the caller has claimed it and removes what is in it.
    """

    title: str
    arms: Sequence[Readied]
    plan: Plan
    folder: Path


def arms_done(rosters: Sequence[Roster], *, crew: Crew, progress: Progress) -> list[list[ArmRuns]]:
    """Take up the arms that are done, and do the others and keep them.

    Args:
        rosters: of one comparison or several, which share the crew.
        crew: who does them.
        progress: told of what goes on.

    Returns:
        For each roster its arms.
    """
    told = [partial(_titled, one.title, progress) if len(rosters) > 1 else progress for one in rosters]
    tasks = [task for roster, tell in zip(rosters, told, strict=True) for task in _tasks(roster, progress=tell)]
    tells = [tell for roster, tell in zip(rosters, told, strict=True) for _ in roster.arms]
    done = {n: found for n, task in enumerate(tasks) if (found := task.taken_up(tells[n])) is not None}
    left = [n for n in longest_first([(task.readied, task.plan) for task in tasks]) if n not in done]
    if crew.n_workers > 1 and left:
        progress(Event(f"{crew.n_workers} arms at a time, threads of each: {crew.n_threads}"))
        jobs = [Job(tasks[n].readied.arm.name, partial(tasks[n].keep, crew)) for n in left]
        done_side_by_side(jobs, crew, progress=[tells[n] for n in left])
    else:
        for n in sorted(left):
            tasks[n].keep(crew, progress=tells[n])
    runs = iter(done[n] if n in done else task.read() for n, task in enumerate(tasks))
    return [[next(runs) for _ in roster.arms] for roster in rosters]


def _titled(title: str, progress: Progress, event: Event) -> None:
    progress(replace(event, stage=f"{title}: {event.stage}"))


def _tasks(roster: Roster, *, progress: Progress) -> "list[_ArmTask]":
    """Say what is to be done for each arm, and where it is kept."""
    models = {one.arm.model: folder_digest(resolve(one.arm.model)) for one in roster.arms}
    options = {  # by digest, since a model may have two names
        digest: _settled(roster.plan.options, name, digest=digest, folder=roster.folder, progress=progress)
        for name, digest in models.items()
    }
    auto = roster.plan.options.precision == "auto"
    measured = {digest: own.precision for digest, own in options.items()} if auto else {}
    plans = [replace(roster.plan, options=options[models[one.arm.model]]) for one in roster.arms]
    return [
        _ArmTask(one, own, roster.folder / f"{ARM}-{digest_of(_job(one, own))[:16]}", measured)
        for one, own in zip(roster.arms, plans, strict=True)
    ]


def _settled(options: Options, model: str, *, digest: str, folder: Path, progress: Progress) -> Options:
    """Settle the precision of a model as it was for an arm that is kept: measured anew, it might be another."""
    if options.precision != "auto":
        return options
    for place in sorted(folder.glob(f"{ARM}-*")):
        try:
            found = read_json(place / MANIFEST).get("measured", {})
        except (DataError, OSError):  # told when the arm is taken up
            continue
        if digest in found:
            return replace(options, precision=found[digest])
    return settled(options, model, progress=progress)


@dataclass(frozen=True, slots=True)
class _ArmTask:
    """An arm that is to be done, and where it is kept then."""

    readied: Readied
    plan: Plan
    place: Path
    measured: Mapping[str, str]

    def taken_up(self, progress: Progress) -> ArmRuns | None:
        """Read the arm if it is done; what is damaged is removed."""
        if not self.place.exists():
            return None
        try:
            kept = self.read()
        except DataError as error:
            progress(Event(f"{self.readied.arm.name}: what was kept is damaged ({error.at}: {error.problem})"))
            discard(self.place)
            return None
        progress(Event(f"{self.readied.arm.name}: done before"))
        return kept

    def keep(self, crew: Crew, *, progress: Progress) -> None:
        """Do the arm, with its part of the memory, and keep what came of it on disk."""
        plan = shared_out(self.plan, crew, self.readied.arm.model)
        _write(self.place, run_arm(self.readied, plan, progress=progress), measured=self.measured)

    def read(self) -> ArmRuns:
        return _read(self.place, self.readied, self.plan)


def _job(readied: Readied, plan: Plan) -> dict[str, Any]:
    """Say all that the runs of an arm depend on."""
    parts = {"train": readied.train, "dev": readied.dev, "test": readied.test}
    return {
        "arm": readied.arm.name,
        "template": readied.arm.format.template,
        "output": readied.output,
        "model": folder_digest(resolve(readied.arm.model)),
        **{name: _digest(part) for name, part in parts.items()},
        "blanks": [repr(example) for example in readied.blanks],
        "settings": asdict(plan.settings),
        "options": plan.options.lasting(),
        "limits": asdict(plan.limits),
        "task": asdict(plan.task),
        "tried": [list(plan.learning_rates), list(plan.seeds)],
        "metrics": [plan.metric.name, plan.chosen_by.name if plan.chosen_by else None],
        "answers": [plan.label_prior, plan.generate, plan.max_new_tokens],
        "versions": versions(),
    }


def _digest(part: Material) -> str:
    return digest_of([digest_of_tokens(list(part.tokens.values())), [repr(e) for e in part.examples.values()]])


def _write(place: Path, done: ArmRuns, *, measured: Mapping[str, str]) -> None:
    facts = {
        "settings": done.plan.settings,
        "options": done.plan.options,
        "learning_rate": done.learning_rate,
        "tried": list(done.tried.items()),
        "runs": [
            {
                "seed": one.seed,
                "trained": one.trained,
                "prior": one.prior,
                "predictions": one.predictions,
                "ms_per_answer": one.ms_per_answer,
            }
            for one in done.runs
        ],
        "best_seed": done.best_seed,
        "base_digest": done.base_digest,
        "n_parameters": done.n_parameters,
        "n_fresh": done.n_fresh,
    }
    with staged(place, {"kind": ARM, "arm": done.readied.arm.name, "measured": dict(measured)}) as staging:
        write_tensors(staging / _WEIGHTS, done.weights)
        (staging / _DONE).write_text(json.dumps(msgspec.to_builtins(facts)), encoding="utf-8")


def _read(place: Path, readied: Readied, plan: Plan) -> ArmRuns:
    read_manifest(place, kind=ARM)
    facts = json.loads((place / _DONE).read_text(encoding="utf-8"))
    settings = msgspec.convert(facts["settings"], TrainSettings)
    options = msgspec.convert(facts["options"], Options)
    return ArmRuns(
        readied=readied,
        plan=replace(plan, settings=settings, options=options),
        learning_rate=facts["learning_rate"],
        tried=dict(facts["tried"]),
        runs=[_seed_run(one, readied, plan) for one in facts["runs"]],
        best_seed=facts["best_seed"],
        weights=OnDisk(place / _WEIGHTS),
        base_digest=facts["base_digest"],
        n_parameters=facts["n_parameters"],
        n_fresh=facts["n_fresh"],
    )


def _seed_run(kept: Mapping[str, Any], readied: Readied, plan: Plan) -> SeedRun:
    predictions = msgspec.convert(kept["predictions"], list[Prediction])
    return SeedRun(
        seed=kept["seed"],
        trained=msgspec.convert(kept["trained"], Trained),
        prior=tuple(kept["prior"]),
        predictions=predictions,
        outcomes=outcomes(predictions, list(readied.test.examples.values()), plan.task),
        ms_per_answer=kept["ms_per_answer"],
    )
