"""What a command prints: one JSON object, or the same for people to read."""

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from formtune.cli.flags import Common

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

Values = Mapping[str, Any]
Showing = Callable[["Console", Values], None]
_AS_ASKED = "not drawn"  # what the user's own --n-train, --n-dev and --n-test leave over
_PARTS = {"scaffold": "dim", "content": "", "target": "bold green", "control": "dim magenta"}


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
    n_left_out = sum(one["rows"] for one in values.get("left_out", ()) if not one["reason"].startswith(_AS_ASKED))
    if not (common.strict and n_left_out):
        return 0
    sys.stderr.write(f"--strict: {n_left_out} rows were left out. Mend them, or go on without --strict.\n")
    return 2


def plain_json(values: object) -> int:
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
        if name not in ("left_out", "samples"):
            grid.add_row(name.replace("_", " "), said(value))
    console.print(grid, highlight=False)


def formats(console: "Console", values: Values) -> None:
    """Show what each format is, and which data it takes for which shape of model."""
    from formtune.formats import FORMATS

    for name, chosen in FORMATS.items():
        console.print(f"[bold]{name}[/bold]  {chosen.summary}", highlight=False)
        for fact in ("formula", "wins", "loses", "source"):
            console.print(f"  {fact}: {getattr(chosen, fact)}", highlight=False, markup=False)
        for row in values["formats"]:
            shapes = [shape for shape, why_not in row["shapes"].items() if why_not is None]
            if row["format"] == name and shapes:
                console.print(f"  {row['data']}: {', '.join(shapes)}", style="green", highlight=False, markup=False)
        console.print()


def inspection(console: "Console", values: Values) -> None:
    """Show what a file is, then some of its records."""
    numbers(console, values)
    for sample in values.get("samples", ()):
        line = f"{sample['at']}  {sample['input']}  →  {sample['answer']}"
        console.print(line, style="dim", highlight=False, markup=False)


def preview(console: "Console", values: Values) -> None:
    """Show the tokens of a record: learned ones stand out, the format's own wording steps back."""
    numbers(console, {name: value for name, value in values.items() if name not in ("text", "tokens")})
    console.print()
    console.print(_tokens(values["tokens"]), soft_wrap=True)
    console.print(
        "\nunderlined: learned; green: the answer; dim: the format's own wording", style="dim", highlight=False
    )


def predictions(console: "Console", values: Values) -> None:
    """Show an answer a line, then the metrics where the right answers were known."""
    from rich.table import Table

    table = Table("id", "answer", "confidence", "valid", box=None, pad_edge=False)
    for one in values["predictions"]:
        table.add_row(*(said(one[name]) for name in ("id", "answer", "confidence", "valid")))
    console.print(table, highlight=False)
    if values.get("metrics"):
        numbers(console, values["metrics"])


def comparison(console: "Console", values: Values) -> None:
    """Show the verdict, then a line per arm, then where to read more."""
    from rich.table import Table

    console.print(values["verdict"], style="bold", highlight=False, markup=False)
    console.print()
    table = Table("arm", said(values["metric"]), "interval", "invalid", "ms per answer", box=None, pad_edge=False)
    for name, arm in values["formats"].items():
        interval = f"{said(arm['low'])} to {said(arm['high'])}"
        table.add_row(name, said(arm["mean"]), interval, said(arm["invalid"]), said(arm["cost"].get("ms_per_answer")))
    console.print(table, highlight=False)
    console.print()
    numbers(console, {name: values[name] for name in ("winner", "best_run", "report") if values.get(name)})
    for one in values.get("predictions", ()):
        console.print(f"  {said(one.get('text'))}  →  {said(one['answer'])}", highlight=False, markup=False)


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


def _console() -> "Console":
    from rich.console import Console

    return Console(soft_wrap=not sys.stdout.isatty())


def _tokens(tokens: Iterable[Values]) -> "Text":
    from rich.text import Text

    text = Text()
    for token in tokens:
        style = _PARTS[token["part"]]
        text.append(token["text"], style=f"{style} underline" if token["weight"] > 0 else style)
        text.append("|", style="dim blue")
    return text


def _left_out(console: "Console", entries: Iterable[Values]) -> None:
    for entry in entries:
        more = ", ..." if entry["rows"] > len(entry["places"]) else ""
        line = f"left out: {entry['rows']} × {entry['reason']} ({', '.join(entry['places'])}{more})"
        console.print(line, style="yellow", highlight=False, markup=False)
