"""The few things that every chart is made of: scales, ticks and marks, as SVG text.

Everything is escaped here. Charts carry classes, not colors: the style sheet gives those, light and dark.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

PICTURES = {code: 0x2400 + code for code in range(32) if code not in (9, 10, 13)} | {0x7F: 0x2421}


def clean(text: str) -> str:
    r"""Make text fit to stand in HTML and XML: control characters as pictures, lone surrogates replaced.

    >>> clean("a\x00b\x1b[0m")
    'a␀b␛[0m'
    """
    pictured = text.translate(PICTURES)
    legal = (
        c if not ("\ud800" <= c <= "\udfff" or c in "\ufffe\uffff") else "\N{REPLACEMENT CHARACTER}" for c in pictured
    )
    return pictured if pictured.isascii() else "".join(legal)


def escape(text: object) -> str:
    """Escape text for content and for attribute values in either kind of quote."""
    safe = clean(str(text)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return safe.replace('"', "&#34;").replace("'", "&#39;")


def at(value: float) -> str:
    """Write a coordinate: two decimals at most.

    >>> at(12.0), at(0.126), at(-0.001)
    ('12', '0.13', '0')
    """
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def ticks(low: float, high: float, *, most: int = 6) -> list[float]:
    """Choose round values that cover a range: steps of 1, 2 or 5 times a power of ten.

    >>> ticks(71.3, 84.9, most=5)
    [70.0, 75.0, 80.0, 85.0]
    """
    if not high - low > 1e-9 * max(1.0, abs(low), abs(high)):  # one value, but for rounding
        low, high = low - 0.5, low + 0.5
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def tick_text(value: float, step: float) -> str:
    """Write a tick with as many decimals as its step needs."""
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0
    return f"{value:,.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def tick_texts(values: Sequence[float]) -> list[str]:
    """Write all ticks of an axis alike."""
    step = values[1] - values[0] if len(values) > 1 else 1.0
    return [tick_text(v, step) for v in values]


@dataclass(frozen=True, slots=True)
class Span:
    """Maps values onto a stretch of the picture: ``low`` falls on ``start``, ``high`` on ``end``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Give the place of a value; what lies outside is drawn at the edge."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)


def text(x: str, y: str, words: object, *, css: str = "", anchor: str = "start", shift: str = "") -> str:
    """Write words at a place; coordinates are text, since some are percentages."""
    kind = f' class="{css}"' if css else ""
    side = f' text-anchor="{anchor}"' if anchor != "start" else ""
    down = f' dy="{shift}"' if shift else ""
    return f'<text x="{x}" y="{y}"{down}{side}{kind}>{escape(words)}</text>'


def line(x1: str, y1: str, x2: str, *, y2: str, css: str) -> str:
    """Draw a straight line between two places."""
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="{css}"/>'


def polyline(points: Iterable[tuple[float, float]], css: str, *, title: str = "") -> str:
    """Draw a line through points; ``title`` shows when it is pointed at."""
    path = " ".join(f"{at(x)},{at(y)}" for x, y in points)
    return f'<polyline points="{path}" class="{css}">{titled(title)}</polyline>'


def titled(words: str) -> str:
    """Give a mark the words that show when it is pointed at."""
    return f"<title>{escape(words)}</title>" if words else ""


def picture(parts: Iterable[str], label: str, *, width: float, height: float, css: str = "") -> str:
    """Make one picture of its parts, with what a screen reader says instead of it."""
    box = f'viewBox="0 0 {at(width)} {at(height)}"'
    inside = "".join(parts)
    return f'<svg {box} class="chart {css}" role="img" aria-label="{escape(label)}">{inside}</svg>'


def strip(parts: Iterable[str], css: str) -> str:
    """Make a picture that is as wide as its place and never scales its letters; the words beside it say the same."""
    return f'<svg class="{css}" width="100%" height="100%" aria-hidden="true">{"".join(parts)}</svg>'
