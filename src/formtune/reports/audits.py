"""What the checks found, as a page and as lines in a terminal: plain values in, text out."""

from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from formtune.reports import quantities
from formtune.reports.figures import histogram, shares
from formtune.reports.svg import clean

STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
N_PLACES = 5  # of each finding on a terminal
N_DETAILS = 3
N_PLACES_ON_PAGE = 50
N_DETAILS_ON_PAGE = 5  # that stand open; the others are a click away


def audit_html(values: Mapping[str, Any]) -> str:
    """Lay findings out as one HTML page that loads nothing."""
    environment = Environment(
        loader=PackageLoader("formtune.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
    )
    environment.filters.update(count=quantities.count, seconds=quantities.seconds)
    environment.globals.update(histogram=histogram, shares=shares)
    return environment.get_template("audit.html").render(
        **values, headline=headline(values), n_places=N_PLACES_ON_PAGE, n_details=N_DETAILS_ON_PAGE
    )


def headline(values: Mapping[str, Any]) -> str:
    """Say what was found in a line.

    >>> headline({"counts": {"error": 1, "warning": 2, "note": 0}, "records": {"a.csv": 1200}})
    '1 error, 2 warnings, 0 notes in 1,200 records'
    """
    counts = ", ".join(f"{n:,} {name}{'' if n == 1 else 's'}" for name, n in values["counts"].items())
    n_records = sum(values["records"].values())
    return f"{counts} in {n_records:,} record{'' if n_records == 1 else 's'}"


def console_audit(values: Mapping[str, Any]) -> RenderableType:
    """Write findings for a terminal, the gravest first, then how long each check took."""
    return Group(
        *(row for one in values["findings"] for row in _lines(one)), _times(values), Text(headline(values), "bold")
    )


def _lines(one: Mapping[str, Any]) -> Iterator[Text]:
    head = Text(f"{one['code']} {one['severity']}", STYLES[one["severity"]])
    yield head.append(f"  {clean(one['problem'])}", "bold")
    more = ", ..." if len(one["places"]) > N_PLACES else ""
    yield Text(f"  at {clean(', '.join(one['places'][:N_PLACES]))}{more}")
    for detail in one["details"][:N_DETAILS]:
        yield Text(f"  {clean(detail)}", "dim")
    yield Text(f"  {one['remedy']}", "green")
    yield Text("")


def _times(values: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name, side in (("check", "left"), ("findings", "right"), ("time", "right"), ("", "left")):
        table.add_column(name, justify="right" if side == "right" else "left")
    for row in values["checks"]:
        why_not = "" if row["not_checked"] is None else f"not checked: {clean(row['not_checked'])}"
        table.add_row(row["check"], str(row["findings"]), quantities.seconds(row["seconds"]), Text(why_not, "dim"))
    return table


def _finalized(value: object) -> object:
    return clean(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
