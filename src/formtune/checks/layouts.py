"""What was found, as text: JSON, SARIF or a page; a table is drawn on the terminal alone."""

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from formtune.checks import Audit
from formtune.checks.sarif import sarif_of
from formtune.errors import SettingError, unknown
from formtune.reports.audits import audit_html

LAYOUTS: Mapping[str, Callable[[Audit], str]] = {
    "json": lambda audit: msgspec.json.encode(audit.to_dict()).decode() + "\n",
    "sarif": lambda audit: msgspec.json.format(msgspec.json.encode(sarif_of(audit.outcomes)), indent=1).decode() + "\n",
    "html": lambda audit: audit_html(audit.to_dict()),
}
TABLE = "table"


def layout_for(name: str | None, out: str | None) -> str:
    """Settle the layout: the one named, else what the file's ending says, else a table.

    Raises:
        SettingError: where there is no such layout, or a table is to be written to a file.
    """
    if name is not None and name not in (TABLE, *LAYOUTS):
        error = unknown("layout", name, (TABLE, *LAYOUTS), at="--format")
        remedy = f"{error.remedy} Formats of training are named with --formats here."
        raise SettingError(error.problem, remedy, at=error.at)
    if out is None:
        return name or TABLE
    chosen = name or Path(out).suffix.removeprefix(".")
    if chosen not in LAYOUTS:
        raise SettingError(
            f"Findings cannot be written to {out!r} as they are asked for.",
            "End its name in .json, .sarif or .html, or name one of these with --format.",
            at="--out",
        )
    return chosen


def write_text(text: str, out: str, *, at: str = "--out") -> None:
    """Write a file that a flag names; it is whole or not there.

    Raises:
        SettingError: where the place cannot be written to.
    """
    target = Path(out)
    staged = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staged.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
        staged.replace(target)
    except OSError as error:
        raise SettingError(
            f"{out!r} cannot be written ({error.strerror}).", "Give a file that you may write.", at=at
        ) from error
