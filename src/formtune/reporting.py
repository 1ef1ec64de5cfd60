"""The end of a comparison: statistics, verdict, report, predictions and the best run, in one folder."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from formtune.answers import write_predictions
from formtune.comparison import Arm, Comparison, as_builtins, compare_arms
from formtune.evaluation import invalid_share, outcomes
from formtune.examples import Task
from formtune.loading import Options
from formtune.metrics import METRICS, Metric, calibration_table, confusion
from formtune.model_files import decoder_start_in, max_length_in, resolve
from formtune.outcomes import Outcome
from formtune.provenance import input_digests, split_digests
from formtune.recipe import Recipe
from formtune.records import Labelled, LeftOut, Question, Record, answer_text, fields_of, input_text
from formtune.reports import (
    Answer,
    ArmRow,
    Bin,
    Calibration,
    Confusion,
    Curve,
    CurvePoint,
    Disagreement,
    LeftOutRow,
    PairRow,
    Repeat,
    ReportData,
    Scale,
    Shown,
    write_report,
)
from formtune.results import Compared
from formtune.runs import save_run
from formtune.shards import staged, versions
from formtune.showing import shown_example
from formtune.side_by_side import Crew
from formtune.splits import Splits, together
from formtune.tallies import accounted
from formtune.tokens import load_tokenizer
from formtune.training_job import spec_of, traces
from formtune.trials import ArmRuns, Plan

SHOWN_DISAGREEMENTS = 12
ENOUGH_STEPS = 250
ENOUGH_SEEDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """A comparison as it was asked for.

    Attributes:
        recipe: every setting.
        plan: what every arm got.
        crew: who did them.
        parts: the records.
        lost: records that not every arm could take.
        refused: arms that make no sense → why.
        command: what repeats it.
        out: folder that everything goes to.
    """

    recipe: Recipe
    plan: Plan
    crew: Crew
    parts: Splits
    lost: Sequence[LeftOut]
    refused: Mapping[str, str]
    command: str
    out: Path


def concluded(asked: Contest, runs: Sequence[ArmRuns]) -> Compared:
    """Compare the arms' answers, say the verdict, and write everything into the comparison's folder."""
    test = {r.id: r for r in asked.parts.test}
    records = [test[i] for i in runs[0].readied.test.examples]
    found = compared(asked, runs, records)
    best = _best(runs, found)
    advice = [*found.advice, *_cautions(asked)]
    report = _report(asked, runs, found=found, records=records, advice=advice)
    values = {
        **as_builtins(found),
        "advice": advice,
        "best_run": str(asked.out / "best"),
        "report": str(asked.out / "report.html"),
        "sizes": _sizes(runs),
        "learning_rates": {r.readied.arm.name: r.learning_rate for r in runs},
        **accounted([*asked.parts.left_out, *asked.lost]),
        "truncated": {r.readied.arm.name: r.readied.n_truncated for r in runs},
        "refused": dict(asked.refused),
    }
    _write(asked, values, report, runs=runs, best=best)
    return Compared(values, report)


def _cautions(asked: Contest) -> list[str]:
    """Say where the budget is smaller than what a sure answer takes (Mosbach et al. 2021; Bouthillier et al. 2021)."""
    cautions = []
    if asked.plan.settings.steps < ENOUGH_STEPS:
        cautions.append(
            f"{asked.plan.settings.steps} updates are few: class heads and other new weights may be ahead after "
            f"{ENOUGH_STEPS} or more."
        )
    if len(asked.plan.seeds) < ENOUGH_SEEDS:
        cautions.append(f"{len(asked.plan.seeds)} seeds are a first look; {ENOUGH_SEEDS} or more are an answer.")
    cautions += [
        f"{one['rows']} rows were used without a part of them: {one['reason']} ({', '.join(one['places'][:1])})."
        for one in accounted([*asked.parts.left_out, *asked.lost])["parts_lost"]
    ]
    words = asked.plan.task.words
    if words and not asked.plan.task.letters and not any(c.isalpha() for word in words for c in word):
        cautions.append(
            f"The labels ({', '.join(words[:4])}) say nothing to a model: formats that name them may be ahead once "
            "task.words gives each a word."
        )
    return cautions


def _report(
    asked: Contest,
    runs: Sequence[ArmRuns],
    *,
    found: Comparison,
    records: Sequence[Record],
    advice: Sequence[str],
) -> ReportData:
    metric, chosen_by, task = asked.plan.metric, asked.plan.chosen_by, asked.plan.task
    odd = _disagreements(runs, records)
    left_out = accounted([*asked.parts.left_out, *asked.lost])["left_out"]
    return ReportData(
        title=_title(asked.recipe, _sizes(runs)),
        verdict=found.verdict,
        outcome="better" if found.winner else "equivalent" if found.equivalent else "undecided",
        scale=_scale(metric),
        arms=_arm_rows(found, metric),
        pairs=[_pair_row(pair) for pair in found.pairs],
        advice=[*advice, *(f"{name} does not take part: {reason}" for name, reason in asked.refused.items())],
        facts=_facts(asked, runs),
        margin=found.margin,
        confidence=found.confidence,
        minimum_detectable=found.minimum_detectable,
        baseline=found.baseline,
        curves=_curves(runs, chosen_by.name if chosen_by else "loss"),
        dev_metric=_scale(chosen_by) if chosen_by else Scale("loss", False, "plain"),
        confusions=_confusions(runs, task),
        calibrations=_calibrations(runs, task),
        shown=_shown(runs, asked.parts.train, asked.plan.options),
        disagreements=odd[:SHOWN_DISAGREEMENTS],
        n_disagreements=len(odd),
        left_out=[LeftOutRow(row["reason"], row["rows"], row["places"]) for row in left_out],
        repeat=_repeat(asked, runs),
    )


def _sizes(runs: Sequence[ArmRuns]) -> dict[str, int]:
    readied = runs[0].readied
    return {name: len(getattr(readied, name).tokens) for name in ("train", "dev", "test")}


def compared(asked: Contest, runs: Sequence[ArmRuns], records: Sequence[Record]) -> Comparison:
    """Bring every arm's outcomes to statistics and compare them."""
    metric, settings = asked.plan.metric, asked.recipe.comparison
    arms = [
        Arm(
            run.readied.arm.name,
            {one.seed: metric.stats(one.outcomes) for one in run.runs},
            invalid=invalid_share([p for one in run.runs for p in one.predictions]),
            written=_written(run, asked.plan),
            cost=run.cost,
        )
        for run in runs
    ]
    golds = [outcome.gold for outcome in runs[0].runs[0].outcomes]
    return compare_arms(
        arms,
        metric=metric,
        margin=settings.margin,
        confidence=settings.confidence,
        n_resamples=settings.resamples,
        seed=asked.recipe.seed,
        groups=together(records),
        labels=[g for g in golds if g is not None] if asked.plan.task.labels else None,
    )


