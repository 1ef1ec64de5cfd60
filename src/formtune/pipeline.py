"""The whole path, top to bottom: from a labelled file to a verdict, a model and an answer.

Only this module and the command line know the recipe; every stage takes plain arguments.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from formtune import dialects, formats, inspection, processes
from formtune.errors import DataError, SettingError
from formtune.examples import Format, Task
from formtune.inspection import tally
from formtune.interrupts import Heed, unheeded
from formtune.progress import Event, Progress, silent
from formtune.provenance import input_digests, split_digests
from formtune.recipe import Recipe, make_recipe
from formtune.records import Labelled, LeftOut, Record
from formtune.shards import check_place, staged, sweep, write_tokens
from formtune.splits import Splits, from_files, has_answer, together
from formtune.splits import split as part

if TYPE_CHECKING:
    from formtune.arms import Length, Readied
    from formtune.footprint import Limits
    from formtune.loading import Options
    from formtune.metrics import Metric
    from formtune.results import Compared, Result
    from formtune.runs import OpenRun
    from formtune.spaces import Space
    from formtune.trials import Plan
    from formtune.tuning import Search
    from formtune.updates import TrainSettings


# --- bytes → records → splits ----------------------------------------------------------------------------------------


def read(recipe: Recipe, paths: Sequence[str]) -> dialects.Reading:
    """Read records from files, as the recipe's ``data`` section says."""
    data = recipe.data
    columns = dialects.Columns(**data.columns.model_dump())
    return dialects.read(paths, dialect=data.dialect, columns=columns, encoding=data.encoding, header=data.header)


def paths_of(recipe: Recipe) -> Sequence[str]:
    """List the recipe's files, split or not.

    Raises:
        SettingError: where there are none.
    """
    paths = recipe.data.paths or (*recipe.data.train, *recipe.data.dev, *recipe.data.test)
    columns = recipe.data.columns
    if not paths and not (columns.source and columns.target):  # which may be files, aligned line by line
        raise SettingError("There are no data.", "Give files, or data.paths in the recipe.", at="DATA")
    return paths


class _Sizes(TypedDict):
    n_train: int | None
    n_dev: int | None
    n_test: int | None


def splits_of(recipe: Recipe) -> tuple[Splits, str]:
    """Read the records and part them into train, dev and test, before any format sees them.

    Returns:
        The parts, and the dialect that the records came in.
    """
    data = recipe.data
    sizes: _Sizes = {"n_train": data.n_train, "n_dev": data.n_dev, "n_test": data.n_test}
    if not data.train:
        reading = read(recipe, paths_of(recipe))
        parts = part(reading.records, **sizes, seed=recipe.seed)
        return replace(parts, left_out=[*reading.left_out, *parts.left_out]), reading.dialect
    readings = [read(recipe, paths) if paths else None for paths in (data.train, data.dev, data.test)]
    records = [reading.records if reading else [] for reading in readings]
    parts = from_files(*records, **sizes, seed=recipe.seed)
    unread = [one for reading in readings if reading for one in reading.left_out]
    return replace(parts, left_out=[*unread, *parts.left_out]), readings[0].dialect if readings[0] else ""


# --- settings → plain arguments --------------------------------------------------------------------------------------


def task_of(recipe: Recipe, records: Sequence[Record]) -> Task:
    """Fix what the formats are told about the whole data set."""
    asked = recipe.task
    task = formats.infer_task(records, words=asked.words, instruction=asked.instruction, question=asked.question)
    first = records[0]
    return replace(task, inputs=tuple(first.inputs)) if isinstance(first, Labelled) else task


def formats_of(recipe: Recipe) -> list[Format]:
    """Look up the recipe's formats; a path that ends in ``.jinja`` is the user's own presentation."""
    if not recipe.formats:
        raise SettingError("No format is named.", f"Choose from: {', '.join(formats.FORMATS)}.", at="--format")
    return [_format(name) for name in recipe.formats]


def _format(name: str) -> Format:
    if not name.endswith(".jinja"):
        return formats.named(name)
    path = Path(name)
    if not path.is_file():
        raise SettingError(f"There is no template {name!r}.", "Give the path of a .jinja file.", at="--format")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"This is not UTF-8 ({error}).", "Save the template as UTF-8.", at=name) from error
    return formats.custom_format(text, path.stem, path=name)


