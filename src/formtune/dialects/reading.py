"""Files to records: which dialect their rows are of, and what each row means."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice

from formtune.dialects import aligned, squad
from formtune.dialects.columns import Columns, names_of, objects, settle_one
from formtune.dialects.given import Given, look_at, unpacked
from formtune.dialects.meaning import items_of, row_items
from formtune.dialects.recognition import N_SAMPLE, nothing_read, recognize, thinned
from formtune.dialects.streaming import is_large, no_collection, plan_of, records_of
from formtune.dialects.table import DIALECTS, KNOWN_NAMES, TOGETHER
from formtune.records import LeftOut, Record, identified
from formtune.sources import Mend, Row, Slice, read_rows


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
    mend: Mend | None = None,
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
        mend: of each line of JSON lines gives what is read in its place (see :class:`formtune.mending.Mender`).

    Raises:
        DataError: when a file cannot be read, no dialect fits, or not one row is a record.
        SettingError: when there is no such dialect, column or encoding.
    """
    with no_collection():
        given = look_at(paths, dialect, columns, encoding=encoding, header=header)
        if given.together:
            return _aligned(given)
        in_lanes = _in_lanes(given, dialect, columns) if mend is None else None
        return in_lanes or _row_by_row(given, dialect, columns, mend=mend)


def read_each(path: str, dialect: str, *, n_rows: int) -> Iterator[list[Record]]:
    """Read a file again that was written row by row: of each row its records, which have no ids yet.

    One row is held at a time, and the file is read twice: first for what its columns mean.

    Args:
        path: of one file.
        dialect: of which the rows stand alone (see :func:`formtune.dialects.writing.stand_alone`).
        n_rows: how many there are.

    Raises:
        DataError: when the file cannot be read, or not one row is a record.
    """
    rows = partial(read_rows, path, known_names=KNOWN_NAMES)
    found = (row for item in rows() if isinstance(row := unpacked(item), Row))
    sample = list(islice(found, 0, None, -(-n_rows // N_SAMPLE)))
    columns = recognize(sample, dialect, Columns())[1].columns if sample else Columns()
    unread: list[LeftOut] = []
    any_read = False
    for row in rows():
        items = row_items(unpacked(row), DIALECTS[dialect], columns)
        records = [item for item in items if not isinstance(item, LeftOut)]
        any_read = any_read or bool(records)
        unread += [] if any_read else [item for item in items if isinstance(item, LeftOut)]
        yield records
    if not any_read:
        raise nothing_read(unread, path)


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


def _row_by_row(given: Given, dialect: str | None, columns: Columns, *, mend: Mend | None) -> Reading:
    rows = [row for file in given.described.files for row in map(given.understood, given.rows(Slice(file), mend=mend))]
    found = [row for row in rows if isinstance(row, Row)]
    if not found:
        raise nothing_read([row for row in rows if isinstance(row, LeftOut)], given.described.files[0])
    name, evidence = recognize(thinned(found), dialect or given.described.dialect, columns)
    rows = TOGETHER[name](rows) if name in TOGETHER else rows
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
