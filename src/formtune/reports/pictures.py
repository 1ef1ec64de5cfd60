"""Pictures that stand alone: an SVG file with its own style sheet, light and dark."""

from collections.abc import Sequence
from importlib.resources import files

from formtune.reports.charts import Box, Series, plot
from formtune.reports.data import Curve, CurvePoint
from formtune.reports.quantities import spaced
from formtune.reports.svg import escape, text
from formtune.reports.views import loss_series, metric_series

WIDTH, HEIGHT = 760.0, 250.0


def training_picture(points: Sequence[CurvePoint], *, metric: str = "loss", best_step: int | None = None) -> str:
    """Draw a training as an SVG file: its loss and, below it, what was seen of the development records.

    Args:
        points: the trace, by update.
        metric: the name of what the points' ``metric`` is.
        best_step: the update whose weights were kept, marked with a dot.
    """
    curve = Curve("", 0, points, best_step)
    panels = [("training loss, by update", loss_series(curve))]
    if any(point.metric is not None for point in points):
        panels.append((f"{spaced(metric)} on the development records, by update", metric_series(curve)))
    last = max((float(point.step) for point in points), default=1.0)
    parts = [_placed(k, title, one, last_x=last) for k, (title, one) in enumerate(panels)]
    label = "; ".join(title for title, _ in panels)
    return picture_file(parts, label, height=HEIGHT * len(panels))


def _placed(k: int, title: str, one: Series, *, last_x: float) -> str:
    """Draw the k-th panel from above, with its title."""
    box = Box(width=WIDTH, height=HEIGHT, left=58.0, right=22.0, top=44.0, bottom=34.0)
    colored = Series(one.points, f"arm-{k + 1}", "", one.marked)
    parts = [
        text("58", "26", title, css="name"),
        *plot([colored], box=box, covers=[0.0] if k == 0 else [], last_x=last_x),
    ]
    return f'<g transform="translate(0 {HEIGHT * k:.0f})">{"".join(parts)}</g>'


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
