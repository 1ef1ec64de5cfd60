"""Charts that are pictures: curves, a heat map and calibration, each from values to SVG text."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from formtune.reports.data import Bin, Calibration, Confusion
from formtune.reports.quantities import count, known, percent
from formtune.reports.svg import Span, at, line, picture, polyline, text, tick_texts, ticks, titled

MOST_POINTS = 150
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a panel; ``marked`` is the x of the point that gets a dot (the kept checkpoint)."""

    points: Sequence[Point]
    css: str
    title: str
    marked: float | None = None


@dataclass(frozen=True, slots=True)
class Box:
    """The size of a panel in picture units and the room around its plot."""

    width: float = 340.0
    height: float = 168.0
    left: float = 42.0
    right: float = 10.0
    top: float = 10.0
    bottom: float = 26.0


def panel(series: Sequence[Series], label: str, *, box: Box, covers: Sequence[float] = (), last_x: float = 1.0) -> str:
    """Draw lines over a common x axis that starts at 0, as a picture.

    Args:
        series: the lines; points that are not finite are passed over.
        label: what a screen reader says instead of the picture.
        box: its size.
        covers: y values that the axis must reach, so that panels can be compared.
        last_x: an x that the axis must reach.
    """
    parts = plot(series, box=box, covers=covers, last_x=last_x)
    return picture(parts, label, width=box.width, height=box.height, css="panel")


