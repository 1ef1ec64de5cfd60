"""What of a recipe is searched: the settings that may be, how a search is written, and a recipe with other values."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from pydantic import BaseModel, ValidationError

from formtune.errors import SettingError, unknown
from formtune.recipe import files, make_recipe, placed
from formtune.recipe.problems import SettingErrors, explain
from formtune.recipe.settings import Recipe, places
from formtune.spaces import Choices, Range

# What decides how well a model learns. What decides how that is measured (the metric, when it is looked at, the seed),
# what the records become, or only how fast it goes, is the same for every trial.
SEARCHABLE = (
    "model.freeze",
    "model.pooling",
    "model.lora",
    *(f"model.lora.{name}" for name in ("kind", "rank", "alpha", "rank_stabilized", "dropout", "targets")),
    *(
        f"training.{name}"
        for name in (
            "learning_rate",
            "head_learning_rate",
            "layer_decay",
            "batch_size",
            "epochs",
            "steps",
            "optimizer",
            "schedule",
            "warmup",
            "weight_decay",
            "clip",
            "label_smoothing",
            "class_weights",
            "average",
            "prompt_weight",
            "order",
            "unfreeze_every",
        )
    ),
)
GRAMMAR = "Write LOW..HIGH, LOW..HIGH,log, LOW..HIGH,step=STEP, or choices with commas: A,B,C."
_NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_RANGE = re.compile(rf"({_NUMBER})\s*\.\.\s*({_NUMBER})\s*((?:,.*)?)")


def space_of(recipe: Recipe) -> dict[str, Range | Choices]:
    """Say what each searched setting is drawn from; the usual three around their own values where none is named.

    Raises:
        SettingError: where a setting cannot be searched, or not over what is written; all of them are told.
    """
    asked = _by_place(recipe.tuning.search)
    space: dict[str, Range | Choices] = {}
    errors: list[SettingError] = []
    for place, written in asked.items():
        try:
            space[place] = drawn_from(place, written)
        except SettingError as error:
            errors.append(error)
    errors += [_clash(*pair) for pair in _CLASHES if asked.keys() >= set(pair)]
    if errors:
        raise errors[0] if len(errors) == 1 else SettingErrors(errors)
    return space or _usual(recipe)


_CLASHES = (
    ("training.epochs", "training.steps"),
    *(("model.lora", place) for place in SEARCHABLE if place.startswith("model.lora.")),
)


def _clash(one: str, other: str) -> SettingError:
    return SettingError(f"{one} and {other} say the same.", "Search one of them.", at=f"tuning.search.{other}")


def _by_place(asked: Mapping[str, Any], under: str = "") -> dict[str, Any]:
    """Flatten sections: ``training: {clip: ...}`` is ``training.clip: ...``."""
    flat: dict[str, Any] = {}
    for name, written in asked.items():
        place = under + name
        section = isinstance(written, Mapping) and not written.keys() & {"low", "high"}
        inside = section and any(known.startswith(f"{place}.") for known in SEARCHABLE)
        flat |= _by_place(written, f"{place}.") if inside else {place: written}
    return flat


def drawn_from(place: str, written: object) -> Range | Choices:
    """Read what a setting is drawn from, as text or as YAML holds it, and check every value that can be.

    >>> drawn_from("training.learning_rate", "1e-6..1e-3,log")
    Range(low=1e-06, high=0.001, log=True, step=None, whole=False)
    >>> drawn_from("training.batch_size", {"low": 8, "high": 32})
    Range(low=8, high=32, log=False, step=None, whole=True)
    >>> drawn_from("model.freeze", "none,4"), drawn_from("training.clip", [None, 1])
    (Choices(values=('none', 'all-but-top-4')), Choices(values=(None, 1.0)))

    Raises:
        SettingError: naming the place below ``tuning.search``.
    """
    at = f"tuning.search.{place}"
    if place not in SEARCHABLE:
        raise _not_searched(place, at=at)
    read = _read(written) if isinstance(written, str) else written
    if isinstance(read, Mapping) and read.keys() & {"low", "high"}:
        return _range(place, read, at=at)
    values = tuple(read) if isinstance(read, list | tuple) else (read,)
    chosen = tuple(_checked(place, value, at=at) for value in values)
    if len(chosen) < 2 or any(value in chosen[:k] for k, value in enumerate(chosen)):
        raise SettingError("A search needs two different choices or more.", GRAMMAR, at=at)
    return Choices(chosen)


def _not_searched(place: str, *, at: str) -> SettingError:
    if place not in places():
        return unknown("setting to search", place, SEARCHABLE, at=at)
    return SettingError(
        f"{place} is the same for every trial.",
        f"Set it in the recipe, or search another: {', '.join(SEARCHABLE)}.",
        at=at,
    )


def _read(text: str) -> object:
    """Read the text of a range or of choices into what YAML would hold."""
    found = _RANGE.fullmatch(text.strip())
    if found is None:
        listed = text.strip().startswith(("[", "{"))
        return files.value(text) if listed else [files.value(part.strip()) for part in text.split(",")]
    options = [part.strip() for part in found[3].split(",") if part.strip()]
    named = {name.strip(): value or "true" for name, _, value in (part.partition("=") for part in options)}
    ends = {"low": files.value(found[1]), "high": files.value(found[2])}
    return {**ends, **{name: files.value(value) for name, value in named.items()}}


def _range(place: str, written: Mapping[str, Any], *, at: str) -> Range:
    odd = [name for name in written if name not in Range.__dataclass_fields__ or name == "whole"]
    if odd:
        raise unknown("part of a range", odd[0], ("low", "high", "log", "step"), at=at)
    log, step = written.get("log", False), written.get("step")
    if not {"low", "high"} <= written.keys() or not isinstance(log, bool) or not _may_be_step(step):
        raise SettingError(f"{dict(written)!r} is no range.", GRAMMAR, at=at)
    low, high = (_checked(place, written[end], at=at) for end in ("low", "high"))
    if any(isinstance(end, bool) or not isinstance(end, int | float) for end in (low, high)):
        raise SettingError("Only numbers have a range.", "Write choices with commas: A,B,C.", at=at)
    whole = isinstance(low, int)
    _check_ends(low, high, log=log, step=step, at=at)
    return Range(low=low, high=high, log=log, step=step, whole=whole)


def _may_be_step(step: object) -> bool:
    return step is None or (isinstance(step, int | float) and not isinstance(step, bool) and step > 0)


def _check_ends(low: float, high: float, *, log: bool, step: float | None, at: str) -> None:
    if not low < high:
        raise SettingError(f"The range ends at {high:g} and begins at {low:g}.", "Write the smaller first.", at=at)
    if log and low <= 0:
        raise SettingError("A range by powers of ten begins above 0.", "Raise its low end, or leave log out.", at=at)
    if step is not None and (log or step > high - low):
        raise SettingError(f"Steps of {step:g} do not go with this range.", GRAMMAR, at=at)
    if step is not None and isinstance(low, int) and step != int(step):
        raise SettingError("The setting takes whole numbers.", "Give a whole step.", at=at)


def _checked(place: str, value: object, *, at: str) -> Any:
    """Bring a value to the form that the setting itself has.

    Raises:
        SettingError: where the setting cannot be that.
    """
    try:
        found: object = Recipe.model_validate(_nested(place, value))
    except ValidationError as error:
        told = explain(error)
        raise SettingError(told.problem, told.remedy, at=at) from None
    for name in place.split("."):
        found = getattr(found, name)
    return _plain(found)


def _nested(place: str, value: object) -> Any:
    for name in reversed(place.split(".")):
        value = {name: value}
    return value


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        # What differs from the defaults is short to tell, and the same however it was written.
        return value.model_dump(mode="json", exclude_defaults=True) or value.model_dump(mode="json")
    return list(value) if isinstance(value, tuple) else value


def own_values(recipe: Recipe, space: Mapping[str, Range | Choices]) -> dict[str, object]:
    """Give the recipe's own value at every place; None where it has none."""
    found = {}
    for place in space:
        value: object = recipe
        for name in place.split("."):
            value = getattr(value, name, None)
        found[place] = _plain(value)
    return found