def models_of(recipe: Recipe) -> Sequence[str]:
    """List the recipe's models.

    Raises:
        SettingError: where there are none.
    """
    if not recipe.models:
        raise SettingError("No model is named.", "Give --model, for example smollm2-135m.", at="--model")
    return recipe.models


def options_of(recipe: Recipe) -> "Options":
    """Turn the recipe's ``model`` section into what loading takes."""
    from formtune.adapters import Lora
    from formtune.loading import Options

    chosen = recipe.model
    return Options(
        freeze=chosen.freeze,
        lora=Lora(**chosen.lora.model_dump()) if chosen.lora else None,
        max_length=chosen.max_length,
        pooling=chosen.pooling,
        precision=chosen.precision,
        cache_trunk=chosen.cache_trunk,
        cache_gb=chosen.cache_gb,
    )


def length_of(recipe: Recipe) -> "Length":
    """Say how long examples and answers may be."""
    from formtune.arms import Length

    asked = recipe.comparison
    return Length(most=recipe.model.max_length, new=asked.max_new_tokens, writes=asked.generate)


def train_settings(recipe: Recipe, task: Task, golds: Sequence[int | None]) -> "TrainSettings":
    """Turn the recipe's ``training`` section into what the loop takes, for so many training records."""
    from formtune.updates import TrainSettings

    asked = recipe.training
    per_epoch = math.ceil(len(golds) / asked.batch_size)
    steps = asked.steps or max(1, round((asked.epochs or 1.0) * per_epoch))
    own = {"learning_rates", "epochs", "steps", "class_weights", "validate_every", "unfreeze_every", "metric"}
    own |= {"trackers", "engine", "workers", "save_every", "keep"}
    fitted = {"memory_gb", "micro_batch_tokens", "checkpoint_activations"}  # to the model, by limits_of
    return TrainSettings(
        **asked.model_dump(exclude=own | fitted),
        steps=steps,
        validate_every=asked.validate_every or per_epoch,
        unfreeze_every=max(1, round(asked.unfreeze_every * per_epoch)) if asked.unfreeze_every else None,
        class_weights=_balanced(task, golds) if asked.class_weights == "balanced" else (),
        seed=recipe.seed,
    )


def limits_of(recipe: Recipe) -> "Limits":
    """Turn what the recipe says of memory into what is fitted to it."""
    from formtune.footprint import Limits

    asked = recipe.training
    return Limits(
        memory_bytes=round(asked.memory_gb * 2**30) if asked.memory_gb else None,
        micro_batch_tokens=asked.micro_batch_tokens,
        checkpoint_activations=asked.checkpoint_activations,
    )


def _balanced(task: Task, golds: Sequence[int | None]) -> tuple[float, ...]:
    """Weigh each class by n / (K · n_k), as scikit-learn does."""
    if not task.labels:
        raise SettingError(
            "Only records with labels have classes to weigh.", "Set class_weights to none.", at="training.class_weights"
        )
    counts = [sum(gold == k for gold in golds) for k in range(len(task.labels))]
    return tuple(len(golds) / (len(counts) * max(1, n)) for n in counts)


def metric_of(name: str | None, task: Task, *, at: str) -> "Metric":
    """Look up a metric, or the usual one for the task; ``at`` is the setting that names it."""
    from formtune.evaluation import kind_of_task
    from formtune.metrics import choose_metric

    try:
        return choose_metric(name, kind_of_task(task))
    except SettingError as error:
        raise SettingError(error.problem, error.remedy, at=at) from error


# --- the verbs -------------------------------------------------------------------------------------------------------


def formats_matrix() -> "Result":
    """List every format over every kind of record, with the shapes of model it serves, or why it does not.

    Under ``about``: what each format is, its loss, when it wins and loses, its source and what it adds.
    """
    from formtune.results import Result

    facts = ("summary", "formula", "wins", "loses", "source", "adds")
    about = {name: {fact: getattr(one, fact) for fact in facts} for name, one in formats.FORMATS.items()}
    return Result({"formats": [asdict(row) for row in formats.matrix()], "about": about})


