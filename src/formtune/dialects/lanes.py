"""The fast lane: rows of the plainest form, decoded straight into types and made into records.

Most rows of most files have the same keys, texts where texts are asked for, and roles that everybody knows. Such a row is
decoded by its type, which refuses every other key, value and role. Whatever it refuses is read in the general way, row by
row: the lane knows nothing that a dialect's ``read`` does not, and gives the same record or none.

A key that stands twice is not refused by a type. It shows in the colons: each key's stands behind the quote that closes it,
or behind white space, and inside of a text no quote is bare. There are at least as many of these colons as keys, and more
only where a key stands twice, or a text holds white space before a colon. (No known key ends in a backslash.)
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from formtune.dialects.columns import Columns
from formtune.dialects.lane_layouts import LAYOUTS, MEANINGFUL, Read
from formtune.records import LeftOut, Origin, Record
from formtune.sources import text_of
from formtune.sources.json_values import FAULTS, number_of

if TYPE_CHECKING:
    from formtune.sources.colons import Colons

Item = Record | LeftOut
_NESTED = frozenset({dict, list})
_UNPLAIN = frozenset('"\\') | frozenset(map(chr, range(32)))


@dataclass(frozen=True, slots=True)
class Lane:
    """A way for the rows of one file that have all the same keys.

    Attributes:
        decoder: gives a row's values, or raises one of :data:`formtune.sources.json_values.FAULTS`.
        read: as in :class:`formtune.dialects.lane_layouts.Layout`.
        n_inside: as in :class:`formtune.dialects.lane_layouts.Layout`.
        fits: as in :class:`formtune.dialects.lane_layouts.Layout`.
        n_keys: of a row, those inside of lists aside.
        aside: the other keys, with the attribute that each becomes, in the order of the rows.
        places: among the keys of a row, of those that must stand where they do.
        group: the attribute of the column that is the group; None for no group.
    """

    decoder: msgspec.json.Decoder[Any]
    read: Read
    n_inside: Callable[[Any], int] | None
    fits: Callable[[Sequence[Any]], bool]
    n_keys: int
    aside: tuple[tuple[str, str], ...]
    places: Mapping[bytes, int]
    group: str | None

    def records(
        self, texts: Sequence[bytes], lines: Iterable[int], *, path: str, general: Callable[[int], Sequence[Item]]
    ) -> list[Item]:
        """Read rows.

        Args:
            texts: the JSON text of each.
            lines: on which each begins.
            path: of the file.
            general: reads a row that is not of the plainest form, given which of them it is.
        """
        from formtune.sources.colons import find_colons

        rows, n_refused = self._decoded(texts)
        colons = find_colons(texts)
        is_plain = not n_refused and self._are_plain(rows, colons)
        plain = rows if is_plain else self._plain(rows, colons.in_texts(texts, self.places))
        return self._items(plain, lines, path=path, general=general)

    def of_block(
        self, block: bytes, first_line: int, *, path: str, general: Callable[[int], Sequence[Item]]
    ) -> list[Item] | None:
        """Read JSON lines, decoded all at once; None where that cannot be done.

        Args:
            block: whole lines.
            first_line: the number of the first.
            path: of the file.
            general: as for :meth:`records`.
        """
        from formtune.sources.colons import find_colons  # numpy takes a tenth of a second to import

        try:
            rows = self.decoder.decode_lines(block)
        except FAULTS:
            return None
        colons = find_colons([block])
        if not colons.are_lines(len(rows)):
            return None
        plain = rows if self._are_plain(rows, colons) else self._plain(rows, colons.in_lines(self.places))
        return self._items(plain, range(first_line, first_line + len(rows)), path=path, general=general)

    def _items(
        self, rows: Iterable[Any], lines: Iterable[int], *, path: str, general: Callable[[int], Sequence[Item]]
    ) -> list[Item]:
        placed, read = zip(rows, lines, strict=True), self.read
        if self.aside:
            records = [row and self._with_aside(row, Origin(path, line)) for row, line in placed]
        else:
            records = [row and read(row, Origin(path, line)) for row, line in placed]
        found: list[Item] = [*filter(None, records)]
        if len(found) == len(records):
            return found
        found = []
        for place, record in enumerate(records):
            found += general(place) if record is None else (record,)
        return found

    def _with_aside(self, row: Any, origin: Origin) -> Record | None:
        extra = self._extra(row)
        return None if extra is None else self.read(row, origin, extra=extra, group=self._group(row))

    def _are_plain(self, rows: Sequence[Any], colons: "Colons") -> bool:
        """Say whether all rows are of the plainest form, and no key stands twice: together they have a colon for each."""
        return not self.places and colons.total == self._n_keys_of(rows) and self.fits(rows)

    def _plain(self, rows: Sequence[Any], counts: Iterable[int]) -> list[Any]:
        """Take out rows that are not of the plainest form, given how many colons each has; None for each."""
        counted = [
            row if row is not None and count == self._n_keys_of([row]) else None
            for row, count in zip(rows, counts, strict=True)
        ]
        if self.fits([row for row in counted if row is not None]):
            return counted
        return [row if row is not None and self.fits([row]) else None for row in counted]

    def _decoded(self, texts: Sequence[bytes]) -> tuple[list[Any], int]:
        """Decode rows; None for each that is not what the lane's type asks for, and how many they are."""
        decode, n_refused = self.decoder.decode, 0
        rows: list[Any] = []
        append = rows.append
        for text in texts:
            try:
                append(decode(text))
            except FAULTS:
                append(None)
                n_refused += 1
        return rows, n_refused

    def _n_keys_of(self, rows: Sequence[Any]) -> int:
        return len(rows) * self.n_keys + (sum(map(self.n_inside, rows)) if self.n_inside else 0)

    def _extra(self, row: Any) -> str | None:
        """Keep the other keys as JSON text; None where a value may hold keys itself."""
        values: dict[str, object] = {}
        for key, name in self.aside:
            value = values[key] = getattr(row, name)
            if type(value) in _NESTED:
                return None
        return text_of(values)

    def _group(self, row: Any) -> str | None:
        group = None if self.group is None else getattr(row, self.group)
        return None if group is None or group == "" else str(group)


