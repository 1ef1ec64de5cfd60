"""Files to records: which dialect their rows are of, and what each row means."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

from formtune.dialects import aligned, squad
from formtune.dialects.columns import Columns, names_of, objects, settle_one
from formtune.dialects.given import Given, look_at, unpacked
from formtune.dialects.lane_batches import no_collection
from formtune.dialects.meaning import items_of, row_items
from formtune.dialects.recognition import nothing_read, recognize, thinned
from formtune.dialects.streaming import Plan, is_large, items_in, plan_of, whole
from formtune.dialects.table import DIALECTS, KNOWN_NAMES, TOGETHER
from formtune.records import LeftOut, Record, identified
from formtune.sources import Mend, Row, Slice, read_rows
from formtune.tallies import Tally


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


@dataclass(slots=True)
class Stream:
    """What is read as it comes, and how it was understood.

    Attributes:
        dialect: a key of :data:`DIALECTS`.
        evidence: what speaks for that dialect.
        items: records without ids and rows that are none, in the order of the files; to be walked once. What spoils a
            file as a whole is raised where it is met; what came before must not be used then.
        n_records: how many records have come.
        n_rows: records and rows left out that have come.
        n_misplaced: answers among them that do not stand where their start says.
    """

    dialect: str
    evidence: str
    items: Iterable[Record | LeftOut]
    n_records: int = 0
    n_rows: int = 0
    n_misplaced: int = 0

    def each(self) -> Iterator[Record | LeftOut]:
        """Give the items, and count them.

        Raises:
            DataError: when a file cannot be read, or not one row is a record; that is known at the end.
        """
        unread = Tally()
        for item in self.items:
            if isinstance(item, LeftOut):
                self.n_rows += not item.kept
                if not self.n_records:
                    unread.append(item)
            else:
                self.n_rows += 1
                self.n_records += 1
                if self.dialect == squad.NAME:
                    self.n_misplaced += squad.misplaced([item])
            yield item
        if not self.n_records:
            raise nothing_read(unread, "DATA")

    def told(self) -> str:
        """Say what speaks for the dialect, and what is doubtful of the items that have come."""
        n_misplaced = self.n_misplaced
        return self.evidence + (
            f"; answers that do not stand where their start says: {n_misplaced}" if n_misplaced else ""
        )


@dataclass(frozen=True, slots=True)
class Survey:
    """What a first look at files has found out: enough to read them row by row.

    Attributes:
        plan: how they are read; it says why where all rows must be held.
        dialect: as the user names it.
        columns: the columns that the user names.
    """

    plan: Plan
    dialect: str | None
    columns: Columns

    def stream(self, *, mend: Mend | None = None) -> Stream:
        """Read the files from the beginning on; none of their rows are held, but where the plan says why all are.

        Args:
            mend: as for :func:`read`.

        Raises:
            DataError: as :func:`read` does.
            SettingError: as :func:`read` does.
        """
        planned = self.plan
        if planned.reason is None:
            items = chain.from_iterable(items_in(planned, part, mend=mend) for part in planned.slices)
            return Stream(planned.dialect, planned.evidence, items)
        if planned.given.together:
            return _aligned(planned.given)
        return _row_by_row(planned.given, self.dialect, self.columns, mend=mend)


def survey(
    paths: Sequence[str],
    *,
    dialect: str | None = None,
    columns: Columns = Columns(),
    encoding: str | None = None,
    header: bool | None = None,
    mend: Mend | None = None,
) -> Survey:
    """Find out how files are read row by row, by going through them once, as far as :func:`read` looks at them.

    Args:
        paths: as for :func:`read`.
        dialect: as for :func:`read`.
        columns: as for :func:`read`.
        encoding: as for :func:`read`.
        header: as for :func:`read`.
        mend: gives of each line what is looked at.

    Raises:
        DataError: as :func:`read` does.
        SettingError: as :func:`read` does.
    """
    given = look_at(paths, dialect, columns, encoding=encoding, header=header)
    planned = _for_lanes(given, dialect, columns) if mend is None else None
    return Survey(planned or whole(given, dialect, columns, mend=mend), dialect, columns)


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
            return _reading(_aligned(given))
        planned = _for_lanes(given, dialect, columns) if mend is None else None
        if planned is not None:
            return _reading(Survey(planned, dialect, columns).stream())
        return _reading(_row_by_row(given, dialect, columns, mend=mend))


def read_each(path: str, dialect: str) -> Iterator[tuple[int, list[Record]]]:
    """Read a file again that was written row by row: of each row its place, and its records, which have no ids yet.

    One row is held at a time, and the file is read twice: first for what its columns mean. The place is the line on which
    a row begins, or its number where there are no lines.

    Args:
        path: of one file.
        dialect: of which the rows stand alone (see :func:`formtune.dialects.row_files.stand_alone`).

    Raises:
        DataError: when the file cannot be read, or not one row is a record.
    """
    rows = partial(read_rows, path, known_names=KNOWN_NAMES)
    sample = thinned(row for item in rows() if isinstance(row := unpacked(item), Row))
    columns = recognize(sample, dialect, Columns())[1].columns if sample else Columns()
    unread = Tally()
    any_read = False
    for row in map(unpacked, rows()):
        items = row_items(row, DIALECTS[dialect], columns)
        records = [item for item in items if not isinstance(item, LeftOut)]
        any_read = any_read or bool(records)
        for item in () if any_read else items:
            assert isinstance(item, LeftOut)
            unread.append(item)
        if isinstance(row, Row):
            yield row.origin.line or 0, records
    if not any_read:
        raise nothing_read(unread, path)


def _aligned(given: Given) -> Stream:
    rows = chain.from_iterable(aligned.aligned_rows(part, encoding=given.encoding) for part in given.together)
    items = items_of(rows, DIALECTS["aligned"], Columns(), group=None)
    return Stream("aligned", aligned.describe(given.together), items)


def _for_lanes(given: Given, dialect: str | None, columns: Columns) -> Plan | None:
    """Plan for large files of lines; None where they are small, cannot be entered in the middle, or have no lane."""
    if given.together or not is_large(given):
        return None
    planned = plan_of(given, dialect, columns)
    return planned if planned.has_lane and all(part.end is not None for part in planned.slices) else None


def _row_by_row(given: Given, dialect: str | None, columns: Columns, *, mend: Mend | None) -> Stream:
    """Read files of which all rows are held."""
    rows = [row for file in given.described.files for row in map(given.understood, given.rows(Slice(file), mend=mend))]
    found = [row for row in rows if isinstance(row, Row)]
    if not found:
        unread = Tally()
        for row in rows:
            assert isinstance(row, LeftOut)
            unread.append(row)
        raise nothing_read(unread, given.described.files[0])
    name, evidence = recognize(thinned(found), dialect or given.described.dialect, columns)
    rows = TOGETHER[name](rows) if name in TOGETHER else rows
    names = names_of(objects(row for row in rows if isinstance(row, Row))) if columns.group else []
    group = settle_one(evidence.columns, "group", names, known=())
    items = items_of(rows, DIALECTS[name], evidence.columns, group=group)
    return Stream(name, evidence.why + given.described.why, items)


def _reading(stream: Stream) -> Reading:
    """Hold all that a stream gives, records with their ids."""
    records: list[Record] = []
    left_out: list[LeftOut] = []
    for item in stream.each():
        if isinstance(item, LeftOut):
            left_out.append(item)
        else:
            records.append(item)
    return Reading(identified(records), left_out, stream.dialect, stream.told(), stream.n_rows)
