"""Training on a prepared folder: for which format, by which model, and whether its sequences are ones that the model reads."""

import json
from dataclasses import replace

import numpy as np

from formtune.arms import Readied
from formtune.errors import DataError, SettingError
from formtune.examples import Task
from formtune.model_files import decoder_start_in, max_length_in, resolve
from formtune.planning import template_options_of
from formtune.preparation import taken_up
from formtune.prepared import KIND, PreparedFolder, open_prepared
from formtune.recipe import Recipe
from formtune.shard_files import shard_lengths
from formtune.shards import read_manifest
from formtune.splits import Splits
from formtune.template_options import DATE, DAY, VARIABLES, TemplateOptions


def with_prepared(recipe: Recipe) -> Recipe:
    """Let a recipe whose training records are prepared have the format, model and template options of these.

    Another model may be asked for: a copy elsewhere, a larger one. What it must have in common is looked at when its files
    are there, by :func:`prepared_arm`.

    Raises:
        DataError: where there is no prepared folder.
        SettingError: where the recipe asks for another format or options, or of a mixture's nobody says which.
    """
    if recipe.data.prepared is None:
        return recipe
    manifest = read_manifest(recipe.data.prepared, kind=KIND, with_files=False)
    own = manifest["recipe"]
    known = ", ".join(own["formats"])
    if not set(recipe.formats) <= set(own["formats"]):
        raise SettingError(f"The data were prepared for {known}.", "Ask for that, or leave it out.", at="--format")
    chosen = {"formats": recipe.formats or tuple(own["formats"]), "models": recipe.models or tuple(own["models"])}
    for name, asked in chosen.items():
        if len(asked) > 1:
            raise SettingError(
                f"The data are a mixture that was prepared for {', '.join(own[name])}.",
                "Say which of them the records to choose and test on are for."
                if name == "formats"
                else "Say which of them is trained.",
                at=f"--{name[:-1]}",
            )
    told = TemplateOptions(**manifest.get("template_options", {}))
    _check_told(template_options_of(recipe), told)
    model = recipe.model.model_copy(update={"template_options": told.variables, "template_date": told.date})
    return recipe.model_copy(update={**chosen, "model": model})


def _check_told(asked: TemplateOptions, own: TemplateOptions) -> None:
    """Refuse to tell a chat template otherwise than when the records became tokens; what is not said is as it was then.

    Raises:
        SettingError: where the recipe does.
    """
    remedy = "Leave it out, or prepare the data anew."
    if asked.variables and replace(asked, date=own.date) != own:
        problem = f"The data were prepared with {json.dumps(own.variables, ensure_ascii=False)}."
        raise SettingError(problem, remedy, at=VARIABLES)
    if asked.date not in {DATE, own.date}:
        raise SettingError(f"The data were prepared as of {own.date}.", remedy, at=DAY)


def prepared_arm(recipe: Recipe) -> tuple[Readied, Splits, Task]:
    """Take training records that were prepared, see :func:`formtune.preparation.taken_up`, where the model reads them.

    Raises:
        DataError: where the folder is damaged, or its sequences are those of another tokenizer or shape of model.
        SettingError: where a sequence is longer than the model reads, or as :func:`formtune.preparation.taken_up`.
    """
    readied, parts, task = taken_up(recipe)
    _check_reads(readied, open_prepared(recipe.data.prepared or "", with_files=False), recipe.model.max_length)
    return readied, parts, task


def _check_reads(readied: Readied, opened: PreparedFolder, most: int | None) -> None:
    model, remedy = readied.arm.model, "Prepare the data again, for this model."
    if readied.tokenizer_digest != opened.manifest["tokenizer"]["digest"]:
        raise DataError(
            f"It was prepared with another tokenizer or chat template than {model!r} has.", remedy, at=opened.folder
        )
    folder, first = resolve(model), opened.tokens(0)
    start = decoder_start_in(folder) if readied.arm.shape == "encoder-decoder" else None
    if (None if first.decoder is None else int(first.decoder.ids_T[0])) != start:
        raise DataError(f"Its sequences are laid out otherwise than {model!r} reads them.", remedy, at=opened.folder)
    longest = max(
        int(np.max(shard_lengths(opened.folder / shard["file"]), initial=0)) for shard in opened.manifest["shards"]
    )
    capacity = max_length_in(folder, most)
    if longest > capacity:
        raise SettingError(
            f"The longest prepared sequence has {longest} tokens, and {capacity} are allowed.",
            f"Prepare the data with --max-length {capacity}.",
            at="--max-length" if most else "--model",
        )
