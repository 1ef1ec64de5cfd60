"""What became of rows, in lines of text, each with its style on a terminal."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from formtune.faults import fault_of

Values = Mapping[str, Any]
Line = tuple[str, str | None]
_NOTHING = "Nothing is to be done"  # the remedy of what was asked for


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


def faults(name: str, found: Iterable[Values], *, can_list: str = "") -> Iterator[Line]:
    """Say of each reason why rows were left out, or lost a part, how to mend it.

    Args:
        name: ``left_out`` or ``parts_lost``.
        found: the reasons, each with its rows and the first places.
        can_list: the flag that lists every place, said where there are more than are shown.
    """
    is_cut = False
    for one in found:
        yield f"{'left out' if name == 'left_out' else 'kept, but for a part'}: {entry(one)}", "yellow"
        fault = fault_of(one["reason"])
        if fault and not fault.remedy.startswith(_NOTHING):
            yield f"  {fault.remedy}", "green"
        is_cut = is_cut or one["rows"] > len(one["places"])
    if is_cut and can_list:
        yield f"Every place, with what was found there: {can_list}.", "dim"


def mended(values: Values) -> Iterator[Line]:
    """Show each row that was repaired, as it was and as it is."""
    for one in values.get("mended", ()):
        yield f"mended: {one['place']}: {'; '.join(one['notes'])}", "green"
        yield from ((line, "dim") for line in one["diff"].splitlines())
    n_more = values.get("n_mended", 0) - len(values.get("mended", ()))
    if n_more:
        yield f"mended: {n_more:,} more rows", "green"


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
