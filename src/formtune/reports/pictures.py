"""Pictures that stand alone: an SVG file with its own style sheet, light and dark."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from formtune.reports.charts import Box, Point, Series, plot
from formtune.reports.data import CurvePoint
from formtune.reports.quantities import known, plain, spaced
from formtune.reports.svg import Span, at, escape, line, text

WIDTH, HEIGHT = 760.0, 250.0
TITLE_HEIGHT = 34.0
LONGEST_TITLE = 96  # characters that stand side by side
FEW = 20  # updates, up to which the losses themselves are the line


@dataclass(frozen=True, slots=True)
class _Panel:
    """One chart of the picture: its heading, what its lines are (a color and words each), and the lines."""

    heading: str
    keys: Sequence[tuple[str, str]]
    lines: Sequence[Series]
    covers: Sequence[float] = ()


def training_picture(
    points: Sequence[CurvePoint],
    *,
    title: str = "",
    dev_losses: Sequence[Point] = (),
    metric: str = "loss",
    best_step: int | None = None,
) -> str:
    """Draw a training as an SVG file: its loss and, below it, the metric on the dev records.

    Where there are many updates, their losses step back behind a mean over neighbors. The update whose weights were kept
    is marked in both charts.

    Args:
        points: the trace, by update.
        title: what was trained.
        dev_losses: update and loss of each look at the dev records.
        metric: the name of what the points' ``metric`` is; where it is the loss there is no second chart.
        best_step: the update whose weights were kept.
    """
    panels = [_losses(points, dev_losses)]
    looks = [(float(p.step), p.metric) for p in points if known(p.metric)]
    if looks and metric != "loss":
        kept = None if best_step is None else float(best_step)
        panels.append(_Panel(f"{spaced(metric)} on the dev records", [], [Series(looks, "arm-2", "", kept)]))
    seen = [dict(dev_losses), dict(looks)]
    last_x = max((float(point.step) for point in points), default=1.0)
    top = TITLE_HEIGHT if title else 0.0
    parts = [text("58", "28", _cut(title), css="name")] if title else []
    for k, one in enumerate(panels):
        best = None if best_step is None or not seen[k] else (float(best_step), seen[k].get(float(best_step)))
        drawn = _drawn(one, best=best, last_x=last_x)
        parts.append(f'<g transform="translate(0 {at(top + HEIGHT * k)})">{"".join(drawn)}</g>')
    label = "; ".join([*filter(None, [title]), *(f"{one.heading}, by update" for one in panels)])
    return picture_file(parts, label, height=top + HEIGHT * len(panels))


def _losses(points: Sequence[CurvePoint], dev_losses: Sequence[Point]) -> _Panel:
    own = [(float(p.step), p.loss) for p in points if known(p.loss)]
    lines = [Series(own, "arm-1", "")]
    if len(own) > FEW:
        lines = [Series(own, "arm-1 faint", ""), Series(smoothed(own), "arm-1", "")]
    keys = [("arm-1", "training, mean over neighbors" if len(own) > FEW else "training")]
    if dev_losses:
        lines.append(Series(dev_losses, "arm-2", ""))
        keys.append(("arm-2", "dev records"))
    return _Panel("loss", keys, lines, covers=[0.0])


def smoothed(points: Sequence[Point]) -> list[Point]:
    """Take the mean of every point and its neighbors, a 25th of all points to either side: it lags behind nothing.

    >>> smoothed([(1.0, 2.0), (2.0, 4.0)])
    [(1.0, 2.0), (2.0, 4.0)]
    """
    reach = len(points) // 25
    sums = [0.0]
    for _, y in points:
        sums.append(sums[-1] + y)
    means = []
    for k, (x, _) in enumerate(points):
        near = min(reach, k, len(points) - 1 - k)  # as many on either side, or the ends would be drawn inwards
        means.append((x, (sums[k + near + 1] - sums[k - near]) / (2 * near + 1)))
    return means


def _drawn(one: _Panel, *, best: tuple[float, float | None] | None, last_x: float) -> list[str]:
    """Draw a chart: its heading and keys on the left, the kept update on the right and as a line."""
    box = Box(width=WIDTH, height=HEIGHT, left=58.0, right=22.0, top=44.0, bottom=34.0)
    keys = "".join(
        f'<tspan dx="14" class="key {css}">━ <tspan class="said">{escape(words)}</tspan></tspan>'
        for css, words in one.keys
    )
    heading = f'<text x="58" y="26"><tspan class="name">{escape(one.heading)}, by update</tspan>{keys}</text>'
    parts = [heading]
    if best is not None:
        step, value = best
        found = f", {plain(value)}" if known(value) else ""
        place = at(Span(0.0, last_x, box.left, box.width - box.right)(step))
        parts.append(text(at(box.width - box.right), "26", f"kept: update {step:,.0f}{found}", anchor="end"))
        parts.append(line(place, at(box.top), place, y2=at(box.height - box.bottom), css="baseline"))
    return [*parts, *plot(one.lines, box=box, covers=one.covers, last_x=last_x)]


def _cut(title: str) -> str:
    return title if len(title) <= LONGEST_TITLE else title[: LONGEST_TITLE - 1] + "…"


def picture_file(parts: Sequence[str], label: str, *, height: float) -> str:
    """Make an SVG file of its parts, with the style sheet in it and what a screen reader says instead."""
    style = files("formtune.reports").joinpath("templates/charts.css").read_text(encoding="utf-8")
    size = f'width="{WIDTH:.0f}" height="{height:.0f}" viewBox="0 0 {WIDTH:.0f} {height:.0f}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} class="ft" role="img" aria-label="{escape(label)}">',
            f"<style>\n{style}</style>",
            '<rect width="100%" height="100%" class="ground"/>',
            *parts,
            "</svg>\n",
        ]
    )
