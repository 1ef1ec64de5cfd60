"""The whole path, top to bottom: from a labelled file to a verdict, a model and an answer.

Its first half, what is asked of data before any model learns, stands in :mod:`formtune.data_pipeline`. Only these two, what they
lean on (:mod:`formtune.planning`, :mod:`formtune.preparation`) and the command line know the recipe; stages take plain arguments.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from formtune import dialects, formats, processes
from formtune.data_pipeline import (
    check,
    convert,
    dialects_table,
    export,
    formats_matrix,
    inspect,
    mix,
    origins_of,
    out_of,
    prepare,
    preview,
    split,
)
from formtune.errors import DataError, SettingError
from formtune.examples import Task
from formtune.interrupts import Heed, unheeded
from formtune.planning import (
    check_alone,
    check_both,
    check_foretellable,
    check_one_rate,
    check_own,
    check_prior,
    check_template_options,
    formats_of,
    length_of,
    metric_of,
    models_of,
    parted,
    paths_of,
    plan_of,
    read,
    search_of,
    splits_of,
    task_of,
    template_options_of,
)
from formtune.progress import Event, Progress, silent
from formtune.provenance import split_digests
from formtune.recipe import Recipe, make_recipe
from formtune.records import LeftOut
from formtune.shards import sweep
from formtune.splits import Splits, has_answer
from formtune.tallies import accounted

__all__ = [
    "cache",
    "check",
    "compare",
    "compare_forecast",
    "compare_together",
    "convert",
    "dialects_table",
    "evaluate",
    "export",
    "formats_matrix",
    "inspect",
    "kept_beside",
    "mix",
    "out_of",
    "predict",
    "prepare",
    "preview",
    "split",
    "train",
    "train_forecast",
    "tune",
]

if TYPE_CHECKING:
    from formtune.arms import Readied
    from formtune.results import Compared, Result
    from formtune.runs import OpenRun
    from formtune.trials import Plan


def _one_arm(recipe: Recipe) -> "tuple[Readied, Splits, Task]":
    from formtune.arms import make_arms, ready
    from formtune.prepared_training import prepared_arm

    if recipe.data.prepared is not None:
        return prepared_arm(recipe)
    parts, _ = splits_of(recipe)
    task = task_of(recipe, parts.train)
    chosen, models = formats_of(recipe), models_of(recipe)
    if len(chosen) > 1 or len(models) > 1:
        raise SettingError("This takes one format and one model.", "Name one of each, or use compare.", at="--format")
    arms, _ = make_arms(chosen, models, task)
    readied = ready(arms[0], parts, task, length=length_of(recipe), template_options=template_options_of(recipe))
    check_template_options(recipe, [readied])
    return readied, parts, task


def train(recipe: Recipe, *, fresh: bool = False, progress: Progress = silent, heed: Heed = unheeded) -> "Result":
    """Fine-tune one model on one format, score it once on the test records, and write the run.

    Checkpoints are kept beside the run's folder until the run is whole. Where there are some of the same training, it
    goes on from the newest. Where a launcher started several processes, each calls this and gets the same result; the
    main one writes.

    Args:
        recipe: every setting.
        fresh: begin anew, whatever is kept.
        progress: told of what goes on.
        heed: tells, while the model is trained, of signals that ask to stop.
    """
    from formtune.prepared_training import with_prepared

    recipe = with_prepared(recipe)
    check_own(recipe)
    if recipe.training.engine == "ray":
        return _train_on_ray(recipe, fresh=fresh, progress=progress)
    return _train_here(recipe, fresh=fresh, progress=progress, heed=heed)


def _train_here(recipe: Recipe, *, fresh: bool, progress: Progress, heed: Heed) -> "Result":
    from formtune.checkpoints import CheckpointPlan, claimed
    from formtune.tracking import check_trackers
    from formtune.training_job import train_one

    processes.start()
    processes.from_main(lambda: check_trackers(recipe.training.trackers))
    progress = progress if processes.is_main() else silent
    out = processes.from_main(lambda: out_of(recipe, "run"))
    readied, parts, plan = processes.alike(lambda: _one_training(recipe))
    processes.check_same(split_digests(parts), what="records")
    facts = {
        "recipe": recipe.to_dict(),
        **origins_of(recipe, parts),
        **accounted([*parts.left_out, *readied.left_out]),
    }
    kept, trackers = kept_beside(out), recipe.training.trackers
    keeping = CheckpointPlan(folder=kept, every=recipe.training.save_every, n_kept=recipe.training.keep, heed=heed)
    with processes.held_by_main(lambda: claimed(kept, fresh=fresh)):
        return train_one(readied, plan, facts=facts, keeping=keeping, progress=progress, out=out, trackers=trackers)


def _one_training(recipe: Recipe) -> "tuple[Readied, Splits, Plan]":
    readied, parts, task = _one_arm(recipe)
    check_one_rate(recipe, "compare tries several")
    check_prior([readied], recipe)
    return readied, parts, plan_of(recipe, task, readied)


def kept_beside(out: Path) -> Path:
    """Name the folder in which unfinished work is kept until what it leads to is whole."""
    return out.parent / f"{out.name}.checkpoints"


def train_forecast(recipe: Recipe, *, progress: Progress = silent) -> "Result":
    """Foretell what :func:`train` will compute, hold and take; trains and writes nothing."""
    from formtune.forecast import foretold_training
    from formtune.prepared_training import with_prepared
    from formtune.results import Result
    from formtune.tracking import check_trackers

    recipe = with_prepared(recipe)
    check_foretellable(recipe)
    check_own(recipe)
    check_trackers(recipe.training.trackers)
    readied, parts, plan = _one_training(recipe)
    found = foretold_training(readied, plan, progress=progress)
    return Result({**found.to_dict(), **accounted([*parts.left_out, *readied.left_out])})


def tune(recipe: Recipe, *, progress: Progress = silent) -> "Result":
    """Search for settings that do well on the dev records, and score the best run once on the test records."""
    from formtune.prepared_training import with_prepared
    from formtune.recipe.searching import space_of
    from formtune.tuning import tuned

    recipe = with_prepared(recipe)
    check_alone(recipe, "A search")
    out, space = out_of(recipe, "tuning"), space_of(recipe)
    readied, parts, task = _one_arm(recipe)
    if not readied.dev.tokens:
        raise SettingError(
            "A search needs records to choose on, and there are none.",
            "Ask for some.",
            at="--dev" if recipe.data.prepared else "--n-dev",
        )
    check_one_rate(recipe, "tune searches training.learning_rate")
    check_prior([readied], recipe)
    metric = metric_of(recipe.training.metric or recipe.comparison.metric, task, at="training.metric")
    recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update={"metric": metric.name})})
    origins = origins_of(recipe, parts)
    facts = {"recipe": recipe.to_dict(), **origins, **accounted([*parts.left_out, *readied.left_out])}
    search = search_of(recipe, space, task=task, readied=readied, records=origins["splits"])
    return tuned(readied, plan_of(recipe, task, readied), search, facts=facts, out=out, progress=progress)


def _train_on_ray(recipe: Recipe, *, fresh: bool, progress: Progress) -> "Result":
    """Let workers of a Ray cluster do the same, each a process of one training, and fetch what they wrote."""
    from formtune.ray_engine import Job, run_on_ray

    out = out_of(recipe, "run").absolute()
    work = partial(_train_in_worker, recipe.to_dict(), fresh)
    return run_on_ray(Job(work, out=out, n_workers=recipe.training.workers or 1), progress=progress)


def _train_in_worker(values: dict[str, object], fresh: bool, out: Path, progress: Progress) -> "Result":  # noqa: PLR0917
    recipe = make_recipe({**values, "out": str(out)})
    return _train_here(recipe, fresh=fresh, progress=progress, heed=unheeded)


def evaluate(run: str, recipe: Recipe) -> "Result":
    """Score a run on answered records."""
    from formtune.results import Result
    from formtune.runs import open_run
    from formtune.training_job import fitted, scored

    reading = read(recipe, paths_of(recipe))
    records = [r for r in reading.records if has_answer(r)]
    if not records:
        raise DataError("No record has an answer to score against.", "Give labelled records.", at=paths_of(recipe)[0])
    opened, generate = _asked_to_write(open_run(run), recipe), recipe.comparison.generate
    kept, unfit = opened.answerable([fitted(opened.task, r) for r in records], generate=generate)
    values = scored(opened, kept, generate=generate)
    without = [LeftOut("no answer to score against", at=r.origin) for r in reading.records if not has_answer(r)]
    return Result({**values, "run": run, **accounted([*reading.left_out, *without, *unfit])})


def cache(*, clear: bool = False) -> "Result":
    """List what is kept of frozen bottoms, last used first; or remove what no process uses.

    Args:
        clear: remove it; what is listed then is what stays.
    """
    from formtune.results import Result
    from formtune.state_folder import cleared, kept, states_folder

    root = states_folder()
    removed, stays = cleared(root) if clear else ([], kept(root))
    return Result(
        {
            "folder": str(root),
            "size_mb": round(sum(one.size_bytes for one in stays) / 1e6, 1),
            "removed_mb": round(sum(one.size_bytes for one in removed) / 1e6, 1),
            "kept": [one.to_dict() for one in stays],
        }
    )


def _asked_to_write(opened: "OpenRun", recipe: Recipe) -> "OpenRun":
    """Let answers be as long as the recipe says, where it does; else as long as in training."""
    if "max_new_tokens" not in recipe.comparison.model_fields_set:
        return opened
    return replace(opened, max_new_tokens=recipe.comparison.max_new_tokens)


def predict(run: str, questions: Sequence[str] | Recipe) -> "Result":
    """Answer texts, or the records of a recipe's data, with a run; answers that the data hold are not looked at."""
    from formtune.results import Result
    from formtune.runs import open_run
    from formtune.training_job import asked, fitted

    left_out: list[LeftOut] = []
    if isinstance(questions, Recipe):
        recipe, reading = questions, read(questions, paths_of(questions))
        opened, left_out = _asked_to_write(open_run(run), recipe), reading.left_out
        records = [fitted(opened.task, r) for r in reading.records]
    else:
        recipe, opened = Recipe(), open_run(run)
        records = [asked(opened.task, text) for text in questions]
    generate = recipe.comparison.generate
    records, unfit = opened.answerable([formats.unanswered(r) for r in records], generate=generate)
    answers = opened.predict(records, generate=generate)
    keys = ("id", "answer", "confidence", "valid", *(("generated",) if generate else ()))
    rows = [{key: getattr(a, key) for key in keys} for a in answers]
    return Result({"predictions": rows, "n": len(rows), **accounted([*left_out, *unfit])})