def _written(run: ArmRuns, plan: Plan) -> float | None:
    """Score what was written freely beside scored label words, where the metric asks only for the label."""
    predictions = [p for one in run.runs for p in one.predictions]
    if not plan.task.labels or plan.metric.needs != "label" or any(p.generated is None for p in predictions):
        return None
    examples = list(run.readied.test.examples.values())
    found = [outcomes(one.predictions, examples, plan.task, written=True) for one in run.runs]
    return sum(map(plan.metric.score, found)) / len(found)


def _best(runs: Sequence[ArmRuns], found: Comparison) -> ArmRuns:
    """Take the recommended arm, or the leading one where none is."""
    name = found.recommended or found.leading[0]
    return next(run for run in runs if run.readied.arm.name == name)


def _write(
    asked: Contest, values: Mapping[str, Any], report: ReportData, *, runs: Sequence[ArmRuns], best: ArmRuns
) -> None:
    chosen = next(one for one in best.runs if one.seed == best.best_seed)
    spec = spec_of(best.readied, best.plan, base_digest=best.base_digest, prior=chosen.prior)
    trained = chosen.trained
    recipe = asked.recipe.to_dict()
    settings = replace(best.plan.settings, learning_rate=best.learning_rate, seed=best.best_seed)
    made_of = {"recipe": recipe, "left_out": values["left_out"], **_origin(asked, runs)}
    facts = {"settings": asdict(settings), "best": {"step": trained.best_step, **trained.best.shown}, **made_of}
    manifest = {"kind": "comparison", "verdict": values["verdict"], **made_of}
    files = traces(trained, best.readied, replace(best.plan, settings=settings))
    with staged(asked.out, manifest) as staging:
        save_run(staging / "best", spec, best.weights, facts=facts, files=files)
        write_report(report, staging / "report.html")
        every = {(run.readied.arm.name, one.seed): one.predictions for run in runs for one in run.runs}
        write_predictions(staging / "predictions.parquet", every)
        (staging / "comparison.json").write_bytes(msgspec.json.format(msgspec.json.encode(values), indent=1))
        (staging / "recipe.yaml").write_text(asked.recipe.to_yaml(), encoding="utf-8")
        (staging / "traces.jsonl").write_bytes(_traces(runs))


