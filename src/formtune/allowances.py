"""What one rendering of a chat template may use up, and what asks for it before it is made.

Jinja's sandbox keeps a template from Python's inside. It does not keep it from looping for ever or from writing
gigabytes, which a model folder from anywhere may try. So each rendering has an *allowance* of steps (an iteration, a call),
of characters that it makes, on the way too, and of seconds; what makes much out of little asks first.
"""

import re
import time
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

from formtune.errors import DataError

MOST_STEPS = 5_000_000
MOST_CHARACTERS = 1 << 28
MOST_S = 20.0
LOOK_EVERY = 64  # steps between two looks at the clock, and the most that are taken at once
_WIDEST = 1_000  # what a filter or method may indent by, or fill up to
SHORT = 1_024  # a text that is no longer is not accounted for: that would take longer than making it
_PART = 64  # characters that a part of a list counts beside its own: about what it takes in memory
_HIGHEST_BITS = 4_096  # of an integer that is calculated
_FILLS = frozenset(
    (
        *("batch", "center", "indent", "round", "slice", "tojson", "wordwrap"),
        *("expandtabs", "ljust", "rjust", "to_bytes", "zfill"),
    )
)
_LISTS = frozenset(("groupby", "list", "slice", "sort"))  # make a list of all that they are given
CUTS = frozenset(("rsplit", "split", "splitlines", "title", "urlize", "wordcount"))
# What makes some characters of one; all of them are made before they are accounted for.
SPREADS = {
    **dict.fromkeys(("capitalize", "casefold", "lower", "swapcase", "upper"), 3),
    **dict.fromkeys(("e", "escape", "forceescape", "xmlattr"), 5),
}
GROWS = _FILLS | _LISTS | CUTS | SPREADS.keys() | {"format", "format_map", "join", "replace", "translate"}
TEXTS = (str, bytes)
CONTAINERS: Any = (list, dict, tuple, set, frozenset, type({}.keys()), type({}.values()), type({}.items()))
WIDE_PERCENT = re.compile(r"%(?:\([^)]*\))?[-+ #0]*(?:\*|\d{4})|%(?:\([^)]*\))?[-+ #0]*\d*\.(?:\*|\d{4})")
_WIDE_BRACES = re.compile(r"\{[^{}]*:[^{}]*(?:\d{4}|\{)")