def inspect(recipe: Recipe) -> "Result":
    """Say what the recipe's data are: dialect, kinds, counts, lengths, balance of labels, samples."""
    from formtune.results import Result

    return Result(inspection.inspect(read(recipe, paths_of(recipe))))


def split(recipe: Recipe) -> "Result":
    """Part the records and write ``train``, ``dev`` and ``test`` in the dialect that they came in."""
    from formtune.results import Result

    out = out_of(recipe, "split")
    parts, dialect = splits_of(recipe)
    named = {"train": parts.train, "dev": parts.dev, "test": parts.test}
    ending = {"squad": ".json", "aligned": "", "labelled-lines": ".txt"}.get(dialect, ".jsonl")
    facts = {name: len(records) for name, records in named.items()}
    left_out = list(parts.left_out)
    manifest = {"kind": "split", **facts, **_origins(recipe, parts), "dialect": dialect, "recipe": recipe.to_dict()}
    with staged(out, {**manifest, "left_out": tally(parts.left_out)}) as staging:
        for name, records in named.items():
            left_out += dialects.write(records, dialect, str(staging / f"{name}{ending}")) if records else []
    return Result({**facts, "dialect": dialect, "left_out": tally(left_out), "out": str(out)})


def _origins(recipe: Recipe, parts: Splits) -> dict[str, dict[str, str]]:
    """Say what a result was made of: digests of the files, and of the records of each part."""
    return {"inputs": input_digests(recipe.data.named), "splits": split_digests(parts)}


def out_of(recipe: Recipe, kind: str) -> Path:
    """Give the folder that the results go to, once it is sure that they can.

    Raises:
        SettingError: where the place cannot be written.
    """
    return check_place(recipe.out or f"out/{kind}")


def preview(recipe: Recipe, *, record: int = 1, out: str | None = None) -> "Result":
    """Show one record as the model sees it: text, and each token with its part and weight; works without torch.

    Args:
        recipe: data, one format or several, and a model (the byte tokenizer where none is named).
        record: which, from 1.
        out: path of an HTML page to write.
    """
    from formtune.showing import previewed

    reading = read(recipe, paths_of(recipe))
    records = reading.records
    if not 1 <= record <= len(records):
        raise SettingError(f"There is no record {record}.", f"Choose from 1 to {len(records)}.", at="--record")
    answered = [one for one in records if has_answer(one)]
    task = task_of(recipe, answered or records)
    model = recipe.models[0] if recipe.models else None
    found = previewed(
        records[record - 1], formats_of(recipe), task, model=model, max_length=recipe.model.max_length, out=out
    )
    return replace(found, values={**found.values, "left_out": tally(reading.left_out)})


def prepare(recipe: Recipe) -> "Result":
    """Turn the training records into tokens with loss weights, packed, and write them; works without torch.

    Records are held back for choosing and testing only where the recipe says how many.
    """
    from formtune.batches import by_budget
    from formtune.results import Result
    from formtune.updates import MICRO_BATCH_TOKENS

    out = out_of(recipe, "prepared")
    unasked = {size: 0 for size in ("n_dev", "n_test") if getattr(recipe.data, size) is None}
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update=unasked)})
    readied, parts, _task = _one_arm(recipe)
    tokens = list(readied.train.tokens.values())
    capacity = recipe.training.micro_batch_tokens or MICRO_BATCH_TOKENS
    lengths = [len(t.ids_T) + (len(t.decoder.ids_T) if t.decoder else 0) for t in tokens]
    rows = by_budget(lengths, capacity, sort=False)
    sequence = {index: row for row, indices in enumerate(rows) for index in indices}
    left_out = [*parts.left_out, *readied.left_out]
    facts = {
        "records": len(tokens),
        "sequences": len(rows),
        "tokens": sum(lengths),
        "learned_tokens": sum(int(((t.decoder or t).weights_T > 0).sum()) for t in tokens),
        "corrupted": sum(t.corrupt is not None for t in tokens),
        "truncated": readied.n_truncated,
        "lossy": readied.n_lossy,
        "left_out": tally(left_out),
        "engine": "local",
    }
    manifest = {"kind": "prepared", **facts, **_origins(recipe, parts), "recipe": recipe.to_dict()}
    with staged(out, manifest) as staging:
        write_tokens(staging / "tokens.arrow", tokens, sequences=[sequence[i] for i in range(len(tokens))])
    digest = json.loads((out / "manifest.json").read_text())["files"]["tokens.arrow"]
    return Result({**facts, "digest": digest, "out": str(out)})


