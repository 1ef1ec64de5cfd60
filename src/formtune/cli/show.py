"""What a command prints: one JSON object, or the same for people to read."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from formtune.cli import accounts
from formtune.cli.flags import Common

if TYPE_CHECKING:
    from rich.console import Console

    from formtune.checks import Audit
    from formtune.results import Compared, Result

Values = Mapping[str, Any]
_LONG = frozenset(
    {"fixed", "left_out", "mended", "parts_lost", "predictions", "samples"}
)  # shown in ways of their own, or by --json alone
_MOST_LABELS = 30  # a column of texts, taken for labels, would flood the terminal
_MOST_CLASSES = 12  # more columns of a confusion matrix than that do not fit
_MOST_TRIALS = 10
_AS_ASKED = "not drawn"  # what the user's own --n-train, --n-dev and --n-test leave over


class Made(Protocol):
    """What a function of the pipeline gives back."""

    def to_dict(self) -> dict[str, Any]:
        """Give the object that ``--json`` prints."""


AnyMade = TypeVar("AnyMade", bound=Made)


def result(made: AnyMade, showing: "Callable[[Console, AnyMade], None]", common: Common) -> int:
    """Print a result and give the exit code: 2 where ``--strict`` finds something left out, else 0."""
    values = made.to_dict()
    faults = {name: list(values.get(name, ())) for name in ("left_out", "parts_lost")}
    left_out = [one for found in faults.values() for one in found]
    if common.json:
        plain_json(values)
    elif not common.quiet:
        console = _console()
        showing(console, made)
        for name, found in faults.items():
            _lines(console, accounts.faults(name, found, can_list="--quarantine FILE" if _is_of_files(values) else ""))
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
    _grid(console, made.to_dict())


def formats(console: "Console", made: Made) -> None:
    """Show what each format is, which data it takes for which shape of model, and why not the others."""
    values = made.to_dict()
    for name, facts in values["about"].items():
        _line(console, name, "bold")
        _line(console, f"  {facts['summary']}")
        for fact in ("formula", "wins", "loses", "source"):
            _line(console, f"  {fact}: {facts[fact]}", "dim")
        rows = {row["data"]: row["shapes"] for row in values["formats"] if row["format"] == name}
        served = {
            data: [shape for shape, why_not in shapes.items() if why_not is None] for data, shapes in rows.items()
        }
        for data in filter(served.get, served):
            _line(console, f"  {data}: {', '.join(served[data])}", "green")
        for line in _refusals(rows, [data for data in served if served[data]]):
            _line(console, f"  {line}", "yellow")
        _line(console, "")


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
    _lines(console, accounts.mended(values))
    hidden = {name for name in ("labels", "lengths") if name == "lengths" or not values.get(name)}
    _grid(
        console, {name: one for name, one in {**values, **_shortened(values, "labels")}.items() if name not in hidden}
    )
    lengths = [
        {"lengths": name.replace("_", " "), **found} for name, found in values.get("lengths", {}).items() if found
    ]
    if lengths:
        _line(console, "")
        _table(console, lengths, tuple(lengths[0]))
        _line(console, "")
    for sample in values.get("samples", ()):
        said_in_a_line = "  →  ".join(" ↵ ".join(sample[name].splitlines()) for name in ("input", "answer"))
        _line(console, f"{sample['at']}  {said_in_a_line}", "dim")


def prepared(console: "Console", made: "Result") -> None:
    """Show what a prepared folder holds, what it was mixed of, then some of its sequences."""
    from formtune.reports import console_example

    values = made.to_dict()
    hidden = ("shown", "mixed")
    _grid(console, {name: value for name, value in values.items() if name not in hidden and value not in (None, {})})
    if values.get("mixed"):
        _line(console, "")
        _sources(console, values["mixed"])
    for example in made.shown:
        _line(console, "")
        console.print(console_example(example), highlight=False)


def mixture(console: "Console", made: Made) -> None:
    """Show a line for each source, then the whole."""
    values = made.to_dict()
    _sources(console, values["sources"])
    _line(console, "")
    _grid(console, {name: value for name, value in values.items() if name != "sources"})


def exported(console: "Console", made: Made) -> None:
    """Show what was written, then what to tell the trainer."""
    values = made.to_dict()
    _grid(console, {name: value for name, value in values.items() if name != "use"})
    _line(console, "")
    for line in values["use"].splitlines():
        _line(console, line)


def _sources(console: "Console", sources: Iterable[Values]) -> None:
    names = ("folder", "weight", "share_asked", "share", "sequences", "tokens", "learned_tokens", "times_seen")
    _table(console, sources, names)


def conversion(console: "Console", made: Made) -> None:
    """Show what was mended and written, and a line for each key that the dialect cannot carry."""
    values = made.to_dict()
    _lines(console, accounts.mended(values))
    shown = {"dialect": values["dialect"], "to": values["to"], "rows in": accounts.account(values)}
    _grid(console, shown | {name: values[name] for name in ("out", "lost", "quarantine") if values.get(name)})
    _lines(console, accounts.not_carried(values))
    _lines(console, accounts.added(values))


def _shortened(values: Values, name: str) -> Values:
    """Keep the first entries of a long mapping, and say how many more there are."""
    whole = values.get(name) or {}
    n_more = len(whole) - _MOST_LABELS
    return {name: {**dict(list(whole.items())[:_MOST_LABELS]), "and": f"{n_more} more"}} if n_more > 0 else {}


def preview(console: "Console", made: "Result", *, with_ids: bool = False) -> None:
    """Show the tokens of a record, in each of the formats that were asked for; with their ids a line each."""
    from formtune.reports import console_example

    values = made.to_dict()
    _grid(console, {name: values[name] for name in ("record", "place", "out") if values.get(name)})
    for example in made.shown:
        _line(console, "")
        console.print(console_example(example, with_ids=with_ids), highlight=False)


def audit(made: "Audit", *, out: str | None) -> None:
    """Show what the checks found, and where it was written."""
    from formtune.reports.audits import console_audit

    console = _console()
    values = made.to_dict()
    console.print(console_audit(values), highlight=False)
    if "fixed" in values:
        fixed = values["fixed"]
        _grid(console, {"fixed data": fixed["out"], "rows in": accounts.account(fixed)})
        _lines(console, accounts.fixed(fixed))
    _grid(console, {"written": out, **made.more} if out else made.more)


def training(console: "Console", made: Made) -> None:
    """Show what a training came to: its best update, the test, what it took and spared, where it lies."""
    values = made.to_dict()
    best = dict(values["best"])
    run, unit = values["run"], _unit(values)
    lines = {
        "best": f"update {best.pop('step')} of {values['steps']}{_after(best)}",
        "test": said(values["metrics"]),
        "written": said(values.get("written")),
        "invalid": said(values["invalid"]) if values.get("invalid") else "",
        "trained": f"{values['parameters_trained']:,} weights on {values['learned_tokens']:,} {unit}",
        "time": f"{_time(values['total_seconds'])}, of it {_time(values['seconds'])} for the updates: "
        f"{values['learned_tokens_per_second']:,.0f} {unit} a second",
        "computed": _computed(values),
        "memory": _memory(values["peak_mb"]),
        "run": run,
        "picture": f"{run}/trace.svg",
    }
    _grid(console, {name: line for name, line in lines.items() if line and line != "–"})


def forecast(console: "Console", made: Made) -> None:
    """Show what a training, or a comparison arm by arm, will come to, and what that was measured on."""
    values = made.to_dict()
    for arm in values.get("arms", ()):
        _line(console, arm["arm"], "bold")
        _foretold(console, arm)
        _line(console, "")
    if "arms" in values:
        _line(console, "together", "bold")
    _foretold(console, values)


def _foretold(console: "Console", values: Values) -> None:
    machine, measured = values["machine"], values.get("calibration")
    per_update_s = values["seconds"] / max(1, values["updates"])
    n_arms = values.get("arms_at_once", 1)
    lines = {
        "updates": f"{values['updates']:,}, each {_time(per_update_s)}",
        "tokens": f"{values['tokens']:,}, with {values['learned_tokens']:,} {_unit(values)}",
        "computed": _computed(values) if "saved" in values else f"{values['computed_tokens']:,.0f} tokens",
        "operations": f"{values['flops'] / 1e12:,.3g} TFLOP forward and backward",
        "memory": _memory(values["peak_mb"]),
        "time": f"{_time(values['total_seconds'])}: updates {_time(values['seconds'])}, "
        f"looks at dev {_time(values['look_seconds'])}, answers {_time(values['answer_seconds'])}, "
        f"loading {_time(values['load_seconds'])}",
        "machine": f"{machine['device']}, {machine['threads']} threads, {machine['precision']}"
        + (f", {n_arms} arms at a time" if n_arms > 1 else ""),
    }
    if measured:
        lines["measured"] = (
            f"{measured['updates']} updates of {measured['tokens']:,} tokens in {_time(measured['seconds'])}: "
            f"{measured['flops_per_second'] / 1e9:,.3g} GFLOP a second, and "
            f"{_time(measured['seconds_of_every_update'])} for every update"
        )
    _grid(console, lines)


def _after(best: Values) -> str:
    return f", dev: {said(best)}" if best else ""


def _unit(values: Values) -> str:
    """Name what is learned: a class head learns a class of each example, and no token."""
    return "learned tokens" if values.get("saved", {}).get("logits", 0) is not None else "learned examples"


def _time(seconds: float) -> str:
    from formtune.reports import quantities

    return quantities.seconds(seconds)


def _memory(megabytes: float) -> str:
    """Say the most memory that was held; nothing where the kernel did not tell."""
    return f"{megabytes / 1024:.2f} GB at its peak" if megabytes else ""


def _computed(values: Values) -> str:
    """Say how much was computed of what padding computes, and where the rest went."""
    names = {"packing": "no padding", "prefixes": "shared beginnings", "trunk": "frozen trunk"}
    parts = [f"{names[name]} {100 * values['saved'][name]:.0f} %" for name in names if values["saved"][name] >= 0.005]
    spared = f" ({', '.join(parts)} less)" if parts else ""
    logits = values["saved"]["logits"]
    scores = "" if logits is None else f"; vocabulary scored at {100 * (1 - logits):.0f} % of the places"
    return f"{100 * values['computed_share']:.0f} % of the padded tokens{spared}{scores}"


def evaluation(console: "Console", made: Made) -> None:
    """Show the metrics, then how well each class is told from the others, and what it is taken for."""
    values = made.to_dict()
    kept = ("run", "n", "invalid")
    _grid(console, {**{name: values[name] for name in kept if values.get(name) is not None}, **values["metrics"]})
    if values.get("classes"):
        _line(console, "")
        _table(console, values["classes"], ("label", "precision", "recall", "f1", "n_gold", "n_predicted"))
    confused = values.get("confusion")
    if confused and len(confused["labels"]) <= _MOST_CLASSES:
        _line(console, "\nright label below, answer beside")
        labels = [str(label) for label in confused["labels"]]
        named = zip(labels, confused["counts"], strict=True)
        rows = [{"": label, **dict(zip(labels, counts, strict=True))} for label, counts in named]
        _table(console, rows, ("", *labels))


def tuning(console: "Console", made: Made) -> None:
    """Show what the search found, its best trials, and which settings told them from the others."""
    values = made.to_dict()
    _line(console, values["note"], "bold")
    _line(console, "")
    rows = [{**row, **_short(row["values"])} for row in values["trials"]]
    _table(console, rows[:_MOST_TRIALS], ("trial", "score", "loss", "state", *_short(values["best"]["values"])))
    if len(rows) > _MOST_TRIALS:
        _line(console, f"and {len(rows) - _MOST_TRIALS} more", "dim")
    _line(console, "")
    shares = {name: f"{100 * share:.0f} %" for name, share in _short(values["importance"]).items()}
    kept = ("own_score", "metrics", "run", "recipe", "picture")
    _grid(console, {"importance": shares or values["no_importance"], **{name: values[name] for name in kept}})


def _short(by_place: Values) -> Values:
    """Leave the sections away that places begin with."""
    return {place.split(".", 1)[-1]: value for place, value in by_place.items()}


def predictions(console: "Console", made: Made) -> None:
    """Show an answer a line."""
    _table(console, made.to_dict()["predictions"], ("id", "answer", "confidence", "valid"))


def kept(console: "Console", made: Made) -> None:
    """Show the kept states, a line for each frozen bottom."""
    values = made.to_dict()
    _grid(console, {name: value for name, value in values.items() if name != "kept"})
    if values["kept"]:
        _line(console, "")
        _table(console, values["kept"], ("model", "boundary", "blocks", "precision", "size_mb", "used"))


def comparison(console: "Console", made: "Compared") -> None:
    """Show the verdict, then a line per arm, then advice and where to read more."""
    from formtune.reports import console_table

    for name, other in made.others.items():
        _line(console, f"{name}:")
        comparison(console, other)
        _line(console, "")
    values = made.to_dict()
    _line(console, values["verdict"], "bold")
    _line(console, "")
    console.print(console_table(made.report), highlight=False)
    _line(console, "")
    for advice in values.get("advice", ()):
        _line(console, advice, "dim")
    _grid(console, {name: values[name] for name in ("best_run", "report") if values.get(name)})
    for one in values.get("predictions", ()):
        _line(console, f"  {one['text']}  →  {said(one['answer'])} ({said(one['confidence'])})")


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

    # A file or a pipe has no width: lines stay whole, and tables get room.
    return Console() if sys.stdout.isatty() else Console(soft_wrap=True, width=120)


def _line(console: "Console", text: str, style: str | None = None) -> None:
    console.print(_harmless(text), style=style, highlight=False, markup=False)


def _lines(console: "Console", lines: Iterable[accounts.Line]) -> None:
    for text, style in lines:
        _line(console, text, style)


def _table(console: "Console", rows: Iterable[Values], names: Sequence[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(Text(_harmless(name.replace("_", " "))))
    for row in rows:
        table.add_row(*(Text(_harmless(said(row[name]))) for name in names))
    console.print(table, highlight=False)


def _grid(console: "Console", values: Values) -> None:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in values.items():
        if name not in _LONG:
            grid.add_row(Text(name.replace("_", " ")), Text(_harmless(said(value))))
    console.print(grid, highlight=False)


def _harmless(text: str) -> str:
    """Show control characters as pictures, so that no text from data can steer the terminal."""
    from formtune.reports.svg import clean

    return clean(text)