class Endless(DataError):
    """A template used up its allowance."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The chat template {what} on one conversation, which no template needs.",
            "Correct the template in the model folder, use another model, or shorten the conversation.",
        )


class Allowance:
    """What is left to one rendering."""

    __slots__ = ("_look_at", "characters", "deadline_s", "steps")

    def __init__(self) -> None:
        self.steps = MOST_STEPS
        self._look_at = MOST_STEPS - LOOK_EVERY
        self.characters = MOST_CHARACTERS
        self.deadline_s = time.monotonic() + MOST_S

    def step(self, n_steps: int = 1) -> None:
        """Take steps; now and then look whether there are any left, and time.

        Raises:
            Endless: where there are not.
        """
        self.steps -= n_steps
        if self.steps > self._look_at:
            return
        self._look_at = self.steps - LOOK_EVERY
        if self.steps < 0:
            raise Endless(f"takes more than {MOST_STEPS:,} steps")
        if time.monotonic() > self.deadline_s:
            raise Endless(f"runs for more than {MOST_S:g} s")

    def spend(self, n_characters: int) -> None:
        """Make so many characters, or items of lists.

        Raises:
            Endless: where there are too many.
        """
        self.characters -= n_characters
        if self.characters < 0:
            raise Endless(f"writes more than {MOST_CHARACTERS:,} characters")


current: ContextVar[Allowance] = ContextVar("current")


def left() -> Allowance:
    """Give what is left to this rendering; while a template is compiled, its constants have an allowance each."""
    return current.get(None) or Allowance()


def measured(made: Any) -> Any:
    """Account for a long text or list that was made."""
    if isinstance(made, (str, list, bytes)) and len(made) > SHORT:
        left().spend(len(made))
    return made


def added(texts: tuple[str, ...], n_characters: int) -> str:
    """Join texts, of so many characters together."""
    if n_characters > SHORT:
        left().spend(n_characters)
    return "".join(texts)


def weight(value: Any) -> int:
    """Say how long a value is in characters, about, if it is written: what stands in it twice counts twice.

    A list of a list of the same list has few parts in memory and as many as there are atoms when it is written, or
    compared. So this stops where no more are left.

    Raises:
        Endless: where there are too many.
    """
    most, n_characters, waiting = left().characters, 0, [value]
    while waiting:
        one = waiting.pop()
        n_characters += _PART
        if isinstance(one, TEXTS):
            n_characters += len(one)
        elif isinstance(one, int):
            n_characters += one.bit_length() // 3
        elif isinstance(one, dict):
            waiting += one.keys()
            waiting += one.values()
        elif isinstance(one, CONTAINERS):
            waiting += one
        if n_characters > most:
            left().spend(n_characters)
    return n_characters


def weighed(value: Any) -> Any:
    """Account for what is written, or compared, part by part."""
    if isinstance(value, CONTAINERS):
        left().spend(weight(value))
    return value


def _depth(value: Any) -> int:
    """Count the levels of a value that was weighed."""
    n_levels, level = 0, [value]
    while level:
        n_levels += 1
        inner = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, CONTAINERS)]
        level = [one for container in inner for one in container]
    return n_levels


def product(left_: Any, right: Any) -> None:
    """Account for a multiplication.

    Raises:
        Endless: where it would make too much.
    """
    if isinstance(left_, int) and isinstance(right, int):
        if left_.bit_length() + right.bit_length() > _HIGHEST_BITS:
            raise Endless("calculates a number that is too big")
        return
    sized, times = (left_, right) if isinstance(right, int) else (right, left_)
    if isinstance(times, int) and isinstance(sized, (str, bytes, list, tuple)):
        left().spend((len(sized) if isinstance(sized, TEXTS) else weight(sized)) * max(times, 0))


def power(base: Any, exponent: Any) -> None:
    """Refuse a power that is too high.

    Raises:
        Endless: where it is.
    """
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * exponent > _HIGHEST_BITS:
        raise Endless("calculates a number that is too big")


def asked(  # noqa: PLR0917 - a call: what is called, on what, with what
    name: str, subject: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, ...]:
    """Say whether a method or filter may be called, before it makes what nobody could hold; give its arguments.

    Raises:
        Endless: where it may not.
    """
    given = [*args, *(value for key, value in kwargs.items() if not key.startswith("_"))]  # Jinja passes its own
    if isinstance(subject, TEXTS) and len(subject) > SHORT:
        left().spend(_made_of(name, subject, args))
    if name in _FILLS:
        _fill(name, subject, given)
    elif name == "replace" and isinstance(subject, TEXTS) and len(args) > 1:
        old, new = (one if isinstance(one, TEXTS) else str(one) for one in args[:2])
        n_found = subject.count(old) if type(old) is type(subject) else 0  # type: ignore[arg-type]
        left().spend(len(subject) + n_found * len(new))
    elif name == "join" and args:
        args = ([*args[0]], *args[1:])
        left().spend(sum(len(subject) + (len(one) if isinstance(one, TEXTS) else weight(one)) for one in args[0]))
    elif name == "translate" and isinstance(subject, TEXTS):
        left().spend(len(subject) * max([1, *(len(str(one)) for table in given for one in _values(table))]))
    elif name in ("format", "format_map") and isinstance(subject, str):
        formatted(subject, given, wide=_WIDE_BRACES)
    return args


def _fill(name: str, subject: Any, given: list[Any]) -> None:
    """Ask for what a text is filled up with, line by line."""
    widest = max(map(_width, given), default=0) if name in ("indent", "tojson", "wordwrap") else 0
    widest = max([widest, *(abs(one) for one in given if isinstance(one, int))])
    if widest > _WIDEST:
        raise Endless(f"fills a text up by {widest:,} characters")
    if name == "wordwrap" and isinstance(subject, str) and len(subject) > SHORT:
        left().spend(
            len(subject) * len(subject) // max(1, min((one for one in given if isinstance(one, int)), default=79))
        )
    if name == "tojson" and widest and isinstance(subject, CONTAINERS):
        left().spend(weight(subject) * widest * _depth(subject) // _PART)
    n_lines = subject.count("\n") + subject.count("\t") + 1 if isinstance(subject, str) else 1
    left().spend(widest * n_lines)


def _width(value: object) -> int:
    """Say how wide it makes a line."""
    if isinstance(value, (list, tuple)):
        return max(map(_width, value), default=0)
    return len(value) if isinstance(value, str) else abs(value) if isinstance(value, int) else 0


def _made_of(name: str, text: Any, args: tuple[Any, ...]) -> int:
    """Say what a text becomes at most, in characters: its parts, or others for each of its characters."""
    if name in _LISTS:
        return _PART * len(text)
    if name in CUTS and args and type(args[0]) is type(text) and args[0]:
        return _PART * int(text.count(args[0]))
    if name in CUTS:  # without a separator any white space may be one
        return _PART * len(text) // 2
    return SPREADS.get(name, 0) * len(text)


def _values(table: object) -> Iterable[object]:
    return table.values() if isinstance(table, dict) else ()


def formatted(text: str, values: Iterable[Any], *, wide: re.Pattern[str]) -> None:
    """Refuse what formatting could make out of a short text: wide fields, and one long value many times over.

    Raises:
        Endless: where it could make too much.
    """
    if wide.search(text):
        raise Endless("fills a field of a text up to thousands of characters")
    longest = max((len(value) if isinstance(value, TEXTS) else weight(value) for value in values), default=0)
    left().spend(len(text) + (text.count("%") + text.count("{")) * longest)
