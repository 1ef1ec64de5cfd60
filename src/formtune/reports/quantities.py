"""Numbers as a person reads them: points with one decimal, humanised seconds, thousands separators."""

import math
from typing import TypeGuard

from formtune.reports.data import Scale

MINUS = "\N{MINUS SIGN}"
NONE = "\N{EN DASH}"


def known(value: float | None) -> TypeGuard[float]:
    """Tell whether there is a number to show: neither None nor NaN nor infinite."""
    return value is not None and math.isfinite(value)


def signed(text: str) -> str:
    """Write a number's hyphen as a minus sign."""
    return text.replace("-", MINUS)


def plain(value: float) -> str:
    """Write a number with three significant digits and without an exponent, where it is of everyday size.

    >>> plain(0.69315), plain(12.345), plain(2345.6), plain(0.000012)
    ('0.693', '12.3', '2,346', '1.2e−05')
    """
    if value and abs(value) < 0.0005:
        return signed(f"{value:.1e}")
    decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 3 if abs(value) < 1 else 2
    return signed(f"{value:,.{decimals}f}")


def score(scale: Scale, value: float | None) -> str:
    """Write a value of the metric.

    >>> score(Scale("accuracy"), 82.04), score(Scale("log_loss", False, "plain"), 0.4312)
    ('82.0', '0.431')
    """
    if value is None or not known(value):
        return NONE
    return plain(value) if scale.unit == "plain" else signed(f"{value:.1f}")


def gap(scale: Scale, value: float | None) -> str:
    """Write a difference between two values of the metric, always with its sign.

    >>> gap(Scale("accuracy"), 4.1), gap(Scale("accuracy"), -0.3), gap(Scale("accuracy"), -0.01)
    ('+4.1', '−0.3', '0.0')
    """
    text = score(scale, value)
    if not any(digit in text for digit in "123456789"):
        return text.removeprefix(MINUS)
    return text if text.startswith(MINUS) else f"+{text}"


def interval(low: str, high: str) -> str:
    """Write two ends as an interval; nothing where an end is unknown.

    >>> interval("79.1", "84.6")
    '79.1 to 84.6'
    """
    return "" if NONE in (low, high) else f"{low} to {high}"


def unit(scale: Scale) -> str:
    """Name the unit of differences in the metric, with a space before it."""
    return "" if scale.unit == "plain" else " points"


def percent(share: float | None) -> str:
    """Write a share of one as a percentage.

    >>> percent(0.0312), percent(0.0), percent(0.00001), percent(None)
    ('3.1 %', '0 %', '< 0.1 %', '–')
    """
    if share is None or not known(share):
        return NONE
    if share == 0:
        return "0 %"
    return "< 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"


def count(n: float | None) -> str:
    """Write how many there are; from a million on in millions or billions.

    >>> count(812), count(98765), count(4718592), count(1.2e10), count(31.44)
    ('812', '98,765', '4.72 M', '12.0 G', '31.4')
    """
    if n is None or not known(n):
        return NONE
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(n) >= size:
            return f"{_three(n / size)} {letter}"
    return f"{n:,.0f}" if n == int(n) or abs(n) >= 1000 else f"{n:,.1f}"


def exactly(n: float | None) -> str:
    """Write how many there are to the last one; empty where unknown."""
    return "" if n is None or not known(n) else f"{n:,.0f}"


def seconds(value: float | None) -> str:
    """Write a duration in the units that a person would use.

    >>> [seconds(s) for s in (0.0421, 3.21, 59.2, 125, 3725, 200000)]
    ['42 ms', '3.2 s', '59 s', '2 min 5 s', '1 h 2 min', '2 d 7 h']
    """
    if value is None or not known(value):
        return NONE
    if value < 0.9995:
        return f"{value * 1000:.0f} ms" if value >= 0.01 else f"{value * 1000:.1f} ms"
    if value < 59.5:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    whole = round(value)
    for size, name, rest, rest_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            remainder = whole % size // rest
            return f"{whole // size} {name}" + (f" {remainder} {rest_name}" if remainder else "")
    return f"{whole} s"


def milliseconds(value: float | None) -> str:
    """Write a duration given in milliseconds; see :func:`seconds`."""
    return seconds(None if value is None else value / 1000)


def p_value(p: float | None) -> str:
    """Write a p value; the very small ones as a bound.

    >>> p_value(0.0314), p_value(0.4), p_value(0.0002)
    ('0.031', '0.40', '< 0.001')
    """
    if p is None or not known(p):
        return NONE
    if p < 0.001:
        return "< 0.001"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _three(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


NAMES = {
    "bleu": "BLEU",
    "brier": "Brier score",
    "chrf": "chrF",
    "ece": "calibration error",
    "log_loss": "log-loss",
    "macro_f1": "macro F1",
    "rouge_l": "ROUGE-L",
    "token_f1": "token F1",
}


def spaced(name: str) -> str:
    """Write the name of a metric as words.

    >>> spaced("macro_f1"), spaced("exact_match")
    ('macro F1', 'exact match')
    """
    return NAMES.get(name, name.replace("_", " "))
