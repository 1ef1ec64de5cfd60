"""Errors that a user can put right, told as a place, a problem and a remedy.

::

    FormtuneError
    ├── DataError       a file or a row
    ├── SettingError    a flag, a recipe key, an argument
    ├── MissingExtra    a package that is not installed
    └── Stopped         a signal asked to stop, and what was done is kept

Anything else that is raised is a wrong call from Python (``TypeError``, ``ValueError``) or a bug of ours.
"""

import difflib
from collections.abc import Collection


class FormtuneError(Exception):
    """Something is wrong that the user can put right; the command line ends with exit code 2.

    Args:
        problem: a full sentence without the place, ending in a full stop.
        remedy: a full sentence that says what to do, ending in a full stop.
        at: where: ``file``, ``file:line`` or a dotted setting; its ``str`` is shown.
    """

    def __init__(self, problem: str, remedy: str, *, at: object = None) -> None:
        self.problem = problem
        self.remedy = remedy
        self.at = None if at is None else str(at)
        super().__init__(problem, remedy, self.at)

    def __reduce__(self) -> tuple[object, ...]:
        """Let it pass from one process to another, whatever its kind takes to be made."""
        return _made_again, (type(self), self.args, vars(self))

    def __str__(self) -> str:
        place = f"{self.at}: " if self.at else ""
        return f"{place}{self.problem} {self.remedy}"


def _made_again(kind: type[FormtuneError], args: tuple[object, ...], values: dict[str, object]) -> FormtuneError:
    error = kind.__new__(kind, *args)
    vars(error).update(values)
    return error


class DataError(FormtuneError):
    """A file or a row of data cannot be used as it is."""


class SettingError(FormtuneError):
    """A flag, a recipe key or an argument cannot be used as it is."""


class MissingExtra(FormtuneError):
    """A package of an optional extra is not installed."""

    def __init__(self, package: str, extra: str, *, at: object = None) -> None:
        super().__init__(
            f"This needs the package {package!r}, which is not installed.",
            f"Run: pip install 'formtune[{extra}]'.",
            at=at,
        )
        self.package = package
        self.extra = extra


class Stopped(FormtuneError):
    """A signal asked to stop, and what was done is kept; the command line ends as shells expect of that signal."""

    def __init__(self, problem: str, remedy: str, *, signal: int, at: object = None) -> None:
        super().__init__(problem, remedy, at=at)
        self.signal = signal


def unknown(what: str, name: str, known: Collection[str], *, at: object = None) -> SettingError:
    """Make the error for a name that is not in a list: the nearest known one, then the list.

    >>> str(unknown("format", "chatt", ["chat", "completion"], at="--format"))
    "--format: There is no format 'chatt'; the nearest is 'chat'. Choose from: chat, completion."
    """
    near = nearest(name, known)
    hint = f"; the nearest is {near!r}" if near else ""
    return SettingError(f"There is no {what} {name!r}{hint}.", f"Choose from: {', '.join(known)}.", at=at)


def nearest(name: str, known: Collection[str]) -> str | None:
    """Find the known name that is spelled most like one that is not known; None where none is like it."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return near[0] if near else None
