"""Recipe → what the stages take: records in their parts, plain arguments, and what does not go together.

Beside :mod:`formtune.pipeline` and the command line, this alone knows the recipe.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, TypeVar

from formtune import dialects, formats, processes
from formtune.errors import DataError, SettingError
from formtune.examples import Format, Task
from formtune.recipe import Recipe
from formtune.records import Labelled, Record
from formtune.sources import Mend
from formtune.splits import Splits, from_files, has_answer, together
from formtune.splits import split as part
from formtune.template_options import TemplateOptions, check_used

if TYPE_CHECKING:
    from formtune.arms import Length, Readied
    from formtune.footprint import Limits
    from formtune.loading import Options
    from formtune.metrics import Metric
    from formtune.spaces import Space
    from formtune.trials import Plan
    from formtune.tuning import Search
    from formtune.updates import TrainSettings


Found = TypeVar("Found")


def columns_of(recipe: Recipe) -> dialects.Columns:
    """Give the columns that the recipe names."""
    return dialects.Columns(**recipe.data.columns.model_dump())


def read(recipe: Recipe, paths: Sequence[str], *, mend: Mend | None = None) -> dialects.Reading:
    """Read records from files, as the recipe's ``data`` section says; ``mend`` as in :func:`formtune.dialects.read`."""
    return _as_told(dialects.read, recipe, paths, mend=mend)


def survey(recipe: Recipe, paths: Sequence[str], *, mend: Mend | None = None) -> dialects.Survey:
    """Find out how files are read row by row, as the recipe's ``data`` section says; ``mend`` gives what is looked at."""
    return _as_told(dialects.survey, recipe, paths, mend=mend)


def _as_told(look: Callable[..., Found], recipe: Recipe, paths: Sequence[str], *, mend: Mend | None) -> Found:
    data, columns = recipe.data, columns_of(recipe)
    return look(paths, dialect=data.dialect, columns=columns, encoding=data.encoding, header=data.header, mend=mend)


def paths_of(recipe: Recipe) -> Sequence[str]:
    """List the recipe's files, split or not.

    Raises:
        SettingError: where there are none.
    """
    if recipe.data.prepared is not None:
        raise SettingError(
            "Prepared records are tokens of one format, which train and tune take.",
            "Give the files that they were made of.",
            at="data.prepared",
        )
    paths = recipe.data.paths or (*recipe.data.train, *recipe.data.dev, *recipe.data.test)
    columns = recipe.data.columns
    if not paths and not (columns.source and columns.target):  # which may be files, aligned line by line
        raise SettingError("There are no data.", "Give files, or data.paths in the recipe.", at="DATA")
    return paths


def parts_of(recipe: Recipe, *, mend: Mend | None = None) -> dict[str, dialects.Reading]:
    """Read the records part by part, as the recipe names their files; ``data`` alone where they are not split."""
    data = recipe.data
    if not data.train:
        return {"data": read(recipe, paths_of(recipe), mend=mend)}
    named = {"train": data.train, "dev": data.dev, "test": data.test}
    return {name: read(recipe, paths) for name, paths in named.items() if paths}


class Meant(TypedDict):
    """What records are meant for."""

    model: str | None
    formats: list[Format]
    task: Task | None
    template_options: TemplateOptions


def meant_for(recipe: Recipe, records: Sequence[Record]) -> Meant:
    """Say what the recipe means the records for: a model and formats, or neither.

    Raises:
        SettingError: where formats are named without a model, or several models.
    """
    if len(recipe.models) > 1:
        raise SettingError("Records are checked for one model.", "Name one.", at="--model")
    if recipe.formats and not recipe.models:
        raise SettingError("Formats are checked for a model, and none is named.", "Name one.", at="--model")
    model = recipe.models[0] if recipe.models else None
    options = template_options_of(recipe)
    if not recipe.formats:
        check_used(options, is_rendered=False)
        return {"model": model, "formats": [], "task": None, "template_options": options}
    task = task_of(recipe, _answered(records))
    return {"model": model, "formats": formats_of(recipe), "task": task, "template_options": options}


def _answered(records: Sequence[Record]) -> Sequence[Record]:
    return [record for record in records if has_answer(record)] or records


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


def parted(reading: dialects.Reading, recipe: Recipe) -> Splits:
    """Part records that were read already."""
    data = recipe.data
    parts = part(reading.records, n_train=data.n_train, n_dev=data.n_dev, n_test=data.n_test, seed=recipe.seed)
    return replace(parts, left_out=[*reading.left_out, *parts.left_out])


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
        template_options=template_options_of(recipe),
    )


def template_options_of(recipe: Recipe) -> TemplateOptions:
    """Give what the recipe tells chat templates besides conversations."""
    return TemplateOptions(recipe.model.template_options, recipe.model.template_date)


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


def search_of(
    recipe: Recipe, space: "Space", *, task: Task, readied: "Readied", records: Mapping[str, str]
) -> "Search":
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


def check_one_rate(recipe: Recipe, remedy: str) -> None:
    """Refuse several learning rates where one training has one.

    Args:
        recipe: every setting.
        remedy: what takes several, as the second half of a sentence.
    """
    if recipe.training.learning_rates:
        raise SettingError(
            "One training has one learning rate.",
            f"Set training.learning_rate; {remedy}.",
            at="training.learning_rates",
        )


def check_own(recipe: Recipe) -> None:
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


def check_foretellable(recipe: Recipe) -> None:
    """Refuse to foretell what other processes and machines would do: what is measured here is one of this one."""
    if processes.count() > 1 or recipe.training.engine == "ray":
        raise SettingError(
            "A forecast is of one process on this machine.", "Ask without a launcher or engine.", at="--dry-run"
        )


def check_template_options(recipe: Recipe, readied: Sequence["Readied"]) -> None:
    """Refuse options of a chat template where no arm goes through one; what was prepared with them has them from there."""
    if recipe.data.prepared is None:
        examples = (example for one in readied for example in one.train.examples.values())
        check_used(template_options_of(recipe), is_rendered=any(example.turns for example in examples))


def check_alone(recipe: Recipe, work: str) -> None:
    """Refuse what a single training alone can do."""
    asked = recipe.training
    only = {"trackers": bool(asked.trackers), "engine": asked.engine != "local", "workers": asked.workers is not None}
    for name, wanted in only.items():
        if wanted:
            raise SettingError(
                f"{work} trains many times, each in one process.",
                f"Leave {name} out; train has it.",
                at=f"training.{name}",
            )


def check_prior(readied: Sequence["Readied"], recipe: Recipe) -> None:
    """Refuse to take off a prior that the labels do not have."""
    words = [one for one in readied if one.output in ("words", "mask")]
    if recipe.comparison.label_prior and any(not one.blanks for one in words):
        raise SettingError(
            "These labels have no prior: there are none, or they are letters that stand for another choice each time.",
            "Leave it out.",
            at="comparison.label_prior",
        )


def check_both(parts: Splits) -> None:
    """Refuse a comparison without records to choose on, or to compare on."""
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