def _origin(asked: Contest, runs: Sequence[ArmRuns]) -> dict[str, dict[str, str]]:
    """Give the digests of what went in: the files, the records of each part, the models."""
    models = {run.readied.arm.model: run.base_digest for run in runs}
    return {"inputs": input_digests(asked.recipe.data.named), "splits": split_digests(asked.parts), "models": models}


def _traces(runs: Sequence[ArmRuns]) -> bytes:
    lines = [
        msgspec.json.encode({"arm": run.readied.arm.name, "seed": one.seed, **asdict(point)})
        for run in runs
        for one in run.runs
        for point in one.trained.trace
    ]
    return b"\n".join([*lines, b""])


def _title(recipe: Recipe, sizes: Mapping[str, int]) -> str:
    paths = recipe.data.paths or recipe.data.train
    data = ", ".join(Path(p).name for p in paths[:2]) + (" ..." if len(paths) > 2 else "") if paths else "records"
    return f"{', '.join(recipe.formats)} on {data}, {sizes['train']} training records"


def _scale(metric: Metric) -> Scale:
    return Scale(metric.name, metric.higher_is_better, "points" if metric.unit == "points" else "plain")


def _arm_rows(found: Comparison, metric: Metric) -> list[ArmRow]:
    rows = [
        ArmRow(
            name,
            arm.mean,
            arm.low,
            arm.high,
            by_seed=arm.by_seed,
            invalid=arm.invalid,
            written=arm.written,
            parameters_trained=arm.cost.parameters_trained,
            tokens_laid=arm.cost.tokens_laid,
            training_s=arm.cost.training_s,
            tokens_per_answer=arm.cost.tokens_per_answer,
            ms_per_answer=arm.cost.ms_per_answer,
            note="not better than always giving the commonest label" if arm.at_chance else "",
        )
        for name, arm in found.formats.items()
    ]
    sign = -1 if metric.higher_is_better else 1
    return sorted(rows, key=lambda row: (sign * row.mean, row.name))


def _pair_row(pair: Any) -> PairRow:
    told = {"p": pair.p_holm, "significant": pair.different, "equivalent": pair.equivalent}
    return PairRow(pair.a, pair.b, pair.difference, pair.low, pair.high, **told)


def _facts(asked: Contest, runs: Sequence[ArmRuns]) -> list[tuple[str, str]]:
    sizes, settings, labels = _sizes(runs), asked.plan.settings, asked.plan.task.labels
    adds = {r.readied.arm.format.name: ", ".join(r.readied.arm.format.adds) or "nothing" for r in runs}
    facts = [
        ("models", ", ".join(asked.recipe.models)),
        ("records", f"{sizes['train']} to train on, {sizes['dev']} to choose on, {sizes['test']} to test on"),
        ("budget", f"{settings.steps} updates of {settings.batch_size} records, {len(asked.plan.seeds)} seeds"),
        (
            "learning rates",
            "; ".join(f"{r.readied.arm.name} {r.learning_rate:g} of {len(r.tried)} tried" for r in runs),
        ),
        ("frozen", asked.plan.options.freeze),
        ("calculated in", "; ".join({f"{r.readied.arm.model} {r.plan.options.precision}": "" for r in runs})),
        ("arms at a time", f"{asked.crew.n_workers}, threads of each: {asked.crew.n_threads}"),
        ("texts cut to fit", "; ".join(f"{r.readied.arm.name} {r.readied.n_truncated}" for r in runs)),
        ("what a format adds", "; ".join(f"{name}: {what}" for name, what in adds.items())),
    ]
    if any(r.readied.n_lossy for r in runs):
        lossy = "; ".join(f"{r.readied.arm.name} {r.readied.n_lossy}" for r in runs)
        facts.append(("texts with characters that the vocabulary lacks", lossy))
    if any(r.n_fresh for r in runs):
        fresh = "; ".join(f"{r.readied.arm.name} {r.n_fresh:,}" for r in runs if r.n_fresh)
        facts.append(("weights that were not pretrained", fresh))
    if labels:
        facts.append(("labels", ", ".join(labels[:8]) + (" ..." if len(labels) > 8 else "")))
    return facts


