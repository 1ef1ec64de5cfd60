"""Interval plots: a row of marks for each arm or pair, all over one axis.

Strips are as wide as the page allows and never scale their letters; the words of a row stand beside its strip.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from formtune.reports.data import ArmRow, PairRow, Scale
from formtune.reports.quantities import gap, known, score
from formtune.reports.svg import Span, at, line, strip, text, tick_texts, ticks, titled


@dataclass(frozen=True, slots=True)
class Axis:
    """A horizontal axis shared by the strips of one plot: values onto percentages of the width."""

    values: Sequence[float]
    span: Span

    def place(self, value: float) -> str:
        """Give the place of a value as a percentage."""
        return f"{at(self.span(value))}%"

    def covers(self, value: float) -> bool:
        """Tell whether a value lies on the axis."""
        return self.span.low <= value <= self.span.high


def axis_over(values: Sequence[float]) -> Axis:
    """Choose an axis with round ends that covers the values; those that are not finite are passed over."""
    finite = [v for v in values if math.isfinite(v)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    room = (high - low) * 0.04 or abs(high) * 0.05 or 0.5
    marks = ticks(low - room, high + room, most=6)
    return Axis(marks, Span(marks[0], marks[-1], 4.0, 96.0))


def axis_strip(axis: Axis) -> str:
    """Write the ticks of an axis, to stand under the strips."""
    words = zip(axis.values, tick_texts(axis.values), strict=True)
    return strip((text(axis.place(v), "14", word, anchor="middle") for v, word in words), "strip ticks")


def arms_axis(arms: Sequence[ArmRow]) -> Axis:
    """Choose the axis for a plot of arms: every interval and every seed is on it."""
    values = [v for arm in arms for v in (arm.mean, arm.low, arm.high, *(arm.by_seed or {}).values())]
    return axis_over([v for v in values if v is not None])


def arm_strip(arm: ArmRow, scale: Scale, *, axis: Axis, css: str, baseline: float | None = None) -> str:
    """Draw one arm: its interval as a bar, its mean as a dot, every seed as a ring."""
    parts = _grid(axis)
    if baseline is not None and axis.covers(baseline):
        parts.append(_upright(axis, baseline, "baseline"))
    marks = _bar(axis, arm.low, arm.high)
    for seed, value in (arm.by_seed or {}).items():
        marks += _dot(axis, value, css="ring", words=f"seed {seed}: {score(scale, value)}")
    marks += _dot(axis, arm.mean, css="mean", words=f"{arm.name}: {score(scale, arm.mean)}")
    return strip([*parts, _group(marks, css)], "strip")


def pairs_axis(pairs: Sequence[PairRow], margin: float | None) -> Axis:
    """Choose the axis for a plot of differences: zero, the margin and every interval are on it."""
    values = [v for pair in pairs for v in (pair.difference, pair.low, pair.high)]
    return axis_over([*values, 0.0, margin or 0.0, -(margin or 0.0)])


def pair_strip(pair: PairRow, scale: Scale, *, axis: Axis, margin: float | None) -> str:
    """Draw one difference with its interval, the margin of equivalence shaded behind it."""
    parts = []
    if margin:
        left, right = axis.span(-margin), axis.span(margin)
        parts.append(f'<rect x="{at(left)}%" y="0" width="{at(right - left)}%" height="100%" class="margin"/>')
    parts += [*_grid(axis), _upright(axis, 0.0, "zero")]
    words = f"{pair.a} over {pair.b}: {gap(scale, pair.difference)}"
    marks = _bar(axis, pair.low, pair.high) + _dot(axis, pair.difference, css="mean", words=words)
    kind = "equal" if pair.equivalent else "apart" if pair.significant else "open"
    return strip([*parts, _group(marks, kind)], "strip")


def _grid(axis: Axis) -> list[str]:
    return [_upright(axis, value, "grid") for value in axis.values]


def _upright(axis: Axis, value: float, css: str) -> str:
    place = axis.place(value)
    return line(place, "0", place, y2="100%", css=css)


def _bar(axis: Axis, low: float | None, high: float | None) -> list[str]:
    if not (known(low) and known(high)):
        return []
    return [line(axis.place(low), "50%", axis.place(high), y2="50%", css="bar")]


def _dot(axis: Axis, value: float, *, css: str, words: str) -> list[str]:
    if not known(value):
        return []
    radius = "5.5" if css == "mean" else "3.5"
    return [f'<circle cx="{axis.place(value)}" cy="50%" r="{radius}" class="{css}">{titled(words)}</circle>']


def _group(marks: Sequence[str], css: str) -> str:
    return f'<g class="{css}">{"".join(marks)}</g>'
