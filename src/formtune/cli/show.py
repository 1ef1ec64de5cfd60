"""What a command prints: one JSON object, or the same for people to read."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import msgspec

from formtune.cli import accounts
from formtune.cli.flags import Common
from formtune.cli.printing import Made, Values, new_console, put_grid, put_line, put_lines, put_table, said

if TYPE_CHECKING:
    from rich.console import Console

    from formtune.checks import Audit
    from formtune.results import Compared, Result

_MOST_LABELS = 30  # a column of texts, taken for labels, would flood the terminal
_MOST_CLASSES = 12  # more columns of a confusion matrix than that do not fit
_MOST_TRIALS = 10
_AS_ASKED = "not drawn"  # what the user's own --n-train, --n-dev and --n-test leave over


AnyMade = TypeVar("AnyMade", bound=Made)


def result(made: AnyMade, showing: "Callable[[Console, AnyMade], None]", common: Common) -> int:
    """Print a result and give the exit code: 2 where ``--strict`` finds something left out, else 0."""
    values = made.to_dict()
    faults = {name: list(values.get(name) or ()) for name in ("left_out", "parts_lost")}
    left_out = [one for found in faults.values() for one in found]
    if common.json:
        plain_json(values)
    elif not common.quiet:
        console = new_console()
        showing(console, made)
        for name, found in faults.items():
            put_lines(
                console, accounts.faults(name, found, can_list="--quarantine FILE" if _is_of_files(values) else "")
            )
    n_left_out = sum(entry["rows"] for entry in left_out if not entry["reason"].startswith(_AS_ASKED))
    if not (common.strict and n_left_out):
        return 0
    sys.stderr.write(f"--strict: {n_left_out} rows were left out. Mend them, or go on without --strict.\n")
    return 2


def _is_of_files(values: Values) -> bool:
    """Say whether a command can list the faults of what it read: ``inspect`` and ``convert``, if they have not done so."""
    return ("evidence" in values or "rows_in" in values) and not values.get("quarantine")


def plain_json(values: object) -> int:
    """Print one JSON object; a number that JSON does not know becomes null."""
    # msgspec writes NaN and infinities as null, where Python's json would write words that no other reader takes.
    return plain_text(msgspec.json.encode(values).decode() + "\n")


def plain_text(text: str) -> int:
    """Print text as it is."""
    sys.stdout.write(text)
    return 0


def numbers(console: "Console", made: Made) -> None:
    """Show names and values, a line each."""
    put_grid(console, made.to_dict())


def formats(console: "Console", made: Made) -> None:
    """Show what each format is, which data it takes for which shape of model, and why not the others."""
    values = made.to_dict()
    for name, facts in values["about"].items():
        put_line(console, name, "bold")
        put_line(console, f"  {facts['summary']}")
        for fact in ("formula", "wins", "loses", "source"):
            put_line(console, f"  {fact}: {facts[fact]}", "dim")
        rows = {row["data"]: row["shapes"] for row in values["formats"] if row["format"] == name}
        served = {
            data: [shape for shape, why_not in shapes.items() if why_not is None] for data, shapes in rows.items()
        }
        for data in filter(served.get, served):
            put_line(console, f"  {data}: {', '.join(served[data])}", "green")
        for line in _refusals(rows, [data for data in served if served[data]]):
            put_line(console, f"  {line}", "yellow")
        put_line(console, "")


def dialects(console: "Console", made: Made) -> None:
    """Show what each dialect is, and what it needs."""
    for row in made.to_dict()["dialects"]:
        put_line(console, row["dialect"], "bold")
        put_line(console, f"  {row['what']}")
        put_line(console, f"  needs {row['needs']}", "dim")


def _refusals(rows: Mapping[str, Mapping[str, str | None]], served: Sequence[str]) -> Iterator[str]:
    """Say why the other cells are empty, a line for each reason; data that all share it, and no more, go unnamed."""
    refused: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for one, shapes in rows.items():
        for reason in dict.fromkeys(filter(None, shapes.values())):
            whom = tuple(shape for shape, why_not in shapes.items() if why_not == reason)
            refused.setdefault((reason, whom), []).append(one)
    for (reason, whom), data in refused.items():
        what = "" if data == served else f" {'; '.join(data)}"
        on = "" if data != served and len(whom) == len(rows[data[0]]) else f" on {', '.join(whom)}"
        yield f"not{what}{on}: {reason}"


def inspection(console: "Console", made: Made) -> None:
    """Show what was mended, what a file is, then some of its records."""
    values = made.to_dict()
    put_lines(console, accounts.mended(values))
    hidden = {name for name in ("labels", "lengths") if name == "lengths" or not values.get(name)}
    put_grid(
        console, {name: one for name, one in {**values, **_shortened(values, "labels")}.items() if name not in hidden}
    )
    lengths = [
        {"lengths": name.replace("_", " "), **found} for name, found in values.get("lengths", {}).items() if found
    ]
    if lengths:
        put_line(console, "")
        put_table(console, lengths, tuple(lengths[0]))
        put_line(console, "")
    for sample in values.get("samples", ()):
        said_in_a_line = "  →  ".join(" ↵ ".join(sample[name].splitlines()) for name in ("input", "answer"))
        put_line(console, f"{sample['at']}  {said_in_a_line}", "dim")


def conversion(console: "Console", made: Made) -> None:
    """Show what was mended and written, and a line for each key that the dialect cannot carry."""
    values = made.to_dict()
    put_lines(console, accounts.mended(values))
    shown = {"dialect": values["dialect"], "to": values["to"], "rows in": accounts.account(values)}
    put_grid(console, shown | {name: values[name] for name in ("out", "lost", "quarantine") if values.get(name)})
    put_lines(console, accounts.not_carried(values))
    put_lines(console, accounts.added(values))


def _shortened(values: Values, name: str) -> Values:
    """Keep the first entries of a long mapping, and say how many more there are."""
    whole = values.get(name) or {}
    n_more = len(whole) - _MOST_LABELS
    return {name: {**dict(list(whole.items())[:_MOST_LABELS]), "and": f"{n_more} more"}} if n_more > 0 else {}


def preview(console: "Console", made: "Result", *, with_ids: bool = False) -> None:
    """Show the tokens of a record, in each of the formats that were asked for; with their ids a line each."""
    from formtune.reports import console_example

    values = made.to_dict()
    put_grid(console, {name: values[name] for name in ("record", "place", "out") if values.get(name)})
    for example in made.shown:
        put_line(console, "")
        console.print(console_example(example, with_ids=with_ids), highlight=False)


def audit(made: "Audit", *, out: str | None) -> None:
    """Show what the checks found, and where it was written."""
    from formtune.reports.audits import console_audit

    console = new_console()
    values = made.to_dict()
    console.print(console_audit(values), highlight=False)
    if "fixed" in values:
        fixed = values["fixed"]
        put_grid(console, {"fixed data": fixed["out"], "rows in": accounts.account(fixed)})
        put_lines(console, accounts.fixed(fixed))
    put_grid(console, {name: value for name, value in {"written": out, **made.more}.items() if value})
    if "redacted" in values:
        redacted = values["redacted"]
        put_grid(console, {"redacted data": redacted["out"], "replaced": redacted["replaced"] or "nothing"})
        put_lines(console, accounts.faults("left_out", redacted["left_out"]))


def evaluation(console: "Console", made: Made) -> None:
    """Show the metrics, then how well each class is told from the others, and what it is taken for."""
    values = made.to_dict()
    kept = ("run", "n", "invalid")
    put_grid(console, {**{name: values[name] for name in kept if values.get(name) is not None}, **values["metrics"]})
    if values.get("classes"):
        put_line(console, "")
        put_table(console, values["classes"], ("label", "precision", "recall", "f1", "n_gold", "n_predicted"))
    confused = values.get("confusion")
    if confused and len(confused["labels"]) <= _MOST_CLASSES:
        put_line(console, "\nright label below, answer beside")
        labels = [str(label) for label in confused["labels"]]
        named = zip(labels, confused["counts"], strict=True)
        rows = [{"": label, **dict(zip(labels, counts, strict=True))} for label, counts in named]
        put_table(console, rows, ("", *labels))


def tuning(console: "Console", made: Made) -> None:
    """Show what the search found, its best trials, and which settings told them from the others."""
    values = made.to_dict()
    put_line(console, values["note"], "bold")
    put_line(console, "")
    rows = [{**row, **_short(row["values"])} for row in values["trials"]]
    put_table(console, rows[:_MOST_TRIALS], ("trial", "score", "loss", "state", *_short(values["best"]["values"])))
    if len(rows) > _MOST_TRIALS:
        put_line(console, f"and {len(rows) - _MOST_TRIALS} more", "dim")
    put_line(console, "")
    shares = {name: f"{100 * share:.0f} %" for name, share in _short(values["importance"]).items()}
    kept = ("own_score", "metrics", "run", "recipe", "picture")
    put_grid(console, {"importance": shares or values["no_importance"], **{name: values[name] for name in kept}})


def _short(by_place: Values) -> Values:
    """Leave the sections away that places begin with."""
    return {place.split(".", 1)[-1]: value for place, value in by_place.items()}


def predictions(console: "Console", made: Made) -> None:
    """Show an answer a line."""
    put_table(console, made.to_dict()["predictions"], ("id", "answer", "confidence", "valid"))


def kept(console: "Console", made: Made) -> None:
    """Show the kept states, a line for each frozen bottom."""
    values = made.to_dict()
    put_grid(console, {name: value for name, value in values.items() if name != "kept"})
    if values["kept"]:
        put_line(console, "")
        put_table(console, values["kept"], ("model", "boundary", "blocks", "precision", "size_mb", "used"))


def comparison(console: "Console", made: "Compared") -> None:
    """Show the verdict, then a line per arm, then advice and where to read more."""
    from formtune.reports import console_table

    for name, other in made.others.items():
        put_line(console, f"{name}:")
        comparison(console, other)
        put_line(console, "")
    values = made.to_dict()
    put_line(console, values["verdict"], "bold")
    put_line(console, "")
    console.print(console_table(made.report), highlight=False)
    put_line(console, "")
    for advice in values.get("advice", ()):
        put_line(console, advice, "dim")
    put_grid(console, {name: values[name] for name in ("best_run", "report") if values.get(name)})
    for one in values.get("predictions", ()):
        put_line(console, f"  {one['text']}  →  {said(one['answer'])} ({said(one['confidence'])})")