def _one_arm(recipe: Recipe) -> "tuple[Readied, Splits, Task]":
    from formtune.arms import make_arms, ready

    parts, _ = splits_of(recipe)
    task = task_of(recipe, parts.train)
    chosen, models = formats_of(recipe), models_of(recipe)
    if len(chosen) > 1 or len(models) > 1:
        raise SettingError("This takes one format and one model.", "Name one of each, or use compare.", at="--format")
    arms, _ = make_arms(chosen, models, task)
    return ready(arms[0], parts, task, length=length_of(recipe)), parts, task


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
    _check_own(recipe)
    if recipe.training.engine == "ray":
        return _train_on_ray(recipe, fresh=fresh, progress=progress)
    return _train_here(recipe, fresh=fresh, progress=progress, heed=heed)


def _train_here(recipe: Recipe, *, fresh: bool, progress: Progress, heed: Heed) -> "Result":
    from formtune.checkpoints import Keeping, claimed
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
        **_origins(recipe, parts),
        "left_out": tally([*parts.left_out, *readied.left_out]),
    }
    kept, trackers = kept_beside(out), recipe.training.trackers
    keeping = Keeping(folder=kept, every=recipe.training.save_every, n_kept=recipe.training.keep, heed=heed)
    with processes.held_by_main(lambda: claimed(kept, fresh=fresh)):
        return train_one(readied, plan, facts=facts, keeping=keeping, progress=progress, out=out, trackers=trackers)


def _one_training(recipe: Recipe) -> "tuple[Readied, Splits, Plan]":
    readied, parts, task = _one_arm(recipe)
    _check_one_rate(recipe, "compare tries several")
    _check_prior([readied], recipe)
    return readied, parts, plan_of(recipe, task, readied)


def kept_beside(out: Path) -> Path:
    """Name the folder in which unfinished work is kept until what it leads to is whole."""
    return out.parent / f"{out.name}.checkpoints"


def train_forecast(recipe: Recipe, *, progress: Progress = silent) -> "Result":
    """Foretell what :func:`train` will compute, hold and take; trains and writes nothing."""
    from formtune.forecast import foretold_training
    from formtune.results import Result

    _check_foretellable(recipe)
    _check_own(recipe)
    readied, parts, plan = _one_training(recipe)
    found = foretold_training(readied, plan, progress=progress)
    return Result({**found.to_dict(), "left_out": tally([*parts.left_out, *readied.left_out])})


def tune(recipe: Recipe, *, progress: Progress = silent) -> "Result":
    """Search for settings that do well on the dev records, and score the best run once on the test records."""
    from formtune.recipe.searching import space_of
    from formtune.tuning import tuned

    _check_alone(recipe, "A search")
    out, space = out_of(recipe, "tuning"), space_of(recipe)
    readied, parts, task = _one_arm(recipe)
    if not readied.dev.tokens:
        raise SettingError("A search needs records to choose on, and there are none.", "Ask for some.", at="--n-dev")
    _check_one_rate(recipe, "tune searches training.learning_rate")
    _check_prior([readied], recipe)
    metric = metric_of(recipe.training.metric or recipe.comparison.metric, task, at="training.metric")
    recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update={"metric": metric.name})})
    origins = _origins(recipe, parts)
    facts = {"recipe": recipe.to_dict(), **origins, "left_out": tally([*parts.left_out, *readied.left_out])}
    search = _search(recipe, space, task=task, readied=readied, records=origins["splits"])
    return tuned(readied, plan_of(recipe, task, readied), search, facts=facts, out=out, progress=progress)


