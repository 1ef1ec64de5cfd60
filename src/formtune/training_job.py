"""One fine-tuning from end to end, and answers of a finished one: what ``train``, ``evaluate`` and ``predict`` do."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from formtune.arms import Readied
from formtune.bench import Bench
from formtune.checkpoints import CheckpointPlan, Keeper, noted, remove
from formtune.errors import DataError
from formtune.evaluation import evaluate
from formtune.examples import Format, Task
from formtune.formats import with_languages
from formtune.memory import peak_bytes
from formtune.processes import from_main, is_main
from formtune.progress import Event, Progress
from formtune.records import Labelled, Pair, Plain, Question, Record
from formtune.reports import CurvePoint, training_picture
from formtune.results import Result
from formtune.runs import OpenRun, RunSpec, save_run
from formtune.shards import sweep
from formtune.tracking import tracked
from formtune.training import Trained
from formtune.training_state import digest_of_tokens
from formtune.trials import Plan, answered, fine_tuned, prior_of, taken_up

TRACKS = "tracks"  # the folder of what trackers write


def train_one(  # noqa: PLR0913
    readied: Readied,
    plan: Plan,
    *,
    facts: Mapping[str, Any],
    out: Path,
    keeping: CheckpointPlan,
    progress: Progress,
    trackers: Sequence[str] = (),
) -> Result:
    """Fine-tune, read the test records once, and write the run with its trace and picture.

    Args:
        readied: the arm and its material.
        plan: how; its first seed and learning rate.
        facts: what else belongs in the manifest, ``left_out`` among it.
        out: folder of the run.
        keeping: where checkpoints are kept until the run is whole; the caller has claimed the folder.
        progress: told of every update.
        trackers: names of those that follow it; what they write to files goes beside the run's folder.
    """
    start = time.perf_counter()
    bench, plan = taken_up(readied, as_begun(plan, from_main(lambda: noted(keeping.folder))), progress=progress)
    keeper = Keeper(keeping, facts=_kept_facts(readied, plan), tell=lambda text: progress(Event(text)))
    names, folder = trackers if is_main() else (), out.parent / TRACKS
    with tracked(names, run=out.name, folder=folder, config=facts["recipe"]) as tracking:
        trained = fine_tuned(bench, plan.settings, plan, progress=progress, keeper=keeper, watch=tracking.point)
        progress(Event(f"{readied.arm.name}, seed {plan.settings.seed}: test records"))

        def finished() -> Result:
            done = done_by(bench, trained, plan)
            before_s = sum(p.seconds for p in trained.trace[: trained.resumed[-1]]) if trained.resumed else 0.0
            own = {"run": str(out), "total_seconds": before_s + time.perf_counter() - start}
            sweep(out.parent, name=out.name)
            write_run(out, bench, done, plan=plan, facts={**facts, **own})
            return Result({**own, **done.summary, "left_out": facts["left_out"]})

        result = from_main(finished)
        tracking.scores(result.values["metrics"], step=result.values["steps"])
    if is_main():
        remove(keeping.folder)
    return result


@dataclass(frozen=True, slots=True)
class Done:
    """A fine-tuning that has read the test records.

    Attributes:
        trained: how training went.
        prior: log-probabilities of the labels that are taken off its scores; empty where none are.
        summary: what it came to, as plain values.
    """

    trained: Trained
    prior: Sequence[float]
    summary: Mapping[str, Any]


def done_by(bench: Bench, trained: Trained, plan: Plan) -> Done:
    """Score the test records once, by the weights that the bench's model holds."""
    prior = prior_of(bench.model, bench.readied, plan)
    summary = {
        "steps": len(trained.trace),
        "best": {"step": trained.best_step, **trained.best.shown},
        **test_scores(bench, plan, prior=prior),
        **_cost_of(trained),
        "peak_mb": peak_bytes(bench.model.device) / 2**20,
        "truncated": bench.readied.n_truncated,
    }
    return Done(trained, () if prior is None else prior.tolist(), summary)


