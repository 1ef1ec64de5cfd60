"""What a setting may be: kinds of values, in all the ways in which they may be written."""

import re
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from formtune.template_options import is_plain

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _names(value: object) -> object:
    return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value


def _numbers(value: object) -> object:
    return (value,) if isinstance(value, int | float) else _names(value)


def _freeze(value: object) -> object:
    """Bring the ways of saying it to one: a count is ``all-but-top-COUNT``, several are joined by commas."""
    if isinstance(value, list | tuple):
        return ",".join(str(_freeze(part)) for part in value)
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"all-but-top-{value}"
    if (
        isinstance(value, str)
        and value.startswith("all-but")
        and not re.match(r"all-but-(top-\d+|biases|norms)", value)
    ):
        remedy = "Write all-but-top-4, all-but-biases or all-but-norms."
        raise PydanticCustomError("setting", "This does not say what stays free.", {"remedy": remedy})
    return value


def _day(value: object) -> object:
    """Bring a day to ``YYYY-MM-DD``."""
    if value == "today":
        return datetime.now().date().isoformat()  # noqa: DTZ005 - the day where the recipe is read
    try:
        return date.fromisoformat(str(value)).isoformat()
    except ValueError:
        problem = f"{value!r} is no day."
        raise PydanticCustomError("setting", problem, {"remedy": "Write YYYY-MM-DD, or today."}) from None


def _variables(value: object) -> object:
    """Refuse what no chat template can be told."""
    for name, one in value.items() if isinstance(value, dict) else ():
        if not (isinstance(name, str) and name.isidentifier()):
            remedy = "Write its name as the template does."
            raise PydanticCustomError("setting", f"{name!r} is no name of a variable.", {"remedy": remedy})
        if not is_plain(one):
            remedy = "Give text, a number, true, false, null, or lists and mappings of these."
            raise PydanticCustomError("setting", f"The value of {name!r} is none that JSON has.", {"remedy": remedy})
    return value


Paths = Annotated[tuple[str, ...], BeforeValidator(_one_or_more)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
Factors = Annotated[tuple[Positive, ...], BeforeValidator(_numbers)]
Counts = Annotated[tuple[Count, ...], BeforeValidator(_numbers)]
_FREEZE_SCHEMA: dict[str, object] = {
    "anyOf": [{"type": kind} for kind in ("string", "integer")] + [{"type": "array", "items": {"type": "string"}}]
}


Variables = Annotated[dict[str, Any], BeforeValidator(_variables)]
_DAY_SCHEMA = {"anyOf": [{"type": "string", "format": "date"}, {"const": "today"}]}
Day = Annotated[str, BeforeValidator(_day), WithJsonSchema(_DAY_SCHEMA)]
Freeze = Annotated[str, BeforeValidator(_freeze), WithJsonSchema(_FREEZE_SCHEMA)]