def _search(recipe: Recipe, space: "Space", *, task: Task, readied: "Readied", records: Mapping[str, str]) -> "Search":
    """Turn the recipe's ``tuning`` section into what the search takes.

    Raises:
        SettingError: where a value of the space does not go with the rest of the recipe.
    """
    from formtune.model_files import folder_digest, resolve
    from formtune.recipe.searching import identity, own_values, some_values, with_values
    from formtune.spaces import nearest_in
    from formtune.tuning import Search

    golds = [t.gold for t in readied.train.tokens.values()]

    def configured(values: Mapping[str, object]) -> "tuple[Options, TrainSettings]":
        tried = with_values(recipe, values)
        return options_of(tried), train_settings(tried, task, golds)

    def chosen(values: Mapping[str, object]) -> tuple[dict[str, object], str]:
        found = with_values(recipe, {**values, "out": None})  # so that training it does not replace the search
        return found.to_dict(), found.to_yaml()

    for values in some_values(space):
        configured(values)
    digests = {"the model": folder_digest(resolve(readied.arm.model))}
    digests |= {f"the set of {name} records": digest for name, digest in records.items()}
    asked = recipe.tuning
    return Search(
        space=space,
        own=nearest_in(space, own_values(recipe, space)) if asked.own_first else {},
        configure=configured,
        recipe_of=chosen,
        trials=asked.trials,
        hours=asked.hours,
        pruner=asked.pruner,
        asked={**identity(recipe, space), "digests": digests},
    )


def _check_one_rate(recipe: Recipe, remedy: str) -> None:
    if recipe.training.learning_rates:
        raise SettingError(
            "One training has one learning rate.",
            f"Set training.learning_rate; {remedy}.",
            at="training.learning_rates",
        )


def _train_on_ray(recipe: Recipe, *, fresh: bool, progress: Progress) -> "Result":
    """Let workers of a Ray cluster do the same, each a process of one training, and fetch what they wrote."""
    from formtune.ray_engine import Job, run_on_ray

    out = out_of(recipe, "run").absolute()
    work = partial(_train_in_worker, recipe.to_dict(), fresh)
    return run_on_ray(Job(work, out=out, n_workers=recipe.training.workers or 1), progress=progress)


def _train_in_worker(values: dict[str, object], fresh: bool, out: Path, progress: Progress) -> "Result":  # noqa: PLR0917
    recipe = make_recipe({**values, "out": str(out)})
    return _train_here(recipe, fresh=fresh, progress=progress, heed=unheeded)


def _check_own(recipe: Recipe) -> None:
    """Refuse what does not go together: launchers, Ray, and files that only one process can read."""
    asked, several = recipe.training, processes.count() > 1
    if several and asked.engine == "ray":
        raise SettingError("Ray starts its workers itself.", "Start it without a launcher.", at="training.engine")
    if asked.engine == "local" and asked.workers is not None:
        raise SettingError(
            "Workers are started by Ray alone.",
            "Set training.engine to ray; or run: torchrun --nproc-per-node N -m formtune train ...",
            at="training.workers",
        )
    if (several or asked.engine == "ray") and {"-", "/dev/stdin"} & set(recipe.data.named):
        raise SettingError(
            "Of several processes only one can read standard input.", "Write the records to a file.", at="DATA"
        )


def _check_foretellable(recipe: Recipe) -> None:
    """Refuse to foretell what other processes and machines would do: what is measured here is one of this one."""
    if processes.count() > 1 or recipe.training.engine == "ray":
        raise SettingError(
            "A forecast is of one process on this machine.", "Ask without a launcher or engine.", at="--dry-run"
        )


def plan_of(recipe: Recipe, task: Task, readied: "Readied") -> "Plan":
    """Say what every arm gets, from the recipe and one arm's training records."""
    from formtune.trials import Plan

    golds = [t.gold for t in readied.train.tokens.values()]
    asked = recipe.comparison
    return Plan(
        task=task,
        settings=train_settings(recipe, task, golds),
        learning_rates=recipe.training.learning_rates or (recipe.training.learning_rate,),
        seeds=range(recipe.seed, recipe.seed + asked.seeds),
        options=options_of(recipe),
        limits=limits_of(recipe),
        metric=metric_of(asked.metric, task, at="comparison.metric"),
        chosen_by=metric_of(recipe.training.metric, task, at="training.metric") if recipe.training.metric else None,
        label_prior=asked.label_prior,
        generate=asked.generate,
        max_new_tokens=asked.max_new_tokens,
    )


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
    return Result({**values, "run": run, "left_out": tally([*reading.left_out, *without, *unfit])})


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
    return Result({"predictions": rows, "n": len(rows), "left_out": tally([*left_out, *unfit])})


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
    from formtune.checkpoints import claimed, remove
    from formtune.kept_arms import arms_done
    from formtune.reporting import Contest, concluded

    _check_alone(recipe, "A comparison")
    out = out_of(recipe, "comparison")
    readied, plan, lists = _all_arms(recipe, reading, progress=progress)
    asked = Contest(
        recipe=recipe,
        plan=plan,
        parts=lists.parts,
        lost=lists.lost,
        refused=lists.refused,
        command=command,
        out=out,
    )
    kept = kept_beside(out)
    with claimed(kept, fresh=fresh):
        sweep(out.parent, name=out.name)
        found = concluded(asked, arms_done(readied, plan, folder=kept, progress=progress))
        remove(kept)
    return found


