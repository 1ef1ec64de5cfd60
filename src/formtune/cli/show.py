"""What a command prints: one JSON object, or the same for people to read."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from formtune.cli.flags import Common

if TYPE_CHECKING:
    from rich.console import Console

Values = Mapping[str, Any]
Showing = Callable[["Console", Values], None]
_PARTS = {"scaffold": "dim", "content": "", "target": "bold green", "control": "dim magenta"}
_SHOWN_PLACES = 3


class Result(Protocol):
    """What a function of the pipeline gives back."""

    def to_dict(self) -> dict[str, Any]:
        """Give the object that ``--json`` prints."""


def result(made: Result, showing: Showing, common: Common) -> int:
    """Print a result and give the exit code: 2 where ``--strict`` finds something left out, else 0."""
    values = made.to_dict()
    if common.json:
        plain_json(values)
    elif not common.quiet:
        console = _console()
        showing(console, values)
        _left_out(console, values.get("left_out", ()))
    n_left_out = sum(entry["rows"] for entry in values.get("left_out", ()))
    if not (common.strict and n_left_out):
        return 0
    sys.stderr.write(f"--strict: {n_left_out} rows were left out. Mend them, or go on without --strict.\n")
    return 2


def plain_json(values: Values) -> int:
    """Print one JSON object; a number that JSON does not know becomes null."""
    # msgspec writes NaN and infinities as null, where Python's json would write words that no other reader takes.
    return plain_text(msgspec.json.encode(values).decode() + "\n")


def plain_text(text: str) -> int:
    """Print text as it is."""
    sys.stdout.write(text)
    return 0


def numbers(console: "Console", values: Values) -> None:
    """Show names and values, a line each."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in values.items():
        if name != "left_out":
            grid.add_row(name.replace("_", " "), _said(value))
    console.print(grid)


def formats(console: "Console", values: Values) -> None:
    """Show the matrix of formats and kinds, then what each format is."""
    from rich.table import Table

    kinds = values["kinds"]
    table = Table("format", *kinds, box=None, pad_edge=False)
    for name, entry in values["formats"].items():
        table.add_row(name, *(_cell(entry["cells"][kind]) for kind in kinds))
    console.print(table, "")
    for name, entry in values["formats"].items():
        console.print(f"[bold]{name}[/bold]  {entry['summary']}", highlight=False)
        for part in ("formula", "wins", "loses", "source"):
            console.print(f"  {part}: {entry[part]}", highlight=False, markup=False)


def inspection(console: "Console", values: Values) -> None:
    """Show what a file is, then some of its records."""
    numbers(console, {name: value for name, value in values.items() if name != "samples"})
    for sample in values.get("samples", ()):
        console.print(f"  {_said(sample)}", style="dim", highlight=False, markup=False)


def preview(console: "Console", values: Values) -> None:
    """Show the tokens of a record: learned ones stand out, the format's own wording steps back."""
    from rich.text import Text

    numbers(console, {name: value for name, value in values.items() if name not in ("text", "tokens", "previews")})
    for one in values.get("previews", [values]):
        text = Text()
        for token in one["tokens"]:
            style = _PARTS.get(token["part"], "")
            text.append(token["text"], style=f"{style} underline".strip() if token["weight"] > 0 else style)
            text.append("·", style="dim blue")
        console.print(text)
    console.print("underlined: learned · green: answer · dim: the format's wording", style="dim", highlight=False)


def predictions(console: "Console", values: Values) -> None:
    """Show an answer a line, then the metrics where the right answers were known."""
    from rich.table import Table

    table = Table("id", "answer", "confidence", "valid", box=None, pad_edge=False)
    for one in values["predictions"]:
        table.add_row(str(one["id"]), str(one["answer"]), _said(one["confidence"]), _said(one["valid"]))
    console.print(table)
    if values.get("metrics"):
        numbers(console, values["metrics"])


def comparison(console: "Console", values: Values) -> None:
    """Show the verdict, then a line per arm, then where to read more."""
    from rich.table import Table

    console.print(values["verdict"], style="bold", highlight=False, markup=False)
    table = Table("arm", str(values["metric"]), "interval", "invalid", "ms per answer", box=None, pad_edge=False)
    for name, arm in values["formats"].items():
        interval = f"{_said(arm['low'])} to {_said(arm['high'])}"
        table.add_row(name, _said(arm["mean"]), interval, _said(arm["invalid"]), _said(arm["cost"]["ms_per_answer"]))
    console.print(table)
    numbers(console, {name: values[name] for name in ("winner", "best_run", "report") if values.get(name)})
    for one in values.get("predictions", ()):
        console.print(f"  {one['text']}  →  {_said(one['answer'])}", highlight=False, markup=False)


def _console() -> "Console":
    from rich.console import Console

    return Console(soft_wrap=not sys.stdout.isatty())


def _left_out(console: "Console", entries: Sequence[Values]) -> None:
    for entry in entries:
        places = ", ".join(entry["first"][:_SHOWN_PLACES])
        at = f" ({places}{', ...' if entry['rows'] > _SHOWN_PLACES else ''})" if places else ""
        console.print(
            f"left out: {entry['rows']} × {entry['reason']}{at}", style="yellow", highlight=False, markup=False
        )


def _cell(entry: object) -> str:
    return str(entry) if isinstance(entry, str) else ", ".join(str(shape) for shape in entry)  # type: ignore[attr-defined]


def _said(value: object) -> str:
    """Say a value in a few characters: numbers to four digits, lists and tables in a line."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_said(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_said(inner) for inner in value)
    return str(value)
