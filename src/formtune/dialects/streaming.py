"""Records of files slice by slice, in constant memory: a plan of all the data first, then the records of each slice.

A plan and a slice can be pickled, and slices can be read by several processes in any order. One after another they give
what :func:`formtune.dialects.reading.read` gives, without the ids, for which all records must be known. What spoils a file
as a whole (an array that is not JSON at its end, another encoding) is told when it is met: rows before it were given then,
and must not be used.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from formtune.dialects.columns import Columns, names_of, objects, settle_one
from formtune.dialects.given import Given, look_at
from formtune.dialects.lane_batches import in_lane
from formtune.dialects.lanes import Item, Lane, lane_for
from formtune.dialects.meaning import items_of
from formtune.dialects.recognition import N_SAMPLE, Sample, nothing_read, recognize, thinned
from formtune.dialects.table import DIALECTS, TOGETHER
from formtune.records import LeftOut
from formtune.sources import (
    Mend,
    Opened,
    Row,
    Slice,
    can_be_cut,
    json_form,
    open_part,
    open_utf8,
    row_parts,
    windows,
)
from formtune.sources.hub import is_hub
from formtune.tallies import Tally

SLICE_BYTES = 1 << 24
_LARGE_BYTES = 1 << 20  # from here on the dialect is told from windows, and not from every row
_N_SEEN = N_SAMPLE // 2  # rows of large data together
_N_WINDOWS = 50
_WINDOW_BYTES = 1 << 16
_N_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Plan:
    """How files are read slice by slice.

    Attributes:
        given: the files.
        dialect: a key of :data:`formtune.dialects.DIALECTS`.
        evidence: what speaks for that dialect.
        columns: which column holds what.
        group: the column that names what must not be split, as the data write it.
        keys: of the rows that are most frequent, in their order.
        slices: all the data, in order.
        reason: why the data can only be read as a whole, by :func:`formtune.dialects.read`: a full sentence; None where
            they can be read slice by slice. What the plan says beside is empty where there is a reason.
    """

    given: Given
    dialect: str = ""
    evidence: str = ""
    columns: Columns = field(default_factory=Columns)
    group: str | None = None
    keys: tuple[str, ...] = ()
    slices: tuple[Slice, ...] = ()
    reason: str | None = None

    @property
    def has_lane(self) -> bool:
        """Whether the most frequent rows are read in a fast lane, where they stand as JSON."""
        return self.lane is not None

    @property
    def lane(self) -> Lane | None:
        """The lane for the most frequent rows; None where there is none, or rows are to be renamed first."""
        if self.given.described.layouts:
            return None
        return lane_for(self.dialect, self.columns, self.keys, group=self.group)

    def items(self, rows: Iterable[Row | LeftOut]) -> Iterator[Item]:
        """Read rows into records, or leave them out."""
        return items_of(map(self.given.understood, rows), DIALECTS[self.dialect], self.columns, group=self.group)


def plan(
    paths: Sequence[str],
    *,
    dialect: str | None = None,
    columns: Columns = Columns(),
    encoding: str | None = None,
    header: bool | None = None,
    slice_bytes: int = SLICE_BYTES,
) -> Plan:
    """Recognize the dialect of files, and cut them into slices.

    Of up to 1 MB every row is looked at. Of more, rows all over the files are, and of a file that cannot be entered in the
    middle those at its beginning. Archives, tables, arrays, Parquet and texts in paragraphs are one slice each.

    Args:
        paths: as for :func:`formtune.dialects.read`.
        dialect: a key of :data:`formtune.dialects.DIALECTS`; None: recognize it.
        columns: the columns that the user names.
        encoding: of text files that are neither UTF-8 nor marked as UTF-16.
        header: whether a table's first line names its columns; None: decide from the content.
        slice_bytes: the size of a slice that is aimed at.

    Raises:
        DataError: when a file cannot be read, or no dialect fits.
        SettingError: when there is no such dialect, column or encoding.
        ValueError: when the size is not positive.
    """
    return plan_of(
        look_at(paths, dialect, columns, encoding=encoding, header=header), dialect, columns, slice_bytes=slice_bytes
    )


def plan_of(given: Given, dialect: str | None, columns: Columns, *, slice_bytes: int = sys.maxsize) -> Plan:
    """Plan as :func:`plan` does, for files that were looked up."""
    reason = _held_together(given)
    if reason is not None:
        return Plan(given, reason=reason)
    sample = _sample(given)
    if not sample:
        return Plan(given, reason="None of the rows that were looked at can be read.")
    parts = [part for file in given.described.files for part in row_parts(file, slice_bytes, encoding=given.encoding)]
    return _recognized(given, sample, dialect, columns=columns, names=names_of(objects(sample)), parts=parts)


def _held_together(given: Given) -> str | None:
    """Say why files can only be read as a whole, as far as that does not depend on their dialect."""
    if given.together:
        return "Files that belong together line by line are read beside one another."
    if not all(is_hub(file) or Path(file).is_file() for file in given.described.files):
        return "Standard input, or a pipe, can be read only once."
    return None


def _recognized(
    given: Given,
    sample: Sequence[Row],
    dialect: str | None,
    *,
    columns: Columns,
    names: Sequence[str],
    parts: Sequence[Slice],
) -> Plan:
    """Plan for rows of which some are at hand; ``names`` are those of the columns, where the user names a group."""
    name, evidence = recognize(thinned(sample), dialect or given.described.dialect, columns)
    if name in TOGETHER:
        return Plan(given, reason=f"Records of the dialect {name} are made of several rows, from all over the data.")
    table = objects(sample)
    group = settle_one(evidence.columns, "group", names, known=()) if columns.group else None
    return Plan(
        given,
        dialect=name,
        evidence=evidence.why + given.described.why,
        columns=evidence.columns,
        group=group,
        keys=Counter(map(tuple, table)).most_common(1)[0][0] if table else (),
        slices=tuple(parts),
    )


def whole(given: Given, dialect: str | None, columns: Columns, *, mend: Mend | None = None) -> Plan:
    """Plan one slice for each file, after a look at every row: what is recognized is what all of them show.

    It takes as long as reading the rows, and holds no more than a sample of them.

    Args:
        given: the files.
        dialect: as for :func:`plan`.
        columns: the columns that the user names.
        mend: as for :func:`formtune.dialects.read`; what is looked at are the lines that it gives.

    Raises:
        DataError: as :func:`plan` does; and when a file is at fault as a whole, or none of the rows can be read.
        SettingError: as :func:`plan` does.
    """
    files = given.described.files
    reason = _held_together(given)
    if reason is not None:
        return Plan(given, reason=reason)
    sample, unread, names = Sample[Row](), Tally(), dict[str, None]()
    for row in (given.understood(row) for file in files for row in given.rows(Slice(file), mend=mend)):
        if isinstance(row, LeftOut):
            unread.append(row)
        else:
            sample.add(row)
            names.update(dict.fromkeys(row.value) if columns.group and isinstance(row.value, dict) else ())
    if not sample.rows:
        raise nothing_read(unread, files[0])
    return _recognized(
        given, sample.rows, dialect, columns=columns, names=list(names), parts=[Slice(file) for file in files]
    )


def is_large(given: Given) -> bool:
    """Say whether files lie here and hold more than is looked at row by row to tell their dialect."""
    return _is_local(given) and _size_bytes(given.described.files) > _LARGE_BYTES


def records_of(planned: Plan, part: Slice) -> Iterator[list[Item]]:
    """Read a slice, some rows at a time: records without ids, and what is left out, in the order of the rows.

    Raises:
        DataError: when the file cannot be read, or is at fault as a whole; what came before must not be used then.
    """
    in_lane = _in_its_lane(planned, part)
    if in_lane is not None:
        yield from in_lane
        return
    items = planned.items(planned.given.rows(part))
    while batch := list(islice(items, _N_ROWS)):
        yield batch


def items_in(planned: Plan, part: Slice, *, mend: Mend | None = None) -> Iterator[Item]:
    """Read a slice as :func:`records_of` does, but rows that have no lane, or are mended on the way, one at a time.

    Raises:
        DataError: as :func:`records_of` does.
    """
    in_lane = _in_its_lane(planned, part) if mend is None else None
    if in_lane is not None:
        return chain.from_iterable(in_lane)
    return planned.items(planned.given.rows(part, mend=mend))


def _in_its_lane(planned: Plan, part: Slice) -> Iterator[list[Item]] | None:
    """Read a slice of JSON in the lane that its rows have; None where they have none."""
    lane = planned.lane
    form = None if lane is None else json_form(part.path, encoding=planned.given.encoding)
    if lane is None or form not in ("lines", "array"):
        return None
    return in_lane(lane, _opened(planned, part), form, items=planned.items)


def _opened(planned: Plan, part: Slice) -> Opened:
    if part.end is not None:
        return open_part(part)
    return Opened(open_utf8(part.path, encoding=planned.given.encoding), part.path)


def _sample(given: Given) -> list[Row]:
    """Take rows from all over the data: all of them where they are few."""
    files = given.described.files
    looks: list[tuple[Slice, int | None]]
    if _is_local(given) and not is_large(given):
        looks = [(Slice(file), None) for file in files]
    else:
        cut = [file for file in files if can_be_cut(file, encoding=given.encoding)]
        share = _N_WINDOWS / max(1, _size_bytes(cut))
        seen = [
            part for file in cut for part in windows(file, max(2, round(share * _size_bytes([file]))), _WINDOW_BYTES)
        ]
        looks = [(part, max(2, _N_SEEN // len(seen))) for part in seen]
        looks += [(Slice(file), max(20, _N_SEEN // len(files))) for file in files if file not in cut]
    rows = (given.understood(row) for part, n_rows in looks for row in islice(given.rows(part), n_rows))
    return [row for row in rows if isinstance(row, Row)]


def _is_local(given: Given) -> bool:
    return all(Path(file).is_file() for file in given.described.files)


def _size_bytes(files: Sequence[str]) -> int:
    return sum(Path(file).stat().st_size for file in files)
