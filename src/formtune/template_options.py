"""What a chat template is told besides the conversation: its variables, and the day that it takes for today."""

import datetime as dt
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from formtune.errors import SettingError, nearest

# Behind the knowledge of the models that write both days. Any one day would do: it must be the same tomorrow, or the same
# recipe would prepare other tokens then.
DATE = "2026-01-01"
VARIABLES, DAY = "model.template_options", "model.template_date"


@dataclass(frozen=True, slots=True, eq=False)
class TemplateOptions:
    """What a chat template is told besides the conversation.

    Attributes:
        variables: by name; plain values, as JSON has them.
        date: the day that templates write as today's, as ``YYYY-MM-DD``.
    """

    variables: Mapping[str, Any] = field(default_factory=dict)
    date: str = DATE

    @property
    def day(self) -> dt.date:
        """The date as a day."""
        return dt.date.fromisoformat(self.date)

    # By their JSON text, since to Python 1, 1.0 and True are the same.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, TemplateOptions) and self._text() == other._text()

    def __hash__(self) -> int:
        return hash(self._text())

    def _text(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


NO_OPTIONS = TemplateOptions()


def is_plain(value: object) -> bool:
    """Tell whether a value is one that JSON has.

    >>> is_plain({"title": ["a", 1, True, None]}), is_plain({1: 2}), is_plain(math.nan), is_plain((1, 2))
    (True, False, False, False)
    """
    match value:
        case None | bool() | int() | str():
            return True
        case float():
            return math.isfinite(value)
        case list():
            return all(map(is_plain, value))
        case dict():
            return all(isinstance(key, str) and is_plain(one) for key, one in value.items())
    return False


def check_read(variables: Mapping[str, Any], read: Collection[str], *, has_template: bool) -> None:
    """Refuse a variable that the template never looks at.

    Args:
        variables: those that are given.
        read: those that the template looks at.
        has_template: whether the model brings a template of its own.

    Raises:
        SettingError: naming the nearest that it looks at.
    """
    for name in variables:
        if name not in read:
            raise _unread(name, read, has_template=has_template)


def _unread(name: str, read: Collection[str], *, has_template: bool) -> SettingError:
    at = f"{VARIABLES}.{name}"
    if not has_template:
        remedy = "Leave it out, or use a model whose template takes it."
        return SettingError("The model brings no chat template, so nothing looks at it.", remedy, at=at)
    near = nearest(name, read)
    hint = f"; the nearest that it takes is {near!r}" if near else ""
    choices = f"Choose from: {', '.join(sorted(read))}." if read else "Leave it out; the template takes none."
    return SettingError(f"The model's chat template does not look at {name!r}{hint}.", choices, at=at)


def check_used(options: TemplateOptions, *, is_rendered: bool) -> None:
    """Refuse variables of a chat template where no format goes through one.

    Args:
        options: what is given.
        is_rendered: whether there is an example that is a conversation.

    Raises:
        SettingError: where there are some all the same.
    """
    if options.variables and not is_rendered:
        raise SettingError(
            "No record goes through the model's chat template here, so nothing looks at its options.",
            "Use the format chat, or leave them out.",
            at=VARIABLES,
        )
