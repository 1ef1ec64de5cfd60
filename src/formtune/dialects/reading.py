"""Files to records: which dialect their rows are of, and what each row means."""

import gc
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

import msgspec

from formtune.dialects import aligned, descriptors, squad
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
    settle_one,
)
from formtune.dialects.table import DIALECTS, KNOWN_NAMES, TOGETHER
from formtune.errors import DataError, SettingError, unknown
from formtune.records import LeftOut, Record, identified
from formtune.sources import Row, expand, normalize, read_rows, value_of

N_SAMPLE = 1000
_TURNS = ("messages", "conversations", "conversation")
_ENOUGH = 0.1  # a lower score says: this could be, but something speaks against it


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read, and how it was understood.

    Attributes:
        records: with their ids, in the order of the files.
        left_out: rows that are no records, with place and reason.
        dialect: a key of :data:`DIALECTS`.
        evidence: what speaks for that dialect.
        n_rows: records and rows left out together.
    """

    records: list[Record]
    left_out: list[LeftOut]
    dialect: str
    evidence: str
    n_rows: int


def read(
    paths: Sequence[str],
    *,
    dialect: str | None = None,
    columns: Columns = Columns(),
    encoding: str | None = None,
    header: bool | None = None,
) -> Reading:
    """Read files into records.

    Args:
        paths: files, globs, ``-`` for standard input, ``hf://`` addresses, ``dataset_info.json#NAME`` (see
            :mod:`formtune.dialects.descriptors`). Files that belong together line by line are given side by side, or as
            ``columns.source`` and ``columns.target``.
        dialect: a key of :data:`DIALECTS`; None: recognize it from rows all over the data.
        columns: the columns that the user names.
        encoding: of text files that are neither UTF-8 nor marked as UTF-16.
        header: whether a table's first line names its columns; None: decide from the content.

    Raises:
        DataError: when a file cannot be read, no dialect fits, or not one row is a record.
        SettingError: when there is no such dialect, column or encoding.
    """
    if dialect is not None and dialect not in DIALECTS:
        raise unknown("dialect", dialect, list(DIALECTS), at="--dialect")
    with _no_collection():
        return _read(paths, dialect, columns, encoding=encoding, header=header)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Let no garbage be looked for meanwhile: of the many small objects of a reading none is, and each look costs more."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _read(
    paths: Sequence[str], dialect: str | None, columns: Columns, *, encoding: str | None, header: bool | None
) -> Reading:
    described = descriptors.look_up(paths)
    files = described.files
    together = [] if described.layouts else _aligned_files(files, dialect, columns, named=paths)
    if together:
        rows: list[Row | LeftOut] = [row for part in together for row in aligned.aligned_rows(part, encoding=encoding)]
        return _read_rows(rows, "aligned", Evidence(1.0, aligned.describe(together)))
    if not files:
        raise SettingError("No data is given.", "Name a file, a glob, '-' or an hf:// address.", at="DATA")
    known = KNOWN_NAMES | _given_names(columns) | described.names
    read_file = partial(read_rows, known_names=known, encoding=encoding, header=header)
    rows = [described.renamed(_unpacked(row)) for file in files for row in read_file(file)]
    found = [row for row in rows if isinstance(row, Row)]
    if not found:
        raise _nothing_read([row for row in rows if isinstance(row, LeftOut)], files[0])
    sample = found[:: -(-len(found) // N_SAMPLE)]
    name, evidence = _recognize(sample, dialect or described.dialect, columns)
    return _read_rows(rows, name, replace(evidence, why=evidence.why + described.why))


def _unpacked(row: Row | LeftOut) -> Row | LeftOut:
    """Read a list of turns that stands as JSON text, as tables and some tools have it."""
    if isinstance(row, LeftOut) or isinstance(row.value, str):
        return row
    for name in _TURNS:
        found = row.value.get(name)
        if isinstance(found, str) and found.lstrip().startswith("[{"):
            try:
                turns = value_of(found)
            except msgspec.DecodeError:
                continue
            return msgspec.structs.replace(row, value={**row.value, name: turns})
    return row


def _aligned_files(
    files: Sequence[str], dialect: str | None, columns: Columns, *, named: Sequence[str]
) -> list[aligned.Aligned]:
    """Find files that belong together line by line; empty where that is not what was given."""
    if dialect not in (None, "aligned"):
        return []
    if not files and columns.source and columns.target:
        targets = [columns.target] if Path(columns.target).exists() else columns.target.split(",")
        return [aligned.Aligned(expand([columns.source])[0], tuple(expand(targets)))]
    if given_roles(columns):  # which are columns then, since files are given as DATA
        return []
    found = aligned.find_aligned(files, named=named)
    if dialect == "aligned" and not found:
        if len(files) < 2:
            raise DataError("One file alone is not aligned.", f"Give {aligned.NEEDS}.", at=files[0] if files else None)
        return [aligned.align(files, named=named)]
    return found


def _recognize(rows: Sequence[Row], dialect: str | None, columns: Columns) -> tuple[str, Evidence]:
    """Choose the dialect that has the most to say for itself, among those that know what the user has named."""
    names = names_of(objects(rows))
    if columns.group:
        settle(columns, "group", names)
    able = _able(dialect, columns)
    _refuse_two_roles(columns, names)
    evidence = {name: found for name, module in able.items() if (found := module.recognize(rows, columns))}
    if (
        dialect in able and not evidence and _reads(able[dialect], rows, columns)
    ):  # marks are for telling dialects apart
        evidence[dialect] = Evidence(_ENOUGH, "you name it, and rows can be read so", columns)
    best = max(evidence, key=lambda name: evidence[name].score, default=None)
    if best is None or (dialect is None and evidence[best].score < _ENOUGH):
        raise _unrecognized(rows, columns, list(able))
    return best, evidence[best]


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


def _read_rows(rows: Sequence[Row | LeftOut], dialect: str, evidence: Evidence) -> Reading:
    records: list[Record] = []
    left_out: list[LeftOut] = []
    together = TOGETHER.get(dialect)
    for item in _items(together(rows) if together else rows, DIALECTS[dialect], evidence.columns):
        if isinstance(item, LeftOut):
            left_out.append(item)
        else:
            records.append(item)
    if not records:
        raise _nothing_read(left_out, "DATA")
    n_misplaced = squad.misplaced(records)
    doubt = f"; answers that do not stand where their start says: {n_misplaced}" if n_misplaced else ""
    return Reading(
        identified(records),
        left_out,
        dialect,
        evidence.why + doubt,
        len(records) + sum(not one.kept for one in left_out),
    )


def _items(rows: Sequence[Row | LeftOut], module: Dialect, columns: Columns) -> Iterator[Record | LeftOut]:
    names = names_of(objects(row for row in rows if isinstance(row, Row))) if columns.group else []
    group_name = settle_one(columns, "group", names, known=())
    for row in rows:
        if isinstance(row, LeftOut):
            yield row
            continue
        try:
            items = list(module.read(row, columns))
        except RowFault as fault:
            yield fault.left_out(row.origin)
            continue
        except RecursionError:  # a value can be read at one depth of calls and not written at another
            yield LeftOut("nested too deeply", row.origin)
            continue
        yield from items if group_name is None else [_grouped(item, row, group_name) for item in items]


def _grouped(item: Record | LeftOut, row: Row, column: str) -> Record | LeftOut:
    value = row.value.get(column) if isinstance(row.value, dict) else None
    has_group = not isinstance(item, LeftOut) and value is not None and value != ""
    return msgspec.structs.replace(item, group=str(value)) if has_group else item


def _given_names(columns: Columns) -> set[str]:
    given = [getattr(columns, field.name) for field in fields(columns)]
    return {normalize(part) for name in given if name for part in (name, *name.split(",")) if not part.isdecimal()}


def _unrecognized(rows: Sequence[Row], columns: Columns, able: Sequence[str]) -> DataError:
    """Say what was found, and the flag that settles it."""
    place = rows[0].origin.file
    table = objects(rows)
    names = names_of(table)
    if not names:
        what = "objects without a key" if table else "lines of text, not columns"
        remedy = "Give objects with keys." if table else f"Name the layout with --dialect: {', '.join(DIALECTS)}."
        return DataError(f"The file holds {what}.", remedy, at=place)
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
        f"{found} what is text and what is the answer.",
        "Name them, for instance --text COLUMN --label COLUMN, --question COLUMN --answer COLUMN or --source COLUMN"
        f" --target COLUMN; or the layout with --dialect (one of {', '.join(DIALECTS)}).",
        at=place,
    )


def _nothing_read(left_out: Sequence[LeftOut], place: str) -> DataError:
    if not left_out:
        return DataError("The file holds no rows.", "Give a file that holds records.", at=place)
    reason, n_rows = Counter(item.reason for item in left_out).most_common(1)[0]
    first = next(item for item in left_out if item.reason == reason)
    detail = f" ({first.particulars})" if first.particulars else ""
    problem = f"None of the {len(left_out)} rows can be read; {n_rows} of them: {reason}{detail}."
    return DataError(problem, "Correct the file, or name its layout with --dialect.", at=first.at or place)
