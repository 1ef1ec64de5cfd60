"""Pictures of data: how long records are, and how often each label or language stands; from values to SVG text."""

from collections.abc import Mapping, Sequence
from typing import Any

from formtune.reports.charts import shortened
from formtune.reports.quantities import count, percent
from formtune.reports.svg import Span, at, escape, line, picture, text, tick_texts, ticks, titled

Values = Mapping[str, Any]
WIDTH = 560.0
_LEFT, _RIGHT, _FLOOR, _TOP = 46.0, 548.0, 196.0, 16.0
_ROW_PX = 26.0
_NAME_PX, _NUMBER_PX = 150.0, 128.0
_N_COLORS = 8


def histogram(figure: Values) -> str:
    """Draw how long records are, and where the model's window ends.

    Args:
        figure: as :func:`formtune.checks.figures.figures` gives it for lengths.
    """
    bins, window = figure["bins"], figure["window"]
    marks_y = ticks(0.0, float(max(n for _, _, n in bins)), most=4)
    x, y = Span(0.0, float(bins[-1][1]), _LEFT, _RIGHT), Span(0.0, marks_y[-1], _FLOOR, _TOP)
    parts = [*_axes(x, y, marks_y), *(_bar(one, x, y, window=window) for one in bins if one[2])]
    if window is not None and window <= x.high:
        place = at(x(window))
        parts.append(line(place, at(_TOP - 6), place, y2=at(_FLOOR), css="zero"))
        side = "end" if x(window) > WIDTH / 2 else "start"
        nudge = -6 if side == "end" else 6
        parts.append(text(at(x(window) + nudge), at(_TOP), f"the model takes {window:,}", anchor=side))
    says = _said(figure)
    parts.append(text(at(_LEFT), at(_FLOOR + 38), says))
    return picture(parts, f"{figure['title']}. {says}", width=WIDTH, height=_FLOOR + 46)


def shares(figure: Values) -> str:
    """Draw how often each name stands, in each part.

    Args:
        figure: as :func:`formtune.checks.figures.figures` gives it for labels and languages.
    """
    rows: Sequence[Values] = figure["rows"]
    parts_of_data = list(rows[0]["counts"])
    totals = {part: sum(row["counts"][part] for row in rows) for part in parts_of_data}
    most = max(_share(row["counts"][part], totals[part]) for row in rows for part in parts_of_data)
    top = 26.0 if len(parts_of_data) > 1 else 4.0
    drawn = [_key(parts_of_data)] if len(parts_of_data) > 1 else []
    for place, row in enumerate(rows):
        drawn += _row(row, totals, top + place * _ROW_PX, most=most)
    height = top + len(rows) * _ROW_PX + (22.0 if figure["n_more"] else 4.0)
    if figure["n_more"]:
        drawn.append(text(at(_NAME_PX), at(height - 6), f"and {figure['n_more']:,} more"))
    names = ", ".join(f"{row['name']} {count(sum(row['counts'].values()))}" for row in rows)
    return picture(drawn, f"{figure['title']}: {names}", width=WIDTH, height=height)


def _axes(x: Span, y: Span, marks_y: Sequence[float]) -> list[str]:
    parts = []
    for value, words in zip(marks_y, tick_texts(marks_y), strict=True):
        parts.append(line(at(_LEFT), at(y(value)), at(_RIGHT), y2=at(y(value)), css="grid"))
        parts.append(text(at(_LEFT - 6), at(y(value)), words, anchor="end", shift=".35em"))
    marks_x = [value for value in ticks(0.0, x.high, most=6) if value <= x.high and value == int(value)]
    for value, words in zip(marks_x, tick_texts(marks_x), strict=True):
        anchor = "start" if value == 0 else "end" if x(value) > _RIGHT - 12 else "middle"
        parts.append(text(at(x(value)), at(_FLOOR + 16), words, anchor=anchor))
    return parts


def _bar(one: Sequence[int], x: Span, y: Span, *, window: int | None) -> str:
    first, end, n = one
    is_beyond = window is not None and first > window
    words = titled(f"{first:,} to {end - 1:,}: {count(n)}")
    left, right = x(first) + 0.5, x(end) - 0.5
    top = min(y(n), _FLOOR - 1.5)  # one record among thousands is still seen
    return (
        f'<rect x="{at(left)}" y="{at(top)}" width="{at(max(right - left, 1.0))}" height="{at(_FLOOR - top)}" '
        f'class="{"miss" if is_beyond else "hit"}">{words}</rect>'
    )


def _said(figure: Values) -> str:
    """Say in a line what the picture cannot show."""
    unit, window = figure["unit"], figure["window"]
    cut = [] if window is None else [f"{count(figure['n_cut'])} are cut to {window:,}"]
    lost = [f"{count(figure['n_lost'])} are left out with their answers"] if figure["n_lost"] else []
    beyond = [f"{count(figure['n_beyond'])} longer ones stand in the last bar"] if figure["n_beyond"] else []
    return f"records by {unit}{''.join(f'; {words}' for words in (*cut, *lost, *beyond))}"


def _key(names: Sequence[str]) -> str:
    spans = "".join(
        f'<tspan dx="14" class="key arm-{place % _N_COLORS + 1}">■ <tspan class="said">{escape(name)}</tspan></tspan>'
        for place, name in enumerate(names)
    )
    return f'<text x="{at(_NAME_PX - 14)}" y="14">{spans}</text>'


def _row(row: Values, totals: Mapping[str, int], top: float, *, most: float) -> list[str]:
    middle = at(top + _ROW_PX / 2)
    tall = (_ROW_PX - 8.0) / len(totals)
    width = Span(0.0, most, 0.0, WIDTH - _NAME_PX - _NUMBER_PX)
    parts = [text(at(_NAME_PX - 8), middle, shortened(row["name"], 22), anchor="end", shift=".35em")]
    for place, (part, n) in enumerate(row["counts"].items()):
        if not n:
            continue
        words = titled(f"{row['name']} in {part}: {count(n)} ({percent(_share(n, totals[part]))})")
        parts.append(
            f'<rect x="{at(_NAME_PX)}" y="{at(top + 4 + place * tall)}" width="{at(max(width(_share(n, totals[part])), 1.0))}" '
            f'height="{at(max(tall - 1.0, 1.0))}" class="solid arm-{place % _N_COLORS + 1}">{words}</rect>'
        )
    whole, all_n = sum(row["counts"].values()), sum(totals.values())
    said = f"{count(whole)} ({percent(_share(whole, all_n))})"
    return [*parts, text(at(WIDTH - 2), middle, said, anchor="end", shift=".35em")]


def _share(n: int, total: int) -> float:
    return n / total if total else 0.0
