"""What the pipeline's functions give back: plain values for ``--json``, and something to look at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from formtune.reports import ReportData
    from formtune.reports.data import ShownExample


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a command as plain values, under the keys that other programs may rely on.

    Attributes:
        values: what ``--json`` prints.
        shown: examples as tokens, where the command shows some.
    """

    values: Mapping[str, Any]
    shown: tuple["ShownExample", ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Give the values."""
        return dict(self.values)

    def __getitem__(self, key: str) -> Any:
        """Give one value."""
        return self.values[key]


@dataclass(frozen=True, slots=True)
class Compared:
    """A finished comparison.

    Attributes:
        values: what ``--json`` prints: verdict, winner, formats, pairs, paths.
        report: what the report shows.
        predictions: further answers of the best run, where some were asked for.
        others: further comparisons that were made with it, by name.
    """

    values: Mapping[str, Any]
    report: "ReportData"
    predictions: tuple[Mapping[str, Any], ...] = ()
    others: Mapping[str, "Compared"] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """The finding in one sentence."""
        return str(self.values["verdict"])

    @property
    def winner(self) -> str | None:
        """The arm that is better than every other, or None."""
        winner: str | None = self.values["winner"]
        return winner

    def to_dict(self) -> dict[str, Any]:
        """Give the values, with further predictions and comparisons where there are some."""
        more: dict[str, Any] = {"predictions": list(self.predictions)} if self.predictions else {}
        if self.others:
            more["others"] = {name: other.to_dict() for name, other in self.others.items()}
        return {**self.values, **more}

    def __str__(self) -> str:
        """Say the verdict and the arms, a line each."""
        from formtune.reports import console_text

        return console_text(self.report)

    def _repr_html_(self) -> str:
        """Show the verdict and the arms in a notebook."""
        from formtune.reports import summary_html

        return summary_html(self.report)