def plot(series: Sequence[Series], *, box: Box, covers: Sequence[float], last_x: float) -> list[str]:
    """Draw what :func:`panel` makes a picture of."""
    drawn = [(one, thinned(one.points)) for one in series]
    ys = [y for _, points in drawn for _, y in points] + [y for y in covers if math.isfinite(y)]
    marks_y = ticks(min(ys, default=0.0), max(ys, default=1.0), most=4)
    last_x = max([last_x, *(x for _, points in drawn for x, _ in points)])
    x = Span(0.0, last_x, box.left, box.width - box.right)
    y = Span(marks_y[0], marks_y[-1], box.height - box.bottom, box.top)
    parts = _frame(x, y, marks_y=marks_y, box=box)
    for one, points in drawn:
        places = [(x(px), y(py)) for px, py in points]
        parts.append(polyline(places, f"curve {one.css}", title=one.title))
        parts += _dots(one, points, places=places)
    return parts


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """Pass over what is not finite and, where there are too many points to see, take means over neighbors."""
    finite = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    size = -(-len(finite) // most) if finite else 1
    if size == 1:
        return finite
    groups = [finite[k : k + size] for k in range(0, len(finite), size)]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def _frame(x: Span, y: Span, *, marks_y: Sequence[float], box: Box) -> list[str]:
    right, floor = box.width - box.right, at(box.height - box.bottom + 16)
    parts = []
    for value, words in zip(marks_y, tick_texts(marks_y), strict=True):
        parts.append(line(at(box.left), at(y(value)), at(right), y2=at(y(value)), css="grid"))
        parts.append(text(at(box.left - 6), at(y(value)), words, anchor="end", shift=".35em"))
    marks_x = [v for v in ticks(0.0, x.high, most=4) if v <= x.high and v == int(v)]
    for value, words in zip(marks_x, tick_texts(marks_x), strict=True):
        anchor = "end" if x(value) > right - 12 else "start" if value == 0 else "middle"
        parts.append(text(at(x(value)), floor, words, anchor=anchor))
    return parts


def _dots(one: Series, points: Sequence[Point], *, places: Sequence[Point]) -> list[str]:
    """Draw a dot at the kept checkpoint, and where a line is a single point."""
    if not points or (one.marked is None and len(points) > 1):
        return []
    wanted = points[0][0] if one.marked is None else one.marked
    nearest = min(range(len(points)), key=lambda k: abs(points[k][0] - wanted))
    cx, cy = places[nearest]
    return [f'<circle cx="{at(cx)}" cy="{at(cy)}" r="4" class="dot {one.css}">{titled(one.title)}</circle>']


def heat_map(confusion: Confusion, *, row_px: float = 13.0, gutter_px: float = 196.0) -> str:
    """Draw a confusion matrix of many classes: right answers in one color, wrong ones in the other.

    Rows are right labels, columns answers; a cell is as strong as its share of the row. Empty cells are not drawn.
    Columns carry the number that stands before the row's label.
    """
    n_labels, top = len(confusion.labels), 22.0
    edge = n_labels * row_px
    parts = [f'<rect x="{at(gutter_px)}" y="{at(top)}" width="{at(edge)}" height="{at(edge)}" class="field"/>']
    for row, label in enumerate(confusion.labels):
        middle = top + (row + 0.72) * row_px
        parts.append(text(at(gutter_px - 6), at(middle), f"{shortened(label)}  {row + 1}", anchor="end", css="tiny"))
        if row == 0 or (row + 1) % 5 == 0:
            parts.append(text(at(gutter_px + (row + 0.5) * row_px), "15", row + 1, anchor="middle", css="tiny"))
        parts += _cells(confusion, row, corner=(gutter_px, top + row * row_px), side=row_px)
    label = f"Confusion matrix of {confusion.arm}, {n_labels} classes; the most frequent mistakes are listed beside it"
    return picture(parts, label, width=gutter_px + edge + 4, height=top + edge + 4, css="heat")


def _cells(confusion: Confusion, row: int, *, corner: Point, side: float) -> list[str]:
    counts = confusion.counts[row]
    total = sum(counts) + (confusion.invalid[row] if confusion.invalid else 0)
    parts = []
    for column, n in enumerate(counts):
        if not n:
            continue
        words = f"{confusion.labels[row]} answered as {confusion.labels[column]}: {count(n)} ({percent(n / total)})"
        kind = "hit" if column == row else "miss"
        parts.append(
            f'<rect x="{at(corner[0] + column * side)}" y="{at(corner[1])}" width="{at(side - 1)}" '
            f'height="{at(side - 1)}" class="{kind}" fill-opacity="{at(0.18 + 0.82 * n / total)}">{titled(words)}</rect>'
        )
    return parts


def shortened(label: str, most: int = 27) -> str:
    """Cut a label to a width in Latin characters; a Chinese one is twice as wide."""
    widths = list(accumulate(2 if ord(c) > 0x2E7F else 1 for c in label))
    if not widths or widths[-1] <= most:
        return label
    return label[: sum(width < most for width in widths)] + "…"


def reliability(calibration: Calibration, css: str) -> str:
    """Draw confidence against how often it was right; the diagonal is what it should be, bars below how many answers.

    After Guo et al. (2017), On Calibration of Modern Neural Networks, section 2.
    """
    x, y = Span(0.0, 100.0, 40.0, 268.0), Span(0.0, 100.0, 250.0, 22.0)
    parts = _reliability_frame(x, y)
    bins = [b for b in calibration.bins if b.n and known(b.confidence) and known(b.accuracy)]
    parts += [_histogram_bar(b, x, most=max(map(_density, bins)), css=css) for b in bins]
    parts += [_distance(b, x, y) for b in bins]
    parts.append(polyline([(x(b.confidence), y(b.accuracy)) for b in bins], f"curve {css}"))
    parts += [_bin_dot(b, x, y, css=css) for b in bins]
    label = f"Reliability of {calibration.arm}: expected calibration error {calibration.ece:.1f} points"
    return picture(parts, label, width=282.0, height=340.0, css="reliability")


def _reliability_frame(x: Span, y: Span) -> list[str]:
    left, right = at(x.start), at(x.end)
    parts = [text(left, "11", "right, %"), text(at(x(50.0)), "334", "confidence, %", anchor="middle")]
    for value in (0.0, 25.0, 50.0, 75.0, 100.0):
        parts.append(line(left, at(y(value)), right, y2=at(y(value)), css="grid"))
        parts.append(text(at(x.start - 6), at(y(value)), f"{value:.0f}", anchor="end", shift=".35em"))
        parts.append(text(at(x(value)), "315", f"{value:.0f}", anchor="middle"))
    return [*parts, line(left, at(y(0.0)), right, y2=at(y(100.0)), css="ideal")]


def _density(one: Bin) -> float:
    """Give answers per point of confidence: bins may be of any width."""
    return one.n / max(one.high - one.low, 0.5)


def _histogram_bar(one: Bin, x: Span, *, most: float, css: str) -> str:
    tall = 36.0 * _density(one) / most
    left, right = x(one.low) + 0.75, x(one.high) - 0.75
    return (
        f'<rect x="{at(left)}" y="{at(298 - tall)}" width="{at(max(right - left, 1.0))}" height="{at(tall)}" '
        f'class="share {css}">{titled(f"{count(one.n)} answers")}</rect>'
    )


def _distance(one: Bin, x: Span, y: Span) -> str:
    place = at(x(one.confidence))
    return line(place, at(y(one.confidence)), place, y2=at(y(one.accuracy)), css="distance")


def _bin_dot(one: Bin, x: Span, y: Span, *, css: str) -> str:
    words = titled(f"{count(one.n)} answers: {one.confidence:.1f} % sure, {one.accuracy:.1f} % right")
    return f'<circle cx="{at(x(one.confidence))}" cy="{at(y(one.accuracy))}" r="4" class="dot {css}">{words}</circle>'