def some_values(space: Mapping[str, Range | Choices]) -> Iterator[dict[str, object]]:
    """Give every choice and both ends of every range, each on its own, to be tried before anything is trained."""
    for place, drawn in space.items():
        ends = (drawn.low, drawn.high) if isinstance(drawn, Range) else drawn.values
        yield from ({place: value} for value in ends)


def _usual(recipe: Recipe) -> dict[str, Range | Choices]:
    """Search the learning rate, the batch size and the passes over the records, around what the recipe says."""
    own = recipe.training
    rate, size = own.learning_rate, own.batch_size
    space: dict[str, Range | Choices] = {
        "training.learning_rate": Range(low=rate / 10, high=rate * 10, log=True),
        "training.batch_size": Choices(tuple(sorted({max(1, size // 2), size, size * 2}))),
    }
    if own.epochs is not None:
        whole = own.epochs == int(own.epochs)
        space["training.epochs"] = (
            Range(low=1.0, high=2 * own.epochs, step=1.0) if whole else Range(low=own.epochs / 2, high=own.epochs * 2)
        )
    return space


def with_values(recipe: Recipe, values: Mapping[str, object]) -> Recipe:
    """Put values by place over a recipe.

    Raises:
        SettingError: where they do not go together.
    """
    return make_recipe(placed(values, onto=recipe.to_dict()))


_NO_PART: dict[str, tuple[str, ...]] = {
    "model": ("cache_gb",),
    "training": ("memory_gb", "save_every", "keep", "trackers", "engine", "workers"),
    "comparison": ("seeds", "margin", "confidence", "resamples", "arms_at_once"),
}


def identity(recipe: Recipe, space: Mapping[str, Range | Choices]) -> dict[str, Any]:
    """Give the settings that make a search this one: as JSON holds them.

    Where it goes, how long it may take, how much memory and disk, and the names of data and model are no part of it:
    digests stand for those. Nor are settings of which a search makes no use.
    """
    settings = recipe.to_dict()
    kept = {name: value for name, value in settings.items() if name not in ("data", "models", "out", "tuning")}
    for section, odd in _NO_PART.items():
        kept[section] = {name: value for name, value in kept[section].items() if name not in odd}
    own = {name: settings["tuning"][name] for name in ("pruner", "own_first")}
    return {**kept, "tuning": {**own, "search": msgspec.json.decode(msgspec.json.encode(space))}}
