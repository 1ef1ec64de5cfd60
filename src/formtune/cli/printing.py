"""Text on a terminal or in a pipe: lines, grids and tables, with numbers in a few characters."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from formtune.cli import accounts

if TYPE_CHECKING:
    from rich.console import Console

Values = Mapping[str, Any]
# Shown in ways of their own, or by --json alone.
_LONG = frozenset({"fixed", "left_out", "mended", "n_mended", "parts_lost", "predictions", "redacted", "samples"})


class Made(Protocol):
    """What a function of the pipeline gives back."""

    def to_dict(self) -> dict[str, Any]:
        """Give the object that ``--json`` prints."""


def said(value: object) -> str:
    """Say a value in a few characters: numbers to four digits, lists and tables in a line.

    >>> said({"accuracy": 0.81251, "by_seed": [0.8, None], "valid": True})
    'accuracy 0.8125, by_seed 0.8 –, valid yes'
    """
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}"
        case Mapping():
            between = "; " if any(isinstance(inner, Mapping) for inner in value.values()) else ", "
            return between.join(f"{name} {said(inner)}" for name, inner in value.items())
        case list() | tuple():
            return " ".join(said(inner) for inner in value)
    return str(value)


def new_console() -> "Console":
    """Make what prints on standard output."""
    from rich.console import Console

    # A file or a pipe has no width: lines stay whole, and tables get room.
    return Console() if sys.stdout.isatty() else Console(soft_wrap=True, width=120)


def put_line(console: "Console", text: str, style: str | None = None) -> None:
    """Print a line, nothing of which can steer the terminal."""
    console.print(harmless(text), style=style, highlight=False, markup=False)


def put_lines(console: "Console", lines: Iterable[accounts.Line]) -> None:
    """Print lines, each in its style."""
    for text, style in lines:
        put_line(console, text, style)


def put_table(console: "Console", rows: Iterable[Values], names: Sequence[str]) -> None:
    """Print rows below the names of their columns."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(Text(harmless(name.replace("_", " "))))
    for row in rows:
        table.add_row(*(Text(harmless(said(row[name]))) for name in names))
    console.print(table, highlight=False)


def put_grid(console: "Console", values: Values) -> None:
    """Print names and values, a line each."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in values.items():
        if name not in _LONG:
            grid.add_row(Text(name.replace("_", " ")), Text(harmless(said(value))))
    console.print(grid, highlight=False)


def harmless(text: str) -> str:
    """Show control characters as pictures, so that no text from data can steer the terminal."""
    from formtune.reports.svg import clean

    return clean(text)
