"""What the pages need to know beyond the data: order, classes of the style sheet, rates, tokens made visible."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from formtune.reports.charts import Box, Series, panel
from formtune.reports.data import (
    Answer,
    Calibration,
    Confusion,
    Curve,
    Disagreement,
    PairRow,
    ReportData,
    ShownExample,
    ShownToken,
)
from formtune.reports.svg import escape

OfArm = TypeVar("OfArm", Answer, Calibration, Confusion, Curve, ShownExample)
N_COLORS = 8
N_DASHES = 5
MOST_CELLS_WITH_NUMBERS = 12
LONG_TEXT = 320
LONGEST_UNBROKEN = 20


@dataclass(frozen=True, slots=True)
class Rates:
    """How well one class is recognized: shares of one, or None where there is nothing to divide by."""

    label: str
    n: float
    recall: float | None
    precision: float | None
    f1: float | None


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong answer and how often it was given to records of one label."""

    gold: str
    answered: str
    n: float
    share: float


@dataclass(frozen=True, slots=True)
class Learning:
    """The curves of one arm, drawn: loss, and the metric on the dev records; empty where there is none."""

    arm: str
    loss: str
    metric: str


def arm_colors(data: ReportData) -> Callable[[str], str]:
    """Give every arm its class of the style sheet: the same one in every figure."""
    named = [a.name for a in data.arms] + [c.arm for c in data.curves] + [c.arm for c in data.confusions]
    named += [example.arm for example in data.shown.examples] if data.shown else []
    order = {name: k for k, name in enumerate(dict.fromkeys(named))}
    return lambda name: f"arm-{order.get(name, len(order)) % N_COLORS + 1}"


def ranked(data: ReportData, parts: Sequence[OfArm]) -> list[OfArm]:
    """Put what belongs to arms in the order of the arms, best first."""
    rank = {arm.name: k for k, arm in enumerate(data.arms)}
    return sorted(parts, key=lambda part: rank.get(part.arm, len(rank)))


def oriented(data: ReportData) -> list[PairRow]:
    """Turn every pair so that its better arm stands first, and sort: pairs of the best arm before the others."""
    rank = {arm.name: k for k, arm in enumerate(data.arms)}
    last = len(rank)
    turned = [turned_round(pair) if pair.difference < 0 else pair for pair in data.pairs]
    return sorted(turned, key=lambda p: (min(rank.get(p.a, last), rank.get(p.b, last)), rank.get(p.b, last)))


def turned_round(pair: PairRow) -> PairRow:
    """Say the same of ``b`` over ``a``."""
    return replace(pair, a=pair.b, b=pair.a, difference=-pair.difference, low=-pair.high, high=-pair.low)


def finding(pair: PairRow) -> str:
    """Say in words what a pair, turned so that its better arm stands first, has shown."""
    if pair.significant:
        return "better, by less than the margin" if pair.equivalent else "better"
    return "equivalent" if pair.equivalent else "not decided"


def marked(sentence: str, names: Sequence[str]) -> str:
    """Escape a sentence, mark the arms that it names, and keep numbers and their percent signs on one line."""
    whole = re.sub(r"(?<=\d) (?=%|points\b)", "\N{NO-BREAK SPACE}", sentence)
    if not names:
        return escape(whole)
    longest_first = sorted(names, key=len, reverse=True)
    pattern = rf"(?<![\w@-])({'|'.join(re.escape(name) for name in longest_first)})(?![\w@-])"
    pieces = re.split(pattern, whole)
    return "".join(arm_pieces(piece) if k % 2 else escape(piece) for k, piece in enumerate(pieces))


def arm_pieces(name: str) -> str:
    """Escape and mark an arm's name; where the line is too short it breaks before its model."""
    form, at, model = name.partition("@")
    tail = f'<wbr><span class="model {_whole(model)}">{escape(at + model)}</span>' if at else ""
    return f'<span class="arm"><span class="{_whole(form)}">{escape(form)}</span>{tail}</span>'


def _whole(part: str) -> str:
    return "whole" if len(part) <= LONGEST_UNBROKEN else "broken"


def visible(text: str) -> str:
    r"""Escape a token's text and show the white space in it: dots for spaces, arrows for line ends and tabs.

    >>> visible(" <b>\n")
    '<i>·</i>&lt;b&gt;<i>↵</i>'
    """
    shown = escape(text).replace(" ", "<i>·</i>").replace("\t", "<i>⇥</i>").replace("\r", "<i>␍</i>")
    return shown.replace("\n", "<i>↵</i>")