def compare(
    recipe: Recipe,
    *,
    reading: dialects.Reading | None = None,
    command: str = "formtune compare -c recipe.yaml",
    fresh: bool = False,
    progress: Progress = silent,
) -> "Compared":
    """Compare formats (and models) fairly and say which to use, or that it does not matter: the main job.

    Arms that are done are kept beside the comparison's folder until it is whole.

    Args:
        recipe: every setting.
        reading: records that were read already, instead of reading the recipe's data.
        command: what repeats it, for the report.
        fresh: begin anew, whatever is kept.
        progress: told of what goes on.
    """
    return _compared([(recipe, reading)], command=command, fresh=fresh, progress=progress)[0]


def compare_together(
    recipes: Sequence[Recipe], *, command: str, fresh: bool = False, progress: Progress = silent
) -> "list[Compared]":
    """Do several comparisons whose arms are trained at the same time: processors that one has no use for serve another.

    Args:
        recipes: of each; the first one says how many arms are trained at the same time.
        command: what repeats them, for the reports.
        fresh: begin anew, whatever is kept.
        progress: told of what goes on; stages begin with the name of their comparison's folder.
    """
    return _compared([(recipe, None) for recipe in recipes], command=command, fresh=fresh, progress=progress)


def _compared(
    asked: "Sequence[tuple[Recipe, dialects.Reading | None]]", *, command: str, fresh: bool, progress: Progress
) -> "list[Compared]":
    from formtune.checkpoints import claimed, remove
    from formtune.crew import crew_for
    from formtune.kept_arms import Roster, arms_done
    from formtune.reporting import Contest, concluded

    for recipe, _ in asked:
        check_alone(recipe, "A comparison")
    outs = [out_of(recipe, "comparison") for recipe, _ in asked]
    made = [_all_arms(recipe, reading, progress=progress) for recipe, reading in asked]
    rosters = [
        Roster(title=out.name, arms=arms, plan=plan, folder=kept_beside(out))
        for out, (arms, plan, _) in zip(outs, made, strict=True)
    ]
    crew = crew_for([(arm, one.plan) for one in rosters for arm in one.arms], asked=asked[0][0].comparison.arms_at_once)
    contests = [
        Contest(
            recipe=recipe,
            plan=plan,
            crew=crew,
            parts=lists.parts,
            lost=lists.lost,
            refused=lists.refused,
            command=command,
            out=out,
        )
        for (recipe, _), (_, plan, lists), out in zip(asked, made, outs, strict=True)
    ]
    with ExitStack() as stack:
        for roster, out in zip(rosters, outs, strict=True):
            stack.enter_context(claimed(roster.folder, fresh=fresh))
            sweep(out.parent, name=out.name)
        found = []
        for contest, roster, runs in zip(
            contests, rosters, arms_done(rosters, crew=crew, progress=progress), strict=True
        ):
            found.append(concluded(contest, runs))
            remove(roster.folder)
    return found


