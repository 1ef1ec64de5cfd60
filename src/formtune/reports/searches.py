"""The picture of a search: every trial's score in order, and over each setting that was searched."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from formtune.reports.pictures import HEIGHT, WIDTH, picture_file
from formtune.reports.quantities import known, spaced
from formtune.reports.svg import Span, at, line, polyline, text, tick_texts, ticks, titled

LEFT, RIGHT, TOP, BOTTOM = 58.0, 22.0, 44.0, 34.0
COLUMN = WIDTH / 2
MOST_LETTERS = 16
KEY = "dot: to the end · ring: cut short · cross: diverged or refused · line: the best so far"
FEW = 6  # values up to which each has a place of its own, whatever lies between them
STATES = {"finished": "to the end", "pruned": "cut short", "diverged": "diverged", "refused": "refused"}
Marks = Sequence[tuple[float, str]]


@dataclass(frozen=True, slots=True)
class TrialPoint:
    """One trial of a search.

    Attributes:
        number: which, from 1.
        score: the best look's metric; None where there is none.
        state: ``finished``, ``pruned``, ``diverged`` or ``refused``.
        values: what was tried, by the settings' places.
    """

    number: int
    score: float | None
    state: str
    values: Mapping[str, object]


def search_picture(
    points: Sequence[TrialPoint], *, metric: str, higher_is_better: bool, log: Collection[str] = ()
) -> str:
    """Draw a search as an SVG file: scores by trial and, below, by the value of each setting.

    Args:
        points: the trials, in order.
        metric: name of their score.
        higher_is_better: whether a larger score is better.
        log: places whose values are drawn by powers of ten.
    """
    scale = _scores(points)
    places = list(points[0].values)
    name = f"{spaced(metric)} on the dev records"
    parts = [_panel(_by_trial(points, scale, higher_is_better), f"{name}, by trial", corner=(0.0, 0.0))]
    for k, place in enumerate(places):
        corner = (COLUMN * (k % 2), HEIGHT * (1 + k // 2))
        parts.append(_panel(_by_value(points, scale, place, log=place in log), place.split(".", 1)[-1], corner=corner))
    rows = 1 + -(-len(places) // 2)
    return picture_file(parts, f"{name}, by trial and by {', '.join(places)}", height=HEIGHT * rows)


def _panel(parts: Sequence[str], title: str, *, corner: tuple[float, float]) -> str:
    head = text(at(LEFT), "26", title, css="name")
    return f'<g transform="translate({at(corner[0])} {at(corner[1])})">{head}{"".join(parts)}</g>'


def _scores(points: Sequence[TrialPoint]) -> list[float]:
    """Give the marks of the axis of scores, the same in every panel."""
    found = [one.score for one in points if known(one.score)]
    return ticks(min(found, default=0.0), max(found, default=1.0), most=4)


def _by_trial(points: Sequence[TrialPoint], scale: Sequence[float], higher_is_better: bool) -> list[str]:
    x = Span(0.0, points[-1].number + 1.0, LEFT, WIDTH - RIGHT)
    y = _height(scale)
    numbers = [v for v in ticks(0.0, float(points[-1].number), most=8) if v == int(v) and 0 < v <= points[-1].number]
    best = _best_so_far(points, max if higher_is_better else min)
    stairs = [(x(number), y(score)) for number, score in best]
    return [
        *_frame(x, y, scale=scale, marks=[(x(v), f"{v:.0f}") for v in numbers], width=WIDTH),
        text(at(WIDTH - RIGHT), at(HEIGHT), KEY, css="tiny", anchor="end"),
        polyline(stairs, "curve arm-3"),
        *(_mark(one, x(float(one.number)), y) for one in points),
    ]


def _best_so_far(points: Sequence[TrialPoint], better: Callable[[float, float], float]) -> list[tuple[float, float]]:
    """Give the corners of the line that the best finished trial draws."""
    finished = [(float(one.number), one.score) for one in points if one.state == "finished" and known(one.score)]
    scores = list(accumulate((score for _, score in finished), better))
    steps = [(number, score) for (number, _), score in zip(finished, scores, strict=True)]
    corners = [((number, before), (number, after)) for (_, before), (number, after) in pairwise(steps)]
    last = [(float(points[-1].number), steps[-1][1])] if steps else []
    return [*steps[:1], *(corner for pair in corners for corner in pair), *last]


def _by_value(points: Sequence[TrialPoint], scale: Sequence[float], place: str, *, log: bool) -> list[str]:
    across, marks = _across([one.values.get(place) for one in points], log=log)
    y = _height(scale)
    frame = _frame(Span(0.0, 1.0, LEFT, COLUMN - RIGHT), y, scale=scale, marks=marks, width=COLUMN)
    return [*frame, *(_mark(one, x, y) for one, x in zip(points, across, strict=True))]


def _across(values: Sequence[object], *, log: bool) -> tuple[list[float], Marks]:
    """Find where values stand across a panel, and what the axis says: numbers to scale, others one beside the other."""
    numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) == len(values) and len(set(numbers)) > FEW:
        return _to_scale(numbers, log=log)
    in_order = sorted(values, key=lambda value: (value not in numbers, value if value in numbers else str(value)))
    names = list(dict.fromkeys(_named(value) for value in in_order))
    x = Span(-0.5, len(names) - 0.5, LEFT, COLUMN - RIGHT)
    # Trials with the same value stand a little apart (by the golden ratio, so that neighbors do not meet).
    aside = [0.4 * ((k * 0.618) % 1 - 0.5) for k in range(len(values))]
    places = [x(names.index(_named(value)) + shift) for value, shift in zip(values, aside, strict=True)]
    return places, [(x(k), name) for k, name in enumerate(names)]


def _to_scale(numbers: Sequence[float], *, log: bool) -> tuple[list[float], Marks]:
    scaled = [math.log10(v) for v in numbers] if log else list(numbers)
    room = 0.04 * (max(scaled) - min(scaled))
    x = Span(min(scaled) - room, max(scaled) + room, LEFT, COLUMN - RIGHT)
    if log:
        shown = [(k + math.log10(m), m * 10.0**k) for k in range(-12, 12) for m in (1, 3)]
        marks = [(x(v), f"{value:.0e}".replace("e-0", "e-")) for v, value in shown if x.low <= v <= x.high]
        return [x(v) for v in scaled], marks[:: -(-len(marks) // 6) or 1]
    steps = ticks(min(scaled), max(scaled), most=5)
    return [x(v) for v in scaled], [
        (x(v), words) for v, words in zip(steps, tick_texts(steps), strict=True) if x.low <= v <= x.high
    ]


def _named(value: object) -> str:
    words = "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return words if len(words) <= MOST_LETTERS else words[: MOST_LETTERS - 1] + "…"


def _height(scale: Sequence[float]) -> Span:
    return Span(scale[0], scale[-1], HEIGHT - BOTTOM, TOP)


def _frame(x: Span, y: Span, *, scale: Sequence[float], marks: Marks, width: float) -> Iterator[str]:
    for value, words in zip(scale, tick_texts(scale), strict=True):
        yield line(at(x.start), at(y(value)), at(width - RIGHT), y2=at(y(value)), css="grid")
        yield text(at(x.start - 6), at(y(value)), words, anchor="end", shift=".35em")
    for place, words in marks:
        yield text(at(place), at(HEIGHT - BOTTOM + 18), words, anchor="middle", css="tiny")


def _mark(one: TrialPoint, x: float, y: Span) -> str:
    """Draw a trial; what diverged before any look, or was refused, stands on the floor."""
    values = ", ".join(f"{place.split('.', 1)[-1]} {value}" for place, value in one.values.items())
    score = f"{one.score:.4g}, " if known(one.score) else ""
    words = titled(f"trial {one.number}: {score}{STATES[one.state]}; {values}")
    height = y(one.score) if known(one.score) else y.start
    if one.state in ("diverged", "refused"):
        cross = f"M{at(x - 4)} {at(height - 4)}l8 8m0 -8l-8 8"
        return f'<path d="{cross}" class="curve arm-2">{words}</path>'
    css = "dot arm-1" if one.state == "finished" else "ring arm-1"
    return f'<circle cx="{at(x)}" cy="{at(height)}" r="4" class="{css}">{words}</circle>'
