"""Files to records: which dialect their rows are of, and what each row means."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from formtune.dialects import aligned, oasst, squad
from formtune.dialects.columns import Columns, names_of, objects, settle_one
from formtune.dialects.given import Given, look_at
from formtune.dialects.meaning import items_of
from formtune.dialects.recognition import nothing_read, recognize, thinned
from formtune.dialects.streaming import is_large, no_collection, plan_of, records_of
from formtune.dialects.table import DIALECTS
from formtune.records import LeftOut, Record, identified
from formtune.sources import Row, Slice


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
    with no_collection():
        given = look_at(paths, dialect, columns, encoding=encoding, header=header)
        if given.together:
            return _aligned(given)
        return _in_lanes(given, dialect, columns) or _row_by_row(given, dialect, columns)


def _aligned(given: Given) -> Reading:
    rows = chain.from_iterable(aligned.aligned_rows(part, encoding=given.encoding) for part in given.together)
    return _reading(
        items_of(rows, DIALECTS["aligned"], Columns(), group=None), "aligned", aligned.describe(given.together)
    )


def _in_lanes(given: Given, dialect: str | None, columns: Columns) -> Reading | None:
    """Read large files of lines; None where they are small, cannot be entered in the middle, or have no lane."""
    planned = plan_of(given, dialect, columns) if is_large(given) else None
    if planned is None or not planned.has_lane or any(part.end is None for part in planned.slices):
        return None
    batches = (batch for part in planned.slices for batch in records_of(planned, part))
    return _reading(chain.from_iterable(batches), planned.dialect, planned.evidence)


def _row_by_row(given: Given, dialect: str | None, columns: Columns) -> Reading:
    rows = [row for file in given.described.files for row in map(given.understood, given.rows(Slice(file)))]
    found = [row for row in rows if isinstance(row, Row)]
    if not found:
        raise nothing_read([row for row in rows if isinstance(row, LeftOut)], given.described.files[0])
    name, evidence = recognize(thinned(found), dialect or given.described.dialect, columns)
    rows = oasst.grown(rows) if name == oasst.NAME else rows
    names = names_of(objects(row for row in rows if isinstance(row, Row))) if columns.group else []
    group = settle_one(evidence.columns, "group", names, known=())
    return _reading(
        items_of(rows, DIALECTS[name], evidence.columns, group=group), name, evidence.why + given.described.why
    )


def _reading(items: Iterable[Record | LeftOut], dialect: str, evidence: str) -> Reading:
    records: list[Record] = []
    left_out: list[LeftOut] = []
    for item in items:
        if isinstance(item, LeftOut):
            left_out.append(item)
        else:
            records.append(item)
    if not records:
        raise nothing_read(left_out, "DATA")
    n_misplaced = squad.misplaced(records) if dialect == squad.NAME else 0
    doubt = f"; answers that do not stand where their start says: {n_misplaced}" if n_misplaced else ""
    n_rows = len(records) + sum(not one.kept for one in left_out)
    return Reading(identified(records), left_out, dialect, evidence + doubt, n_rows)
