"""What the commands around prepared folders print for people."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from formtune.cli.printing import Made, Values, put_grid, put_line, put_table

if TYPE_CHECKING:
    from rich.console import Console

    from formtune.results import Result


def prepared(console: "Console", made: "Result") -> None:
    """Show what a prepared folder holds, what it was mixed of, then some of its sequences."""
    from formtune.reports import console_example

    values = made.to_dict()
    hidden = ("shown", "mixed")
    put_grid(console, {name: value for name, value in values.items() if name not in hidden and value not in (None, {})})
    if values.get("mixed"):
        put_line(console, "")
        _sources(console, values["mixed"])
    for example in made.shown:
        put_line(console, "")
        console.print(console_example(example), highlight=False)


def mixture(console: "Console", made: Made) -> None:
    """Show a line for each source, then the whole."""
    values = made.to_dict()
    _sources(console, values["sources"])
    put_line(console, "")
    put_grid(console, {name: value for name, value in values.items() if name != "sources"})


def exported(console: "Console", made: Made) -> None:
    """Show what was written, then what to tell the trainer."""
    values = made.to_dict()
    put_grid(console, {name: value for name, value in values.items() if name != "use"})
    put_line(console, "")
    for line in values["use"].splitlines():
        put_line(console, line)


def _sources(console: "Console", sources: Iterable[Values]) -> None:
    names = ("folder", "weight", "share_asked", "share", "sequences", "tokens", "learned_tokens", "times_seen")
    put_table(console, sources, names)
