"""What is left out, counted by its reason, each with the first places."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from formtune.records import LeftOut

_N_PLACES = 5


@dataclass(slots=True)
class _Cause:
    """What shares a reason: the first of it, how many there are, and the first places."""

    first: LeftOut
    n_rows: int = 0
    places: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Tally:
    """Counts what is left out as it is met. It grows with the reasons, and not with the rows.

    Attributes:
        n_rows: how many there are.
    """

    n_rows: int = 0
    _causes: dict[str, _Cause] = field(default_factory=dict)

    def append(self, one: LeftOut) -> None:
        """Count a row."""
        cause = self._causes.get(one.reason) or self._causes.setdefault(one.reason, _Cause(one))
        cause.n_rows += 1
        self.n_rows += 1
        if cause.n_rows <= _N_PLACES:
            cause.places.append(_place(one))

    def most_frequent(self) -> tuple[LeftOut, int] | None:
        """Give the first row of the most frequent reason, and how many rows have it; None where there are none."""
        found = max(self._causes.values(), key=lambda cause: cause.n_rows, default=None)
        return None if found is None else (found.first, found.n_rows)

    def told(self) -> list[dict[str, Any]]:
        """Give each reason, the most frequent first, with its code, how many ``rows`` have it, and the first ``places``."""
        return [
            {"code": cause.first.code, "reason": reason, "rows": cause.n_rows, "places": list(cause.places)}
            for reason, cause in sorted(self._causes.items(), key=lambda entry: -entry[1].n_rows)
        ]


def tally(left_out: Iterable[LeftOut]) -> list[dict[str, Any]]:
    """Count what was left out by its reason, the most frequent first, each with its code and the first places."""
    counted = Tally()
    for one in left_out:
        counted.append(one)
    return counted.told()


def accounted(left_out: Iterable[LeftOut]) -> dict[str, list[dict[str, Any]]]:
    """Count what was left out, and apart from it what rows lost that went on.

    Returns:
        ``left_out`` and ``parts_lost``, each as :func:`tally` gives it.
    """
    gone, parts = Tally(), Tally()
    for one in left_out:
        (parts if one.kept else gone).append(one)
    return {"left_out": gone.told(), "parts_lost": parts.told()}


def merged_tallies(tallies: Iterable[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Add up what was left out of several parts, the most frequent reason first, each with the first places."""
    merged: dict[str, dict[str, Any]] = {}
    for tally in tallies:
        for one in tally:
            known = merged.setdefault(one["reason"], {**one, "rows": 0, "places": []})
            known["rows"] += one["rows"]
            known["places"] = [*known["places"], *one["places"]][:_N_PLACES]
    return sorted(merged.values(), key=lambda one: -one["rows"])


def _place(item: LeftOut) -> str:
    place = str(item.at or item.id or "")
    return f"{place} ({item.particulars})" if item.particulars else place
