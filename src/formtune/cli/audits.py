"""What ``formtune check`` prints and writes, and the exit code that it ends with."""

import sys
from typing import TYPE_CHECKING

from formtune.cli import show
from formtune.errors import unknown

if TYPE_CHECKING:
    from formtune.checks import Audit


def check_severity(fail_on: str) -> None:
    """Refuse a severity that does not exist, before anything is read.

    Raises:
        SettingError: naming those that do.
    """
    known = ("error", "warning", "note", "none")
    if fail_on not in known:
        raise unknown("severity", fail_on, known, at="--fail-on")


def delivered(audit: "Audit", layout: str, *, out: str | None, json: bool, quiet: bool) -> None:
    """Write an audit in its layout, or print it so; where it is written, print the table, or with ``json`` the object."""
    from formtune.checks.layouts import LAYOUTS, TABLE, write_text

    if out is not None:
        write_text(LAYOUTS[layout](audit), out)
        layout = TABLE
    if json:
        show.plain_text(LAYOUTS["json"](audit))
    elif not quiet:
        show.audit(audit, out=out) if layout == TABLE else show.plain_text(LAYOUTS[layout](audit))


def exit_code(audit: "Audit", fail_on: str) -> int:
    """Give 2, and say why, where there are findings as grave as that; else 0."""
    from formtune.checks import failing

    n_failing = failing(audit.outcomes, fail_on)
    if not n_failing:
        return 0
    what = "1 finding is" if n_failing == 1 else f"{n_failing} findings are"
    grave = {"error": "an error" if n_failing == 1 else "errors"}.get(fail_on, f"of severity {fail_on} or graver")
    sys.stderr.write(f"--fail-on: {what} {grave}. Mend the data, or go on with --fail-on none.\n")
    return 2
