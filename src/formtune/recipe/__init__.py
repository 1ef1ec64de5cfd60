"""Every setting of a piece of work, with its default: a recipe, to and from YAML, flags and JSON Schema.

Only the pipeline and the command line know the recipe; the stages take plain arguments. A setting has a dotted place
(``training.learning_rate``), which is its name in YAML, in ``--set`` and in every error.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from formtune.recipe import files
from formtune.recipe.problems import SettingErrors, explain
from formtune.recipe.settings import (
    ColumnSettings,
    ComparisonSettings,
    DataSettings,
    LoraSettings,
    MixingSettings,
    ModelSettings,
    PreparationSettings,
    Recipe,
    TaskSettings,
    TrainingSettings,
    TuningSettings,
    places,
)

__all__ = [
    "ColumnSettings",
    "ComparisonSettings",
    "DataSettings",
    "LoraSettings",
    "MixingSettings",
    "ModelSettings",
    "PreparationSettings",
    "Recipe",
    "SettingErrors",
    "TaskSettings",
    "TrainingSettings",
    "TuningSettings",
    "load_recipe",
    "make_recipe",
    "placed",
    "places",
    "schema",
]

# A value that is put over a file takes what it excludes out of the file.
_EXCLUDES: Mapping[str, tuple[str, ...]] = {
    "training.steps": ("epochs",),
    "training.epochs": ("steps",),
    "data.paths": ("train", "dev", "test"),
    "data.train": ("paths",),
    "data.dev": ("paths",),
    "data.test": ("paths",),
}


def make_recipe(settings: Mapping[str, object]) -> Recipe:
    """Check settings, nested as in YAML, and fill in the defaults.

    >>> make_recipe({"formats": "seq2seq, classification", "training": {"steps": 100}}).formats
    ('seq2seq', 'classification')

    Raises:
        SettingError: where a setting is unknown or cannot be used; all of them are told.
    """
    try:
        return Recipe.model_validate(dict(settings))
    except ValidationError as error:
        raise explain(error) from None


def load_recipe(path: str | Path, *, over: Mapping[str, object] | None = None) -> Recipe:
    """Read a YAML recipe; ``over`` holds settings by dotted place that stand above those of the file.

    Raises:
        DataError: where the file cannot be read as YAML.
        SettingError: where a setting is unknown or cannot be used.
    """
    return make_recipe(placed(over or {}, onto=files.read(path)))


def placed(values: Mapping[str, object], *, onto: Mapping[str, object]) -> dict[str, object]:
    """Put values by dotted place over nested settings; a value takes away what it excludes there.

    Two values that exclude one another both stay, for :func:`make_recipe` to refuse.

    >>> placed({"training.steps": 9}, onto={"training": {"epochs": 2, "clip": 1}})
    {'training': {'clip': 1, 'steps': 9}}
    """
    settings = _copied(onto)
    for place in values:
        section, _ = _section(settings, place)
        for other in _EXCLUDES.get(place, ()):
            section.pop(other, None)
    for place, value in values.items():
        section, name = _section(settings, place)
        section[name] = value
    return settings


def _section(settings: dict[str, Any], place: str) -> tuple[dict[str, Any], str]:
    """Find the section of a place, made where it is not there, and the name in it."""
    *sections, name = place.split(".")
    for section in sections:
        if not isinstance(settings.get(section), dict):
            settings[section] = {}
        settings = settings[section]
    return settings, name


def schema() -> dict[str, Any]:
    """Describe a recipe as JSON Schema, for editors that complete and check YAML."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}


def _copied(settings: Mapping[str, object]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, dict) else value for key, value in settings.items()}