def write_run(out: Path, bench: Bench, done: Done, *, plan: Plan, facts: Mapping[str, Any]) -> None:
    """Write a run with its trace and picture.

    Args:
        out: its folder.
        bench: holds its weights.
        done: what it came to.
        plan: how it was trained.
        facts: what else belongs in the manifest.
    """
    save_run(
        out,
        spec_of(bench.readied, plan, base_digest=bench.model.base_digest, prior=done.prior),
        bench.weights(),
        facts={**facts, **done.summary, "settings": asdict(plan.settings)},
        files=traces(done.trained, bench.readied, plan),
    )


def as_begun(plan: Plan, job: Mapping[str, Any] | None) -> Plan:
    """Put what a training that goes on settled on its machine in the place of what would be measured anew.

    Args:
        plan: of the recipe.
        job: what a checkpoint says of its training; None where there is none.
    """
    if job is None:
        return plan
    settings, limits, options = job["settings"], plan.limits, plan.options
    if limits.micro_batch_tokens is None:
        limits = replace(limits, micro_batch_tokens=settings["micro_batch_tokens"])
    if limits.checkpoint_activations is None:
        limits = replace(limits, checkpoint_activations=settings["checkpoint_activations"])
    if options.precision == "auto":
        options = replace(options, precision=job["options"]["precision"])
    return replace(plan, limits=limits, options=options)


def _kept_facts(readied: Readied, plan: Plan) -> dict[str, Any]:
    """Say on what, beside the loop's own settings, a training depends."""
    chosen_by = plan.chosen_by.name if plan.chosen_by else "loss"
    return {
        "options": plan.options.lasting(),
        "dev": digest_of_tokens(list(readied.dev.tokens.values())),
        "metric": chosen_by,
        "label_prior": plan.label_prior,
        "max_new_tokens": plan.max_new_tokens,
    }


def _title(readied: Readied, plan: Plan) -> str:
    """Say in a line what was trained."""
    what = f"{readied.arm.format.name} on {readied.arm.model}, {len(readied.train.tokens):,} records"
    frozen = "" if plan.options.freeze == "none" else f", frozen: {plan.options.freeze}"
    adapted = f", {plan.options.lora.kind} of rank {plan.options.lora.rank}" if plan.options.lora else ""
    return f"{what}{frozen}{adapted}, learning rate {plan.settings.learning_rate:g}, seed {plan.settings.seed}"


def _cost_of(trained: Trained) -> dict[str, Any]:
    """Say what the updates took, what they spared and how they went on; how shares are counted is told in :mod:`formtune.work`."""
    seconds = max(trained.seconds, 1e-9)
    return {
        "seconds": trained.seconds,
        "tokens_per_second": trained.n_tokens / seconds,
        "learned_tokens_per_second": trained.n_learned / seconds,
        "learned_tokens": trained.n_learned,
        "computed_tokens": trained.work.computed,
        "computed_share": trained.work.computed_share,
        "saved": trained.work.saved,
        "parameters_trained": trained.n_parameters,
        "stopped_early": trained.stopped_early,
        "resumed": list(trained.resumed),
    }


def test_scores(bench: Bench, plan: Plan, *, prior: np.ndarray | None) -> dict[str, Any]:
    """Score the test records by every metric that fits, raw and with a temperature that the dev records give.

    Returns:
        ``metrics``, empty where there are no test records; ``written`` and ``invalid``, where answers were written
        beside scored label words; ``calibrated`` (or None).
    """
    dev, test = (list(part.examples.values()) for part in (bench.readied.dev, bench.readied.test))
    if not test:
        return {"metrics": {}, "written": {}, "invalid": None, "calibrated": None}
    predictions, _ = answered(bench, test, plan, prior=prior, generate=plan.generate)
    choosing = (answered(bench, dev, plan, prior=prior)[0], dev) if dev and plan.task.labels else None
    scores = evaluate(predictions, test, plan.task, dev=choosing)
    return {key: scores[key] for key in ("metrics", "written", "invalid", "calibrated")}