def lane_for(dialect: str, columns: Columns, keys: Sequence[str], *, group: str | None) -> Lane | None:
    """Find the lane for rows of these keys; None where the dialect has none, or a key means more than the lane knows.

    Args:
        dialect: that was recognized.
        columns: as they were settled.
        keys: of the rows that are most frequent, in their order.
        group: the column that names what must not be split.
    """
    return _lane_for(dialect, columns, tuple(keys), group=group)


@lru_cache(maxsize=16)
def _lane_for(dialect: str, columns: Columns, keys: tuple[str, ...], *, group: str | None) -> Lane | None:
    layout = LAYOUTS[dialect](keys, columns) if dialect in LAYOUTS else None
    if layout is None:
        return None
    aside = {key: f"aside_{place}" for place, key in enumerate(keys) if key not in layout.own}
    if not _are_plain(aside) or (group is not None and group not in aside):
        return None
    attributes = {**layout.own, **{key: (name, Any) for key, name in aside.items()}}
    fields = [(name, kind, msgspec.field(name=key)) for key, (name, kind) in attributes.items()]
    row = msgspec.defstruct("PlainRow", fields, frozen=True, gc=False, forbid_unknown_fields=True)
    return Lane(
        decoder=msgspec.json.Decoder(row, float_hook=number_of),
        read=layout.read,
        n_inside=layout.n_inside,
        fits=layout.fits,
        n_keys=len(keys),
        aside=tuple(aside.items()),
        places=_places(keys, aside),
        group=None if group is None else aside[group],
    )


def _are_plain(aside: Iterable[str]) -> bool:
    """Say whether keys are nothing but columns that are kept aside, written as they are."""
    return not any(key in MEANINGFUL or _UNPLAIN.intersection(key) for key in aside)


def _places(keys: Sequence[str], aside: Iterable[str]) -> dict[bytes, int]:
    """Say the how-manieth key of a row each of several keys that are kept aside is, whose order would be lost otherwise.

    Lists stand between at most: those behind the first own key are counted from the row's end.
    """
    if len(list(aside)) < 2:
        return {}
    first_own = next(place for place, key in enumerate(keys) if key not in aside)
    return {
        key.encode(): place if place < first_own else place - len(keys)
        for place, key in enumerate(keys)
        if key in aside
    }
