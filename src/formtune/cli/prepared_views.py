"""What the commands around prepared folders print for people."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from formtune.cli.printing import Made, Values, put_grid, put_line, put_table, said

if TYPE_CHECKING:
    from rich.console import Console

    from formtune.results import Result

_CHANGED = {
    "truncated": "cut to fit",
    "lossy": "without characters that the vocabulary lacks",
    "control_texts": "with control strings, which stay text",
    "corrupted": "masked anew in each epoch",
}


def preparation(console: "Console", made: Made) -> None:
    """Show what became of the rows, how many tokens that is, and how they share rows."""
    values = made.to_dict()
    n_rows, n_records = values["rows"], values["records"]
    rows = f"{n_rows:,}, all of them prepared" if n_rows == n_records else f"{n_rows:,}, {n_records:,} of them prepared"
    told = {"rows": rows, "tokens": _tokens(values), **_noted(values), "packed": _packed(values)}
    put_grid(console, told | {name: values[name] for name in ("digest", "engine", "out")})


def _tokens(values: Values) -> str:
    n_tokens, n_learned = values["tokens"], values["learned_tokens"]
    if not n_learned and values.get("output") == "head":
        return f"{n_tokens:,}; a class is learned of each sequence"
    if not n_learned and values.get("corrupted"):
        return f"{n_tokens:,}"
    return f"{n_tokens:,}, {n_learned:,} of them learned ({100 * n_learned / max(1, n_tokens):.1f} %)"


def _noted(values: Values) -> Values:
    """Say what happened to some sequences, where it did."""
    notes = "; ".join(f"{values[name]:,} {text}" for name, text in _CHANGED.items() if values.get(name))
    return {"of these": notes} if notes else {}


def _packed(values: Values) -> str:
    n_packs = values["packs"]
    if values["packing"] == "none":
        return f"{n_packs:,} row{'' if n_packs == 1 else 's'} of a sequence each"
    rows = f"{n_packs:,} row{'' if n_packs == 1 else 's'} of at most {values['capacity']} tokens"
    return f"{rows}, {100 * values['filled']:.1f} % full ({values['packing']})"


def prepared(console: "Console", made: "Result") -> None:
    """Show what a prepared folder holds, what it was mixed of, then some of its sequences."""
    from formtune.reports import console_example

    values = made.to_dict()
    put_grid(console, dict(_holding(values)))
    if values.get("mixed"):
        put_line(console, "")
        _sources(console, values["mixed"])
    for example in made.shown:
        put_line(console, "")
        console.print(console_example(example), highlight=False)


def _holding(values: Values) -> Iterator[tuple[str, object]]:
    yield from ((name, values[name]) for name in ("kind", "format", "model", "dialect", "template", "libraries"))
    yield "sequences", _met(values)
    yield "tokens", _tokens(values)
    yield "lengths", values["lengths"]
    yield "packed", _packed(values)
    yield "rows filled", values["rows_filled"]
    yield "on disk", f"{values['bytes'] / 1e6:,.1f} MB, {said(values['bytes_a_token'])} bytes a token"
    if values["engine"]:
        yield "engine", values["engine"]


def _met(values: Values) -> str:
    n_sequences, n_records = values["sequences"], values["records"]
    return f"{n_sequences:,}" if n_sequences == n_records else f"{n_sequences:,}, {n_records:,} of them different"


def mixture(console: "Console", made: Made) -> None:
    """Show a line for each source, then the whole."""
    values = made.to_dict()
    _sources(console, values["sources"])
    put_line(console, "")
    counted = {"learned": "learned tokens", "rows": "sequences"}.get(values["by"], values["by"])
    told = {"asked for": f"{values['total']:,} {counted}", "sequences": _met(values), "tokens": _tokens(values)}
    put_grid(console, told | {"packed": _packed(values), "digest": values["digest"], "out": values["out"]})


def exported(console: "Console", made: Made) -> None:
    """Show what was written, then what to tell the trainer."""
    values = made.to_dict()
    n_rows, n_sequences = values["rows"], values["sequences"]
    rows = f"{n_rows:,}, a sequence each" if n_rows == n_sequences else f"{n_rows:,}, of {n_sequences:,} sequences"
    told = {"to": values["to"], "rows": rows, "tokens": _tokens(values)}
    if values["unlearned_sequences"]:
        told["nothing learned"] = f"of {values['unlearned_sequences']:,} sequences, which cost time and teach nothing"
    put_grid(console, told | {"out": values["out"]})
    put_line(console, "")
    for line in values["use"].splitlines():
        put_line(console, line)


def _sources(console: "Console", sources: Iterable[Values]) -> None:
    names = ("folder", "weight", "share_asked", "share", "sequences", "tokens", "learned_tokens", "times_seen")
    rows = ({name: f"{n:,}" if isinstance(n := one[name], int) else n for name in names} for one in sources)
    put_table(console, rows, names)