def spec_of(readied: Readied, plan: Plan, *, base_digest: str, prior: Sequence[float] = ()) -> RunSpec:
    """Say what is needed to open a run of this arm again."""
    format_: Format = readied.arm.format
    return RunSpec(
        name=readied.arm.name,
        format=format_.name,
        template=format_.template,
        model=readied.arm.model,
        base_digest=base_digest,
        output=readied.output,
        task=plan.task,
        options=plan.options,
        prior=tuple(prior),
        max_new_tokens=plan.max_new_tokens,
    )


def traces(trained: Trained, readied: Readied, plan: Plan) -> dict[str, str]:
    """Give the trace (a JSON object per update) and its picture, by file name; ``plan`` has the run's own settings."""
    lines = [msgspec.json.encode(point).decode() for point in trained.trace]
    name = plan.chosen_by.name if plan.chosen_by else "loss"
    points = [CurvePoint(p.step, p.loss, p.look.shown.get(name) if p.look else None) for p in trained.trace]
    dev = [(float(p.step), p.look.shown["loss"]) for p in trained.trace if p.look and "loss" in p.look.shown]
    best = trained.best_step if dev else None  # without looks the last weights are kept
    picture = training_picture(points, title=_title(readied, plan), dev_losses=dev, best_step=best, metric=name)
    return {"trace.jsonl": "\n".join(lines) + "\n", "trace.svg": picture}


def scored(run: OpenRun, records: Sequence[Record], *, generate: bool = False) -> dict[str, Any]:
    """Answer records with a run and score the answers: every metric, classes, confusion, calibration."""
    examples = run.present(records)
    predictions = run.predict(records, generate=generate)
    keys = ("id", "answer", "confidence", "valid")
    rows = [{key: getattr(p, key) for key in keys} for p in predictions]
    return {**evaluate(predictions, examples, run.task), "predictions": rows}


def _inputs(task: Task, text: str) -> dict[str, str]:
    texts = text.split("\t") if len(task.inputs) > 1 else [text]
    if len(texts) != len(task.inputs):
        raise DataError(
            f"The run reads {len(task.inputs)} texts ({', '.join(task.inputs)}), and {len(texts)} came.",
            "Put a tab between them, or give --data FILE.",
            at="TEXT",
        )
    return dict(zip(task.inputs, texts, strict=True))


def fitted(task: Task, record: Record) -> Record:
    """Take a line of plain text as a record to be answered, where the run reads one text; name a pair's languages."""
    if isinstance(record, Plain) and task.kind == "labelled" and len(task.inputs) == 1:
        return Labelled(inputs={task.inputs[0]: record.text}, id=record.id, origin=record.origin, group=record.group)
    if isinstance(record, Plain) and task.kind == "pair":
        record = Pair(source=record.text, id=record.id, origin=record.origin, group=record.group)
    return with_languages(record, task) if isinstance(record, Pair) else record


def asked(task: Task, text: str) -> Record:
    """Make a record to be answered from what a user typed, of the kind that a run was trained on.

    A pair of texts, or a question and its context, stand with a tab between them.
    """
    match task.kind:
        case "labelled":
            return Labelled(inputs=_inputs(task, text), id=text)
        case "question":
            question, _, context = text.partition("\t")
            choices = () if task.letters else task.labels
            return Question(question=question, context=context or None, choices=choices, id=text)
        case "pair":
            return with_languages(Pair(source=text, id=text), task)
        case "plain":
            return Plain(text=text, id=text)
    raise DataError(
        f"A run on records of the kind {task.kind!r} is not asked by a single text.", "Give --data FILE.", at="TEXT"
    )
