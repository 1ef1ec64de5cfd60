"""Which column holds what: names that the field uses, flags that settle it, and what a dialect says it has seen."""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import msgspec

from formtune.errors import nearest, unknown
from formtune.records import LeftOut, Origin, Record
from formtune.sources import Row, normalize, text_of, value_of

Object = dict[str, object]
# Normalized names of columns that hold the text of a row, the most telling first.
TEXTS = (
    *("text", "sentence", "review", "review_body", "content", "comment", "message", "tweet", "sms", "post", "document"),
    *("body", "description", "utterance", "query", "question", "abstract", "headline", "title", "input", "string"),
    *("文本", "内容", "句子", "评论"),
)
_SHOWN_CHARACTERS = 60
_KEY = re.compile(r"(\w+)")


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that the user names; None is left to recognition.

    ``text`` and ``target`` may name several, with commas between them. A table without a header has the columns
    ``1``, ``2`` and so on.
    """

    text: str | None = None
    label: str | None = None
    question: str | None = None
    context: str | None = None
    answer: str | None = None
    source: str | None = None
    target: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why rows are taken for a dialect.

    Attributes:
        score: 0 to 1; the highest wins. It falls with the rows that do not fit, and is low where a more special
            dialect should be preferred.
        why: what was seen, for the user.
        columns: which column holds what.
    """

    score: float
    why: str
    columns: Columns = Columns()


