"""What a search may draw a setting from: a range of numbers, or a list of choices."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeGuard


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Numbers from ``low`` to ``high``, both included.

    Attributes:
        low: the smallest.
        high: the largest.
        log: whether every power of ten is as likely, instead of every number.
        step: distance between the numbers; None for any number (any whole one where ``whole``).
        whole: whether the setting takes whole numbers only.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False

    def tidied(self, value: float) -> float:
        """Write a number with four digits, within the range: what is told is then what is used.

        >>> Range(low=1e-6, high=1e-3, log=True).tidied(2.34567e-05), Range(low=1, high=9, whole=True).tidied(4.0)
        (2.346e-05, 4)
        """
        if self.whole:
            return round(value)
        return min(self.high, max(self.low, float(f"{value:.4g}")))

    def nearest(self, value: float) -> float:
        """Give the number of the range that lies nearest.

        >>> Range(low=1, high=6, step=2).nearest(4.5), Range(low=8, high=32, whole=True).nearest(64)
        (5.0, 32)
        """
        inside = min(self.high, max(self.low, value))
        if self.step is not None:
            inside = self.low + min(round((inside - self.low) / self.step), self.n_steps) * self.step
        return self.tidied(float(inside))

    @property
    def n_steps(self) -> int:
        """Count the steps that fit."""
        return int((self.high - self.low) / self.step + 1e-9) if self.step else 0


@dataclass(frozen=True, slots=True)
class Choices:
    """Values to choose from, of any kind that JSON can hold."""

    values: tuple[object, ...]


Space = Mapping[str, Range | Choices]


def nearest_in(space: Space, own: Mapping[str, object]) -> dict[str, object]:
    """Give a setting's own value by place where the space holds it, else the nearest that it holds.

    What has none (a learning rate of the head that is not given, a choice of words that is not among them) is left out.

    >>> space = {"rate": Range(low=1e-4, high=1e-2, log=True), "size": Choices((8, 32)), "kind": Choices(("a", "b"))}
    >>> nearest_in(space, {"rate": 5e-05, "size": 16, "kind": "c"})
    {'rate': 0.0001, 'size': 8}
    """
    return {place: value for place, drawn in space.items() for value in _nearest(drawn, own.get(place))}


def _nearest(drawn: Range | Choices, value: object) -> tuple[object, ...]:
    """Give the nearest value, or nothing."""
    if isinstance(drawn, Range):
        return (drawn.nearest(value),) if _is_number(value) else ()
    if value in drawn.values:
        return (value,)
    numbers = [one for one in drawn.values if _is_number(one)]
    return (min(numbers, key=lambda one: abs(one - value)),) if numbers and _is_number(value) else ()


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
