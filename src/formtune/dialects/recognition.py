"""Which dialect rows are of, and what is said where none fits."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from formtune.dialects import plain
from formtune.dialects.columns import (
    Columns,
    Dialect,
    Evidence,
    RowFault,
    given_roles,
    names_of,
    objects,
    quoted,
    settle,
)
from formtune.dialects.table import DIALECTS
from formtune.errors import DataError, SettingError
from formtune.records import LeftOut
from formtune.sources import Row, normalize
from formtune.tallies import Tally

N_SAMPLE = 1000
Value = TypeVar("Value")
_TAGGED = re.compile(r"^\S+[ \t](.*[ \t])?(O|[BIESLU]-\S+)$")
_NEARLY_ALL = 0.9
_N_NEAR = 3  # layouts that are told where none fits
# Layouts of which no record can be made, by columns that they have, with what to do instead.
_ENTITIES = "To learn them as text, write a source and a target column, as 'EU rejects' and 'EU: organization'."
_NO_RECORDS: Sequence[tuple[frozenset[str], str, str]] = (
    (
        frozenset({"input_ids"}),
        "token ids, which say nothing without the tokenizer that made them",
        "Give the texts that they were made of; formtune prepare makes tokens of them.",
    ),
    (frozenset({"tokens", "ner_tags"}), "tags of single tokens, for which there is no kind of record", _ENTITIES),
    (frozenset({"tokens", "tags"}), "tags of single tokens, for which there is no kind of record", _ENTITIES),
    (frozenset({"text", "spans"}), "labels of stretches of text, for which there is no kind of record", _ENTITIES),
)
_MOST = 0.5  # a lower score says: not even most of the rows are of this dialect, or a better one may come
_ENOUGH = 0.1  # a lower score says: this could be, but something speaks against it


@dataclass(slots=True)
class Sample(Generic[Value]):
    """A few of all things that are added, from the first on and equally far from one another.

    Attributes:
        most: how many are kept at most; half of it at least, once there were more.
        rows: they, in their order.
        n_added: how many there were.
        stride: how far from one another they are: a power of two.
    """

    most: int = N_SAMPLE
    rows: list[Value] = field(default_factory=list)
    n_added: int = 0
    stride: int = 1

    def add(self, row: Value) -> None:
        """Keep one, or not; of those that were kept every second one goes where they are too many."""
        if self.n_added % self.stride == 0:
            self.rows.append(row)
        self.n_added += 1
        if len(self.rows) > self.most:
            del self.rows[1::2]
            self.stride *= 2


def thinned(rows: Iterable[Row]) -> list[Row]:
    """Take up to :data:`N_SAMPLE` rows from all over them (:class:`Sample`)."""
    sample = Sample[Row]()
    for row in rows:
        sample.add(row)
    return sample.rows


def recognize(rows: Sequence[Row], dialect: str | None, columns: Columns) -> tuple[str, Evidence]:
    """Choose the dialect that has the most to say for itself, among those that know what the user has named.

    Raises:
        DataError: when no dialect fits.
        SettingError: when the user names a column that is not there, or two for one thing.
    """
    names = names_of(objects(rows))
    if columns.group:
        settle(columns, "group", names)
    able = _able(dialect, columns)
    _refuse_two_roles(columns, names)
    evidence = _evidence(able, rows, columns)
    if (
        dialect in able and not evidence and _reads(able[dialect], rows, columns)
    ):  # marks are for telling dialects apart
        evidence[dialect] = Evidence(_ENOUGH, "you name it, and rows can be read so", columns)
    best = max(evidence, key=lambda name: evidence[name].score, default=None)
    if dialect is None and (best is None or evidence[best].score < _MOST):
        evidence |= {} if given_roles(columns) else _of_most(rows, columns)
        best = max(evidence, key=lambda name: evidence[name].score, default=None)
    if dialect is None and best == plain.NAME and _are_tags(rows):
        what = "The lines hold tags of single tokens (CoNLL), for which there is no kind of record."
        raise DataError(what, f"{_ENTITIES} As text without labels it is read with --dialect plain.", at=rows[0].origin)
    if best is None or (dialect is None and evidence[best].score < _ENOUGH):
        raise _unrecognized(rows, columns, list(able))
    return best, evidence[best]


def _evidence(able: Mapping[str, Dialect], rows: Sequence[Row], columns: Columns) -> dict[str, Evidence]:
    return {name: found for name, module in able.items() if (found := module.recognize(rows, columns))}


def _of_most(rows: Sequence[Row], columns: Columns) -> dict[str, Evidence]:
    """Look at the rows that have the most frequent columns, where no dialect speaks for all of the rows.

    Rows of other layouts are left out when they are read, and told.
    """
    kinds = Counter(frozenset(row.value) if isinstance(row.value, dict) else None for row in rows)
    [(kind, n_rows)] = kinds.most_common(1)
    if kind is None or n_rows == len(rows):
        return {}
    most = [row for row in rows if isinstance(row.value, dict) and row.value.keys() == kind]
    others = f"; {len(rows) - n_rows} of {len(rows)} rows have other columns"
    found = _evidence(DIALECTS, most, columns).items()
    return {name: replace(one, why=one.why + others) for name, one in found if one.score >= _MOST}


def _reads(module: Dialect, rows: Sequence[Row], columns: Columns) -> bool:
    """Say whether a dialect whose columns have fixed names finds a record in some row."""
    for row in () if module.ROLES else rows:
        with suppress(RowFault):
            if any(not isinstance(one, LeftOut) for one in module.read(row, columns)):
                return True
    return False


def _able(dialect: str | None, columns: Columns) -> dict[str, Dialect]:
    """List the dialects that have a use for the roles that the user has given."""
    roles = given_roles(columns)
    asked = DIALECTS if dialect is None else {dialect: DIALECTS[dialect]}
    able = {name: module for name, module in asked.items() if set(roles) <= module.ROLES}
    if able:
        return able
    if dialect is None:
        flags = " and ".join(f"--{role}" for role in roles)
        raise SettingError(
            f"No dialect has a use for {flags} together.", "Name the columns of one kind of record.", at=flags
        )
    useless = ", ".join(f"--{role}" for role in roles if role not in DIALECTS[dialect].ROLES)
    raise SettingError(
        f"The dialect {dialect!r} has no use for it; it needs {DIALECTS[dialect].NEEDS}.",
        "Leave this out, or name another dialect, or none.",
        at=useless,
    )


def _refuse_two_roles(columns: Columns, names: Sequence[str]) -> None:
    """Refuse a column that is named twice: what is asked would be its own answer."""
    roles: dict[str, str] = {}
    for role in given_roles(columns):
        for name in settle(columns, role, names):
            if name in roles:
                flags = f"--{roles[name]} and --{role}" if roles[name] != role else f"--{role}"
                raise SettingError(f"The column {name!r} is named twice.", "Name another column for one.", at=flags)
            roles[name] = role


def _are_tags(rows: Sequence[Row]) -> bool:
    """Say whether lines of text are a token with its tag, in nearly all of them."""
    lines = [line for row in rows if isinstance(row.value, str) for line in row.value.splitlines() if line.strip()]
    return bool(lines) and sum(bool(_TAGGED.search(line)) for line in lines) >= _NEARLY_ALL * len(lines)


def _unrecognized(rows: Sequence[Row], columns: Columns, able: Sequence[str]) -> DataError:
    """Say what was found, and the flag that settles it."""
    place = rows[0].origin.file
    table = objects(rows)
    names = names_of(table)
    if not names:
        what = "objects without a key" if table else "lines of text, not columns"
        remedy = "Give objects with keys." if table else f"Name the layout with --dialect: {', '.join(DIALECTS)}."
        return DataError(f"The file holds {what}.", remedy, at=place)
    known = next((told for told in _NO_RECORDS if told[0] <= set(names)), None)
    if known and not given_roles(columns):
        return DataError(f"The columns {quoted(sorted(known[0]))} hold {known[1]}.", known[2], at=place)
    shown = f"{quoted(names[:12])}{' ...' if len(names) > 12 else ''}"
    numbered = " (the first line names none)" if all(name.isdecimal() for name in names) else ""
    found = f"The columns {shown}{numbered} do not tell"
    needs = "; or ".join(f"{name} needs {DIALECTS[name].NEEDS}" for name in able)
    if roles := given_roles(columns):
        flags = " and ".join(f"--{role}" for role in roles)
        problem = f"The columns {shown}{numbered} do not make a record of {flags}: {needs}."
        return DataError(problem, f"Add what is missing, or take back {flags.replace(' and ', ' or ')}.", at=place)
    if len(able) <= 2:
        has_flags = any(DIALECTS[name].ROLES for name in able)
        remedy = "Name the columns with these flags." if has_flags else "Name another with --dialect, or none at all."
        return DataError(f"{found} what is what: {needs}.", remedy, at=place)
    return DataError(
        f"{found} what is text and what is the answer.{_nearest(names)}",
        "Name them, for instance --text COLUMN --label COLUMN, --question COLUMN --answer COLUMN or --source COLUMN"
        " --target COLUMN; or the layout with --dialect (formtune dialects lists them).",
        at=place,
    )


def _nearest(names: Sequence[str]) -> str:
    """Say what the layouts need that know most of the columns; nothing where none knows two, or all that there are."""
    known = {normalize(name) for name in names}
    shared = {name: len(known & module.NAMES) for name, module in DIALECTS.items()}
    most = max(shared.values())
    near = [name for name, n in shared.items() if n == most]
    if most < min(2, len(names)) or len(near) > _N_NEAR:
        return ""
    return f" The nearest: {'; '.join(f'{name} needs {DIALECTS[name].NEEDS}' for name in near)}."


def nothing_read(left_out: Tally, place: str) -> DataError:
    """Make the error for data of which no row is a record."""
    found = left_out.most_frequent()
    if found is None:
        return DataError("The file holds no rows.", "Give a file that holds records.", at=place)
    first, n_rows = found
    detail = f" ({first.particulars})" if first.particulars else ""
    problem = f"None of the {left_out.n_rows} rows can be read; {n_rows} of them: {first.reason}{detail}."
    return DataError(problem, "Correct the file, or name its layout with --dialect.", at=first.at or place)