def _curves(runs: Sequence[ArmRuns], name: str) -> list[Curve]:
    return [
        Curve(
            run.readied.arm.name,
            one.seed,
            [CurvePoint(p.step, p.loss, p.look.shown.get(name) if p.look else None) for p in one.trained.trace],
            best_step=one.trained.best_step,
        )
        for run in runs
        for one in run.runs
    ]


def _pooled(run: ArmRuns) -> list[Outcome]:
    return [outcome for one in run.runs for outcome in one.outcomes]


def _confusions(runs: Sequence[ArmRuns], task: Task) -> list[Confusion]:
    if not task.labels:
        return []
    found = []
    for run in runs:
        counts = confusion(_pooled(run), len(task.labels)) / len(run.runs)
        invalid = counts[:, -1].tolist() if counts[:, -1].any() else ()
        found.append(Confusion(run.readied.arm.name, task.labels, counts[:, :-1].tolist(), invalid))
    return found


def _calibrations(runs: Sequence[ArmRuns], task: Task) -> list[Calibration]:
    if not task.labels:
        return []
    found = []
    for run in runs:
        pooled = _pooled(run)
        bins = [Bin(b.low, b.high, b.n, b.confidence, b.accuracy) for b in calibration_table(pooled)]
        found.append(Calibration(run.readied.arm.name, bins, ece=METRICS["ece"].score(pooled)))
    return found


def _shown(runs: Sequence[ArmRuns], records: Sequence[Record], options: Options) -> Shown:
    record = next(r for r in records if r.id in runs[0].readied.train.examples)
    examples = []
    for run in runs:
        arm = run.readied.arm
        folder = resolve(arm.model)
        start = decoder_start_in(folder) if arm.shape == "encoder-decoder" else None
        tokenizer = load_tokenizer(folder, template_options=options.template_options)
        example = run.readied.train.examples[record.id]
        examples.append(
            shown_example(
                arm.name,
                example,
                tokenizer,
                shape=arm.shape,
                decoder_start_id=start,
                capacity=max_length_in(folder, options.max_length),
            )
        )
    return Shown(str(record.origin or record.id), fields_of(record), examples)


def _disagreements(runs: Sequence[ArmRuns], records: Sequence[Record]) -> list[Disagreement]:
    """Find the records to which the arms' first seeds gave different answers, right in one arm and wrong in another."""
    found: list[Disagreement] = []
    if not isinstance(records[0], Labelled | Question):  # a translation is not right or wrong
        return found
    for index, record in enumerate(records):
        answers = [_answer(run, index) for run in runs]
        if len({a.text for a in answers}) > 1 and len({a.right for a in answers}) > 1:
            gold = answer_text(record)
            found.append(Disagreement(str(record.origin or record.id), input_text(record), gold, answers))
    return found


def _answer(run: ArmRuns, index: int) -> Answer:
    prediction, outcome = run.runs[0].predictions[index], run.runs[0].outcomes[index]
    right = (
        outcome.label == outcome.gold if outcome.gold is not None else METRICS["exact_match"].score([outcome]) == 100
    )
    return Answer(run.readied.arm.name, prediction.answer, right, prediction.confidence, prediction.valid)


def _repeat(asked: Contest, runs: Sequence[ArmRuns]) -> Repeat:
    digests = [(f"model of {r.readied.arm.name}", r.base_digest[:16]) for r in runs]
    digests += [(f"{name} records", digest[:16]) for name, digest in split_digests(asked.parts).items()]
    return Repeat(
        command=asked.command,
        recipe_yaml=asked.recipe.to_yaml(),
        seeds=list(asked.plan.seeds),
        versions=list(versions().items()),
        digests=digests,
    )