def compare_forecast(recipe: Recipe, *, progress: Progress = silent) -> "Result":
    """Foretell what :func:`compare` will compute, hold and take, arm by arm; trains and writes nothing."""
    from formtune.crew import crew_for
    from formtune.forecast import foretold_arm, together_told, with_threads
    from formtune.results import Result

    check_alone(recipe, "A comparison")
    check_foretellable(recipe)
    readied, plan, lists = _all_arms(recipe, None, progress=progress)
    crew = crew_for([(one, plan) for one in readied], asked=recipe.comparison.arms_at_once)
    with with_threads(crew.n_threads):
        found = [foretold_arm(one, plan, progress=progress) for one in readied]
    return Result({**together_told(found, n_workers=crew.n_workers), **accounted([*lists.parts.left_out, *lists.lost])})


class _Lists(NamedTuple):
    """What a comparison is made of beside its arms: records by split, those that are lost, and formats that do not fit."""

    parts: Splits
    lost: list[LeftOut]
    refused: dict[str, str]


def _all_arms(
    recipe: Recipe, reading: dialects.Reading | None, *, progress: Progress
) -> "tuple[list[Readied], Plan, _Lists]":
    from formtune.arms import check_comparable, make_arms, ready, shared

    parts = splits_of(recipe)[0] if reading is None else parted(reading, recipe)
    check_both(parts)
    task = task_of(recipe, parts.train)
    arms, refused = make_arms(formats_of(recipe), models_of(recipe), task)
    if len(arms) < 2:
        reasons = " ".join(f"{name}: {reason}" for name, reason in refused.items())
        raise SettingError(
            f"A comparison needs two arms. {reasons}".rstrip(), "Name more formats or models.", at="--formats"
        )
    progress(Event("records become examples and tokens"))
    length, options = length_of(recipe), template_options_of(recipe)
    readied, lost = shared([ready(arm, parts, task, length=length, template_options=options) for arm in arms])
    check_template_options(recipe, readied)
    plan = plan_of(recipe, task, readied[0])
    check_prior(readied, recipe)
    check_comparable(readied, plan.metric.needs, metric=plan.metric.name)
    return readied, plan, _Lists(parts, lost, refused)