class RowFault(Exception):
    """A row cannot be a record; the reader counts it as left out.

    Args:
        reason: one short phrase, the same for all rows of one cause, with a line in :data:`formtune.faults.FAULTS`.
        detail: what is particular to this row.
        path: the place inside the row, as in ``messages[3].role``.
        found: what stands there; it is shown as JSON, shortened.
        near: the known key or role that is spelled most like what was found.
    """

    def __init__(
        self,
        reason: str,
        detail: str | None = None,
        *,
        path: str | None = None,
        found: object = msgspec.UNSET,
        near: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail
        self.path = path
        self.found = None if found is msgspec.UNSET else shown(found)
        self.near = near
        self.further: tuple[RowFault, ...] = ()

    def inside(self, path: str) -> "RowFault":
        """Say that what has the fault stands at a path: its own path goes on from there."""
        own = self.path or ""
        self.path = f"{path}{'.' if own and not own.startswith('[') else ''}{own}"
        return self

    def renamed(self, names: Mapping[str, str]) -> "RowFault":
        """Give the keys in the paths of all its faults the names that the row has for them, as ``from`` for ``role``."""
        for fault in (self, *self.further):
            keys = _KEY.split(fault.path or "")
            fault.path = "".join(names.get(key, key) for key in keys) or None
        return self

    def left_out(self, at: Origin) -> LeftOut:
        """Give the row that has the fault, and all others that were found in it, as left out."""
        further = tuple(one.left_out(at) for one in self.further)
        return LeftOut(
            self.reason, at, detail=self.detail, path=self.path, found=self.found, near=self.near, further=further
        )


def all_of(faults: Sequence[RowFault]) -> RowFault:
    """Make one fault of all that a row has: the first, with the others beside it."""
    first, *others = faults
    first.further = (*first.further, *others)
    return first


def shown(value: object) -> str:
    """Show a value of a row as JSON text of a few dozen characters.

    >>> shown({"role": None})
    '{"role":null}'
    """
    text = text_of(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


class Dialect(Protocol):
    """What a module of this package offers.

    Attributes:
        NAME: as on the command line.
        SUMMARY: one sentence for ``formtune dialects``.
        NEEDS: what it must find, with the flags that name it.
        ROLES: the fields of :class:`Columns` that mean something to it.
        NAMES: normalized column names that it knows.
    """

    NAME: str
    SUMMARY: str
    NEEDS: str
    ROLES: frozenset[str]
    NAMES: frozenset[str]

    def recognize(self, rows: Sequence[Row], columns: Columns, /) -> Evidence | None:
        """Look at rows from all over the data; None where they are not of this dialect."""

    def read(self, row: Row, columns: Columns, /) -> Iterable[Record | LeftOut]:
        """Turn one row into its records; raises RowFault where it holds none."""

    def write(self, record: Record, /) -> Object | str | None:
        """Turn a record into a row; None where the dialect has no place for it."""


def objects(rows: Iterable[Row]) -> list[Object]:
    """Give the rows that are objects."""
    return [row.value for row in rows if isinstance(row.value, dict)]


def as_object(row: Row) -> Object:
    """Give the row's keys and values.

    Raises:
        RowFault: when the row is a text.
    """
    if isinstance(row.value, dict):
        return row.value
    raise RowFault("a text where an object was expected")


def names_of(table: Iterable[Object]) -> list[str]:
    """List the column names of rows, in the order in which they first appear."""
    return list(dict.fromkeys(name for value in table for name in value))


def find(names: Sequence[str], candidates: Iterable[str]) -> str | None:
    """Find the first of some normalized names among column names; the column name as it is written, or None."""
    written = {normalize(name): name for name in reversed(names)}
    return next((written[candidate] for candidate in candidates if candidate in written), None)


def column_in(value: Object, column: str | None, names: Sequence[str]) -> str | None:
    """Give the column of one row: that of the other rows, or, where the row has it not, another of the names."""
    return column if column in value else find(list(value), names) or column


def settle(columns: Columns, role: str, names: Sequence[str]) -> list[str]:
    """Give the column names that the user has given for a role, as the data writes them; empty where none is given.

    Raises:
        SettingError: when there is no such column; it names the nearest.
    """
    given: str | None = getattr(columns, role)
    if not given:
        return []
    wanted = [given] if given in names else [part.strip() for part in given.split(",")]
    return [_written(name, names, role) for name in wanted]


def settle_one(columns: Columns, role: str, names: Sequence[str], *, known: Iterable[str]) -> str | None:
    """Give the column for a role: the one that the user has given, or the first of the known names; or None."""
    given = settle(columns, role, names)
    return given[0] if given else find(names, known)


def given_roles(columns: Columns) -> list[str]:
    """List the roles for which the user has named a column, the group aside."""
    return [field.name for field in fields(columns) if field.name != "group" and getattr(columns, field.name)]


def split_names(joined: str | None) -> list[str]:
    """Undo :func:`join_names`."""
    return joined.split("\n") if joined else []


def join_names(names: Sequence[str]) -> str | None:
    """Join settled column names into one text; by line breaks, since a name may hold a comma."""
    return "\n".join(names) or None


def share(table: Sequence[Object], names: Collection[str]) -> float:
    """Give the share of rows that have something in all of these columns."""
    if not table:
        return 0.0
    return sum(all(value.get(name) not in (None, "") for name in names) for value in table) / len(table)


def in_rows(table: Sequence[Object], rows: Sequence[Row], name: str) -> str:
    """Say in how many of the rows a column is filled: ``in 3 of 5 rows``."""
    n_filled = sum(value.get(name) not in (None, "") for value in table)
    return f"in {n_filled} of {len(rows)} rows"


def text_in(value: Object, name: str) -> str:
    """Give the text in a column: a string as it is, a number as its digits, a list of strings as lines; or nothing.

    "Not a number" is how some tables write an empty field, and is nothing too.

    Raises:
        RowFault: when the value is no text.
    """
    found = value.get(name)
    match found:
        case str():
            return found
        case None:
            return ""
        case bool():
            return "true" if found else "false"
        case int():
            return str(found)
        case float() if math.isnan(found):
            return ""
        case float():
            return str(int(found)) if found.is_integer() else str(found)
        case list() if all(isinstance(part, str) for part in found):
            return "\n".join(found)
    raise RowFault(f"no text in column {name!r}", type(found).__name__, path=name, found=found)


def filled_in(value: Object, name: str) -> str:
    """Give the text in a column.

    Raises:
        RowFault: when there is none, or only white space.
    """
    text = text_in(value, name)
    if not text.strip():
        raise no_text(value, name)
    return text


def no_text(value: Object, name: str) -> RowFault:
    """Make the fault of a row that has no text in a column, with the nearest key where it has no such column."""
    return RowFault(f"no text in column {name!r}", near=None if name in value else nearest(name, value))


def rest(value: Object, used: Collection[str]) -> str | None:
    """Give what a row holds beyond the used columns, as JSON text."""
    left = {name: content for name, content in value.items() if name not in used}
    return text_of(left) if left else None


def with_rest(row: Object, extra: str | None, reserved: Collection[str] = ()) -> Object:
    """Put back what :func:`rest` took aside; the row's own keys win, and reserved ones are left away.

    Reserved are the keys that would be read as something else than what was taken aside.
    """
    if not extra:
        return row
    aside = {key: value for key, value in value_of(extra).items() if key not in reserved}
    return {**aside, **row}


def quoted(names: Iterable[str]) -> str:
    """List names for a message: ``'a', 'b'``."""
    return ", ".join(map(repr, names))


def _written(name: str, names: Sequence[str], role: str) -> str:
    if name in names:
        return name
    written = find(names, [normalize(name)])
    if written is None:
        raise unknown("column", name, names, at=f"--{role}")
    return written
