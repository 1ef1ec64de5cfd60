"""The arms of a comparison that are done, kept until the comparison is whole: one that was stopped need not repeat them.

An arm is kept under the digest of all that it depends on, so whatever is found is the right one: another setting, record
or version is another arm. Seeds of one arm are not kept apart, since they share what its frozen trunk has computed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec

from formtune.answers import Prediction
from formtune.arms import Material, Readied
from formtune.checkpoints import ARM, read_tensors, write_tensors
from formtune.errors import DataError
from formtune.evaluation import outcomes
from formtune.loading import Options
from formtune.model_files import folder_digest, read_json, resolve
from formtune.precision import settled
from formtune.progress import Event, Progress
from formtune.shards import MANIFEST, digest_of, discard, read_manifest, staged, versions
from formtune.training import Trained
from formtune.training_state import digest_of_tokens
from formtune.trials import ArmRuns, Plan, SeedRun, run_arm
from formtune.updates import TrainSettings

_DONE, _WEIGHTS = "arm.json", "weights.safetensors"


def arms_done(arms: Sequence[Readied], plan: Plan, *, folder: Path, progress: Progress) -> list[ArmRuns]:
    """Take up the arms that are done, and do the others and keep them.

    Args:
        arms: each with its material.
        plan: what every arm gets.
        folder: where arms are kept; the caller has claimed it and removes what is in it.
        progress: told of what goes on.
    """
    models = {one.arm.model: folder_digest(resolve(one.arm.model)) for one in arms}
    options = {  # by digest, since a model may have two names
        digest: _settled(plan.options, name, digest=digest, folder=folder, progress=progress)
        for name, digest in models.items()
    }
    auto = plan.options.precision == "auto"
    measured = {digest: own.precision for digest, own in options.items()} if auto else {}
    plans = [replace(plan, options=options[models[one.arm.model]]) for one in arms]
    return [
        _arm_done(one, own, folder=folder, measured=measured, progress=progress)
        for one, own in zip(arms, plans, strict=True)
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


def _arm_done(
    readied: Readied, plan: Plan, *, folder: Path, measured: Mapping[str, str], progress: Progress
) -> ArmRuns:
    place = folder / f"{ARM}-{digest_of(_job(readied, plan))[:16]}"
    if place.exists():
        try:
            kept = _read(place, readied, plan)
        except DataError as error:
            progress(Event(f"{readied.arm.name}: what was kept is damaged ({error.at}: {error.problem})"))
            discard(place)
        else:
            progress(Event(f"{readied.arm.name}: done before"))
            return kept
    done = run_arm(readied, plan, progress=progress)
    _write(place, done, measured=measured)
    return done


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
        weights=read_tensors(place / _WEIGHTS),
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
