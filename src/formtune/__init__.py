"""Choose the format of supervised fine-tuning data by evidence.

import formtune as ft

data = ft.load("reviews.csv")
result = ft.compare(data, formats=["classification", "masked_lm"], model="minilm-l6")
print(result.verdict)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from formtune.api import Data, compare, load, open_prepared, open_run
    from formtune.dialects import DIALECTS
    from formtune.errors import DataError, FormtuneError, MissingExtra, SettingError
    from formtune.formats import FORMATS
    from formtune.recipe import Recipe, load_recipe, make_recipe

_HOMES = {
    "formtune.api": ("Data", "compare", "load", "open_prepared", "open_run"),
    "formtune.dialects": ("DIALECTS",),
    "formtune.errors": ("DataError", "FormtuneError", "MissingExtra", "SettingError"),
    "formtune.formats": ("FORMATS",),
    "formtune.recipe": ("Recipe", "load_recipe", "make_recipe"),
}

__all__ = [
    "DIALECTS",
    "FORMATS",
    "Data",
    "DataError",
    "FormtuneError",
    "MissingExtra",
    "Recipe",
    "SettingError",
    "compare",
    "load",
    "load_recipe",
    "make_recipe",
    "open_prepared",
    "open_run",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that ``formtune --help`` need not wait for all of them."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'formtune' has no attribute {name!r}")
