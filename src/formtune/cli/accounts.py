"""What became of rows, in lines of text, each with its style on a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

Values = Mapping[str, Any]
Line = tuple[str, str | None]


def account(values: Values) -> str:
    """Say what became of the rows that came in: the numbers on the right add up to the one on the left.

    >>> account({"rows_in": 1200, "kept": 1190, "repaired": 7, "left_out": [{"rows": 2}, {"rows": 1}]})
    '1,200 = 1,190 kept + 7 repaired + 3 left out'
    """
    numbers = {name: values[name] for name in ("kept", "repaired")}
    lists = {name: values[name] for name in ("taken_out", "left_out") if name in values}
    numbers |= {name.replace("_", " "): sum(one["rows"] for one in listed) for name, listed in lists.items()}
    return f"{values['rows_in']:,} = {' + '.join(f'{n:,} {name}' for name, n in numbers.items())}"


def entry(values: Values) -> str:
    """Say how many rows share a reason, and where the first of them stand."""
    more = ", ..." if values["rows"] > len(values["places"]) else ""
    places = f" ({', '.join(values['places'])}{more})" if values["places"] else ""
    code = f"{values['code']} " if values.get("code") else ""
    return f"{values['rows']} × {code}{values['reason']}{places}"


def mended(values: Values) -> Iterator[Line]:
    """Show each row that was repaired, as it was and as it is."""
    for one in values.get("mended", ()):
        yield f"mended: {one['place']}: {'; '.join(one['notes'])}", "green"
        yield from ((line, "dim") for line in one["diff"].splitlines())


def not_carried(values: Values) -> Iterator[Line]:
    """Say which keys a dialect cannot carry."""
    for one in values["cannot_carry"]:
        yield f"cannot carry: {entry({**one, 'reason': one['key']})}", "yellow"


def added(values: Values) -> Iterator[Line]:
    """Say which keys a dialect needs and was given."""
    for one in values.get("added", ()):
        yield f"added: {entry({**one, 'reason': one['key']})}", "green"


def fixed(values: Values) -> Iterator[Line]:
    """Say what was put right, what was left out and lost, and what was not touched."""
    for name, style in (("mended", "green"), ("taken_out", "green"), ("left_out", "yellow")):
        yield from ((f"{name.replace('_', ' ')}: {entry(one)}", style) for one in values[name])
    yield from not_carried(values)
    if values["lost"]:
        yield f"lost: {values['lost']}", None
    counts = ", ".join(f"{one['rows']} × {one['code']}" for one in values["not_touched"])
    yield f"not touched: {counts or 'nothing else was found'}", None
