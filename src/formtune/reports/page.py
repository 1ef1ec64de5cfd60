"""Pages: the report of a comparison, a preview of tokens, a summary for notebooks.

Each is one file that loads nothing: style sheet and charts stand in it, there is no script, and a content security
policy says so to the browser. Everything that comes from data is escaped by the template engine.
"""

from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from formtune.reports import characters, charts, intervals, quantities, views
from formtune.reports.data import ArmRow, Facts, ReportData, Scale, Shown
from formtune.reports.svg import clean

POINTS = Scale("points")
OUTCOMES = {
    "better": "One arm is better",
    "equivalent": "No difference that matters",
    "undecided": "Not decided yet",
}


def report_html(data: ReportData) -> str:
    """Lay out a report as one HTML page; parts that are missing have no section."""
    color = views.arm_colors(data)
    dev_metric = data.dev_metric or data.scale
    template = _environment(data, color).get_template("report.html")
    return template.render(
        outcome=OUTCOMES[data.outcome],
        facts=[*data.facts, *_own_facts(data)],
        sections=_sections(data),
        pairs=(pairs := views.oriented(data)),
        n_first=max(len(data.arms) - 1, 6) if len(pairs) > 10 else len(pairs),
        curves=views.learning(data, color),
        seeds=views.seeds_of(data),
        dev_name=quantities.spaced(dev_metric.name),
        small_matrices=all(len(c.labels) <= views.MOST_CELLS_WITH_NUMBERS for c in data.confusions),
        matrix_rem=max((13 + 2.6 * len(c.labels) for c in data.confusions), default=19),
        n_disagreements=len(data.disagreements) if data.n_disagreements is None else data.n_disagreements,
        n_left_out=sum(row.rows for row in data.left_out),
    )


def summary_html(data: ReportData) -> str:
    """Lay out verdict and interval plot as a fragment, for a notebook."""
    return _environment(data, views.arm_colors(data)).get_template("summary.html").render()


def preview_html(shown: Shown) -> str:
    """Lay out one record in some formats, token by token, as one HTML page."""
    data = ReportData(title=shown.place, verdict="", outcome="undecided", scale=POINTS, arms=[], shown=shown)
    return _environment(data, views.arm_colors(data)).get_template("preview.html").render()


def write_report(data: ReportData, path: str | Path) -> None:
    """Write a report; the file is whole or not there.

    Raises:
        OSError: where the place cannot be written to.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = target.with_name(f".{target.name}.part")
    staged.write_text(report_html(data), encoding="utf-8", newline="\n")
    staged.replace(target)


def _sections(data: ReportData) -> list[tuple[str, str]]:
    """List the sections that have something to show: the end of the template's name, and the heading."""
    parts: list[tuple[str, str, object]] = [
        ("arms", "Scores and costs", data.arms),
        ("differences", "Differences", data.pairs),
        ("curves", "How they learned", data.curves),
        ("confusions", "What was taken for what", data.confusions),
        ("calibration", "How far to trust their confidence", data.calibrations),
        ("shown", "One record in each format", data.shown),
        ("disagreements", "Where they disagree", data.disagreements),
        ("left_out", "What was left out", data.left_out),
        ("repeat", "How to repeat it", data.repeat),
    ]
    return [(id, title) for id, title, content in parts if content]


def _own_facts(data: ReportData) -> Facts:
    """Say what the numbers themselves tell: the metric, the margin, what could have been seen."""
    scale = data.scale
    facts = [
        ("Metric", f"{quantities.spaced(scale.name)}, {'higher' if scale.higher_is_better else 'lower'} is better")
    ]
    if data.margin:
        facts.append(("Equivalence margin", f"±{quantities.score(scale, data.margin)}{quantities.unit(scale)}"))
    if data.minimum_detectable is not None:
        least = f"{quantities.score(scale, data.minimum_detectable)}{quantities.unit(scale)}"
        facts.append(("Detectable difference", f"{least} or more"))
    return facts


def _environment(data: ReportData, color: Callable[[str], str]) -> Environment:
    environment = Environment(
        loader=PackageLoader("formtune.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
    )
    environment.globals.update(
        data=data,
        arms_axis=intervals.arms_axis,
        pairs_axis=intervals.pairs_axis,
        arm_strip=intervals.arm_strip,
        pair_strip=intervals.pair_strip,
        axis_strip=intervals.axis_strip,
        reliability=charts.reliability,
        heat_map=charts.heat_map,
    )
    environment.filters.update(_number_filters(data.scale))
    environment.filters.update(
        color=color,
        marked=lambda sentence: views.marked(sentence, [arm.name for arm in data.arms]),
        pieces=views.arm_pieces,
        visible=views.visible,
        grouped=characters.grouped,
        hexadecimal=characters.hexadecimal,
        finding=views.finding,
        rates=views.rates,
        reasons=views.reasons,
        mistakes=views.mistakes,
        ranked=lambda parts: views.ranked(data, parts),
        is_long=views.is_long,
        turn=views.turn,
        dash=views.dash,
        spaced=quantities.spaced,
    )
    return environment


def _number_filters(scale: Scale) -> dict[str, Callable[..., str]]:
    return {
        "score": lambda value: quantities.score(scale, value),
        "gap": lambda value: quantities.gap(scale, value),
        "ends": lambda arm: _ends(arm, scale),
        "unit": quantities.unit,
        "unit_note": lambda one: "" if one.unit == "plain" else ", in points",
        "points": lambda share: quantities.score(POINTS, None if share is None else 100 * share),
        "one_decimal": lambda value: quantities.score(POINTS, value),
        "percent": quantities.percent,
        "percent_short": lambda value: f"{100 * value:.0f} %",
        "count": quantities.count,
        "exactly": quantities.exactly,
        "seconds": quantities.seconds,
        "milliseconds": quantities.milliseconds,
        "p_value": quantities.p_value,
        "trimmed": lambda value: f"{value:g}",
    }


def _ends(arm: ArmRow, scale: Scale) -> str:
    return quantities.interval(quantities.score(scale, arm.low), quantities.score(scale, arm.high))


def _finalized(value: object) -> object:
    """Clean whatever text a template writes; what is marked as HTML is clean already."""
    return clean(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