def reasons(tokens: Sequence[ShownToken]) -> list[str]:
    """Count tokens by why they are learned or not, those that are first.

    >>> reasons([ShownToken("a", 1, "target", 1.0, why="to be produced"), ShownToken("b", 2, "content", why="given")])
    ['1 learned: to be produced', '1 not learned: given']
    """
    counts = Counter((token.weight > 0, token.why) for token in tokens if token.why)
    ordered = sorted(counts.items(), key=lambda entry: not entry[0][0])
    return [f"{n} {'learned' if learned else 'not learned'}: {why}" for (learned, why), n in ordered]


def rates(confusion: Confusion) -> list[Rates]:
    """Work out recall, precision and F1 of each class; an invalid answer counts against recall."""
    columns = [sum(row[k] for row in confusion.counts) for k in range(len(confusion.labels))]
    return [_rates_of(confusion, k, answered=columns[k]) for k in range(len(confusion.labels))]


def _rates_of(confusion: Confusion, k: int, *, answered: float) -> Rates:
    n, hits = row_total(confusion, k), confusion.counts[k][k]
    return Rates(
        label=confusion.labels[k],
        n=n,
        recall=hits / n if n else None,
        precision=hits / answered if answered else None,
        f1=2 * hits / (n + answered) if n + answered else None,
    )


def row_total(confusion: Confusion, k: int) -> float:
    """Count the records of a right label, invalid answers among them."""
    return sum(confusion.counts[k]) + (confusion.invalid[k] if confusion.invalid else 0)


def mistakes(confusion: Confusion, most: int = 8) -> list[Mistake]:
    """List the most frequent wrong answers, the commonest first."""
    answers = [*confusion.labels, "(no valid answer)"]
    found = [
        Mistake(confusion.labels[row], answers[column], n, n / row_total(confusion, row))
        for row, counts in enumerate(confusion.counts)
        for column, n in enumerate([*counts, *confusion.invalid[row : row + 1]])
        if n and row != column
    ]
    return sorted(found, key=lambda m: (-m.n, m.gold, m.answered))[:most]


def learning(data: ReportData, color: Callable[[str], str]) -> list[Learning]:
    """Draw the curves of every arm: losses each on their own axis (they do not compare), metrics on a common one."""
    by_arm: dict[str, list[Curve]] = {}
    for curve in ranked(data, data.curves):
        by_arm.setdefault(curve.arm, []).append(curve)
    points = [point for curve in data.curves for point in curve.points]
    reach = [p.metric for p in points if p.metric is not None]
    last = max((float(p.step) for p in points), default=1.0)
    scale = data.dev_metric or data.scale
    return [
        Learning(
            arm=arm,
            loss=_drawn(
                f"Training loss of {arm}", [loss_series(c) for c in curves], color(arm), covers=[0.0], last=last
            ),
            metric=_drawn(
                f"{scale.name} of {arm} on the dev records",
                [metric_series(c) for c in curves],
                color(arm),
                covers=reach,
                last=last,
            ),
        )
        for arm, curves in by_arm.items()
    ]


def loss_series(curve: Curve) -> Series:
    """Take the loss of a training as a line."""
    points = [(float(p.step), p.loss) for p in curve.points if p.loss is not None]
    return Series(points, "", f"seed {curve.seed}")


def metric_series(curve: Curve) -> Series:
    """Take the metric on the dev records as a line, the kept checkpoint marked."""
    points = [(float(p.step), p.metric) for p in curve.points if p.metric is not None]
    best = None if curve.best_step is None else float(curve.best_step)
    return Series(points, "", f"seed {curve.seed}", best)


def _drawn(label: str, lines: list[Series], css: str, *, covers: Sequence[float], last: float) -> str:
    """Draw a panel with a kind of line for each seed; nothing where no line has a point."""
    if not any(one.points for one in lines):
        return ""
    dashed = [replace(one, css=f"{css} {dash(k)}") for k, one in enumerate(lines)]
    return panel(dashed, f"{label}, by update", box=Box(), covers=covers, last_x=last)


def dash(k: int) -> str:
    """Give the k-th seed its kind of line."""
    return f"dash-{k % N_DASHES + 1}"


def seeds_of(data: ReportData) -> list[int]:
    """List the seeds of the curves, in the order of their kinds of line."""
    first = data.curves[0].arm if data.curves else ""
    return [curve.seed for curve in data.curves if curve.arm == first]


def turn(label: str) -> str:
    """Say how a label stands over a narrow column: flat where it is short, upright in Chinese, else turned."""
    wide = any(ord(c) > 0x2E7F for c in label)
    if len(label) <= (2 if wide else 4):
        return "flat"
    return "upright" if wide else "turned"


def is_long(clash: Disagreement) -> bool:
    """Tell whether a record's text is too long to show at once."""
    return len(clash.text) > LONG_TEXT
