"""One fine-tuning from end to end, and answers of a finished one: what ``train``, ``evaluate`` and ``predict`` do."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from formtune.arms import Bench, Readied
from formtune.errors import DataError
from formtune.evaluation import evaluate, outcomes
from formtune.examples import Example, Format, Task
from formtune.formats.custom import template_of
from formtune.loading import Options
from formtune.metrics import Metric
from formtune.models import Model
from formtune.prediction import predict
from formtune.progress import Event, Progress
from formtune.records import Labelled, Pair, Plain, Question, Record
from formtune.reports import CurvePoint, training_picture
from formtune.results import Result
from formtune.runs import OpenRun, RunSpec, save_run
from formtune.training import TracePoint, Trained, TrainSettings


def train_one(
    readied: Readied,
    task: Task,
    *,
    settings: TrainSettings,
    options: Options,
    metric: Metric,
    chosen_by: Metric | None,
    out: Path,
    facts: Mapping[str, Any],
    progress: Progress,
) -> Result:
    """Fine-tune, read the test records once, and write the run with its trace and picture."""
    bench = Bench(readied, task, options=options)
    stage = f"{readied.arm.name}, seed {settings.seed}"
    dev = list(readied.dev.examples.values())
    judge = None if chosen_by is None else lambda model: judged(model, dev, task, chosen_by)
    trained = bench.run(settings, metric=judge, progress=lambda point: progress(event(stage, point, settings)))
    progress(Event(f"{stage}: test records"))
    examples = list(readied.test.examples.values())
    scores = evaluate(predict(bench.model, examples), examples, task)["metrics"] if examples else {}
    summary = {
        "run": str(out),
        "steps": len(trained.trace),
        "best": {"step": trained.best_step, **trained.best.shown},
        "metrics": scores,
        "seconds": trained.seconds,
        "tokens_per_second": trained.n_tokens / max(trained.seconds, 1e-9),
        "learned_tokens": trained.n_learned,
        "parameters_trained": trained.n_parameters,
        "stopped_early": trained.stopped_early,
    }
    save_run(
        out,
        spec_of(readied, task, options, base_digest=bench.model.base_digest),
        bench.weights(),
        facts={**facts, **summary, "settings": asdict(settings)},
        files=traces(trained, metric),
    )
    return Result({**summary, "left_out": facts["left_out"]})


def event(stage: str, point: TracePoint, settings: TrainSettings) -> Event:
    """Tell of an update."""
    shown = point.look.shown if point.look else None
    return Event(stage, point.step, settings.steps, point.loss, point.n_learned, point.seconds, shown)


def judged(model: Model, dev: Sequence[Example], task: Task, metric: Metric) -> tuple[float, dict[str, float]]:
    """Score the dev records by a metric: larger is better in the first value, the metric's own in the second."""
    value = metric.score(outcomes(predict(model, dev), dev, task))
    return (value if metric.higher_is_better else -value), {metric.name: value}


def spec_of(readied: Readied, task: Task, options: Options, *, base_digest: str) -> RunSpec:
    """Say what is needed to open a run of this arm again."""
    format_: Format = readied.arm.format
    return RunSpec(
        name=readied.arm.name,
        format=format_.name,
        template=template_of(format_),
        model=readied.arm.model,
        base_digest=base_digest,
        output=readied.output,
        task=task,
        options=options,
    )


def traces(trained: Trained, metric: Metric) -> dict[str, str]:
    """Give the trace (a JSON object per update) and its picture, by file name."""
    lines = [msgspec.json.encode(point).decode() for point in trained.trace]
    shown = trained.best.shown
    name = metric.name if metric.name in shown else "loss"
    points = [CurvePoint(p.step, p.loss, p.look.shown.get(name) if p.look else None) for p in trained.trace]
    picture = training_picture(points, best_step=trained.best_step, metric=name)
    return {"trace.jsonl": "\n".join(lines) + "\n", "trace.svg": picture}


def scored(run: OpenRun, records: Sequence[Record]) -> dict[str, Any]:
    """Answer records with a run and score the answers: every metric, classes, confusion, calibration."""
    examples = run.present(records)
    predictions = predict(run.model, examples)
    keys = ("id", "answer", "confidence", "valid")
    rows = [{key: getattr(p, key) for key in keys} for p in predictions]
    return {**evaluate(predictions, examples, run.task), "predictions": rows}


def asked(task: Task, text: str) -> Record:
    """Make a record to be answered from what a user typed, of the kind that a run was trained on.

    A pair of texts, or a question and its context, stand with a tab between them.
    """
    match task.kind:
        case "labelled":
            return Labelled(inputs=dict(zip(("text", "text_2"), text.split("\t"), strict=False)), id=text)
        case "question":
            question, _, context = text.partition("\t")
            choices = () if task.letters else task.labels
            return Question(question=question, context=context or None, choices=choices, id=text)
        case "pair":
            return Pair(source=text, id=text)
        case "plain":
            return Plain(text=text, id=text)
    raise DataError(
        f"A run on records of the kind {task.kind!r} is not asked by a single text.", "Give --data FILE.", at="TEXT"
    )
