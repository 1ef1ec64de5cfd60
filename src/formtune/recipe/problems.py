"""What is wrong with a recipe: pydantic's findings as place, problem and remedy."""

import difflib
import re
from collections.abc import Sequence

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from formtune.errors import SettingError, unknown
from formtune.recipe.settings import Recipe, places, section_of


class SettingErrors(SettingError):
    """Several settings cannot be used as they are: all of a recipe are told at once, a line each."""

    def __init__(self, errors: Sequence[SettingError]) -> None:
        super().__init__(errors[0].problem, errors[0].remedy, at=errors[0].at)
        self.errors = tuple(errors)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


def explain(error: ValidationError) -> SettingError:
    """Tell everything that pydantic found, a line for each place."""
    by_place: dict[str, SettingError] = {}
    for detail in error.errors(include_url=False):
        found = _explained(detail)
        # A union tells a finding for each of its members; the first at a place is enough.
        by_place.setdefault(str(found.at), found)
    errors = list(by_place.values())
    return errors[0] if len(errors) == 1 else SettingErrors(errors)


def _explained(detail: ErrorDetails) -> SettingError:
    place, section = _walked(detail["loc"])
    given = repr(detail["input"])
    match detail["type"]:
        case "extra_forbidden":
            return _unknown_setting(str(detail["loc"][-1]), section, at=place)
        case "literal_error":
            expected = re.findall(r"'([^']*)'", str(detail["ctx"]["expected"]))
            return unknown("value", str(detail["input"]), expected, at=place)
        case "setting":
            return SettingError(detail["msg"], str(detail["ctx"]["remedy"]), at=place)
        case "model_type" | "dict_type":
            return SettingError(f"This holds settings, not {given}.", "Write `key: value` lines under it.", at=place)
        case "string_type":
            return SettingError(f"{given} is not text.", "Write it in quotes.", at=place)
    wanted = detail["msg"].removeprefix("Input should be ").split(",")[0]
    article = "" if wanted.startswith(("a ", "an ")) else "a value "
    return SettingError(f"{given} cannot be used here.", f"Give {article}{wanted}.", at=place)


def _walked(location: tuple[int | str, ...]) -> tuple[str, type[BaseModel]]:
    """Follow a location through the sections: its dotted place and the section that holds its last name."""
    section: type[BaseModel] = Recipe
    names: list[str] = []
    for name in location:
        names.append(str(name))
        field = section.model_fields.get(str(name))
        below = section_of(field.annotation) if field else None
        # Past a plain value a location only tells which member of a union or a list was tried.
        if below is None or len(names) == len(location):
            break
        section = below
    return ".".join(names), section


def _unknown_setting(name: str, section: type[BaseModel], *, at: str) -> SettingError:
    """Name the nearest setting of the same section, or else the place where another section has that name."""
    near = difflib.get_close_matches(name, list(section.model_fields), n=1, cutoff=0.6)
    elsewhere = [place for place in places() if place.split(".")[-1] == name]
    if elsewhere and not near:
        return SettingError(f"There is no setting {name!r} here.", f"Write it as {elsewhere[0]}.", at=at)
    return unknown("setting", name, list(section.model_fields), at=at)