def compare_forecast(recipe: Recipe, *, progress: Progress = silent) -> "Result":
    """Foretell what :func:`compare` will compute, hold and take, arm by arm; trains and writes nothing."""
    from formtune.forecast import foretold_arm, together_told
    from formtune.results import Result

    _check_alone(recipe, "A comparison")
    _check_foretellable(recipe)
    readied, plan, lists = _all_arms(recipe, None, progress=progress)
    found = [foretold_arm(one, plan, progress=progress) for one in readied]
    return Result({**together_told(found), "left_out": tally([*lists.parts.left_out, *lists.lost])})


class _Lists(NamedTuple):
    """What a comparison is made of beside its arms: records by split, those that are lost, and formats that do not fit."""

    parts: Splits
    lost: list[LeftOut]
    refused: dict[str, str]


def _all_arms(
    recipe: Recipe, reading: dialects.Reading | None, *, progress: Progress
) -> "tuple[list[Readied], Plan, _Lists]":
    from formtune.arms import check_comparable, make_arms, ready, shared

    parts = splits_of(recipe)[0] if reading is None else _parted(reading, recipe)
    _check_both(parts)
    task = task_of(recipe, parts.train)
    arms, refused = make_arms(formats_of(recipe), models_of(recipe), task)
    if len(arms) < 2:
        reasons = " ".join(f"{name}: {reason}" for name, reason in refused.items())
        raise SettingError(
            f"A comparison needs two arms. {reasons}".rstrip(), "Name more formats or models.", at="--formats"
        )
    progress(Event("records become examples and tokens"))
    readied, lost = shared([ready(arm, parts, task, length=length_of(recipe)) for arm in arms])
    plan = plan_of(recipe, task, readied[0])
    _check_prior(readied, recipe)
    check_comparable(readied, plan.metric.needs, metric=plan.metric.name)
    return readied, plan, _Lists(parts, lost, refused)


def _check_alone(recipe: Recipe, work: str) -> None:
    """Refuse what a single training alone can do."""
    asked = recipe.training
    only = {"trackers": bool(asked.trackers), "engine": asked.engine != "local", "workers": asked.workers is not None}
    for name, wanted in only.items():
        if wanted:
            raise SettingError(
                f"{work} trains many times, one after the other, in one process.",
                f"Leave {name} out; train has it.",
                at=f"training.{name}",
            )


def _check_prior(readied: Sequence["Readied"], recipe: Recipe) -> None:
    words = [one for one in readied if one.output in ("words", "mask")]
    if recipe.comparison.label_prior and any(not one.blanks for one in words):
        raise SettingError(
            "These labels have no prior: there are none, or they are letters that stand for another choice each time.",
            "Leave it out.",
            at="comparison.label_prior",
        )


def _check_both(parts: Splits) -> None:
    for name, records, purpose in (("dev", parts.dev, "choose on"), ("test", parts.test, "compare on")):
        if not records:
            raise SettingError(
                f"A comparison needs records to {purpose}, and there are none.", "Ask for some.", at=f"--n-{name}"
            )
    if len(set(together(parts.test))) < 2:
        raise SettingError(
            "All test records belong together (one group, or one text), so nothing tells how others would do.",
            "Give test records of several groups.",
            at="--group",
        )


def _parted(reading: dialects.Reading, recipe: Recipe) -> Splits:
    data = recipe.data
    parts = part(reading.records, n_train=data.n_train, n_dev=data.n_dev, n_test=data.n_test, seed=recipe.seed)
    return replace(parts, left_out=[*reading.left_out, *parts.left_out])
