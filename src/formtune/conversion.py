"""From one dialect to another, with an account of what the other cannot carry.

What a dialect can hold is not declared but found out: the file that was written is read again, and each record is
compared with what it was. So the account holds for the file as it is on disk, the limits of its layout included (a table
knows no numbers), and what a round trip changes cannot go unnoticed. Some layouts need what a record does not say (a
name in every answer of a tool): what was put in comes back too, and is told apart from what is lost.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from formtune import dialects
from formtune.carrying import gained, lost, paired, says
from formtune.dialects.obstacles import obstacles
from formtune.dialects.row_files import stand_alone
from formtune.dialects.writing import cannot_be_written, dialect_for, write_each
from formtune.errors import DataError, FormtuneError, SettingError
from formtune.locks import passing_folder
from formtune.records import LeftOut, Origin, Pair, Record, kind_of
from formtune.sources import text_of
from formtune.spool import Numbers, RecordSpool
from formtune.tallies import Tally

LOST = ".lost.jsonl"  # ending of the file beside, of everything that was not carried
N_PLACES = 5


@dataclass(frozen=True, slots=True)
class Written:
    """What was written, and what was not.

    Attributes:
        paths: the files, in the order of their names.
        n_kept: records in them.
        n_repaired: how many of these come from rows that were repaired.
        left_out: records that the dialect has no place for, counted as by :func:`formtune.tallies.tally`.
        cannot_carry: what of the others it cannot carry: ``key``, how many ``rows``, and the first ``places``; the most
            frequent first.
        added: what it needs that they do not say, and was given; likewise.
    """

    paths: Sequence[Path]
    n_kept: int
    n_repaired: int
    left_out: Sequence[Mapping[str, Any]]
    cannot_carry: Sequence[Mapping[str, Any]]
    added: Sequence[Mapping[str, Any]]


class Takes(Protocol):
    """Whatever takes the records that are left out: a list, a count, a file."""

    def append(self, one: LeftOut, /) -> None:
        """Take one, in the order of the records."""


@dataclass(slots=True)
class _Keys:
    """Counts keys, and keeps the first places of each."""

    rows: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, record: Record, keys: Iterable[str]) -> None:
        """Count the keys of a record."""
        for key in keys:
            self.rows[key] += 1
            if self.rows[key] <= N_PLACES:
                self.places[key].append(str(record.origin or record.id))

    def told(self) -> list[dict[str, Any]]:
        """List the keys, the most frequent first."""
        return [{"key": key, "rows": n, "places": self.places[key]} for key, n in self.rows.most_common()]


@dataclass(slots=True)
class _Account:
    """What is counted on the way: nothing of it grows with the records, but for what is lost."""

    n_kept: int = 0
    n_repaired: int = 0
    gone: _Keys = field(default_factory=_Keys)
    gains: _Keys = field(default_factory=_Keys)

    def add(self, record: Record, again: Record | None, *, is_repaired: bool) -> Mapping[str, Any]:
        """Count a record that was kept, and what came back of it; give what it lost."""
        self.n_kept += 1
        self.n_repaired += is_repaired
        gone = lost(record, again)
        self.gone.add(record, gone)
        self.gains.add(record, gained(record, again))
        return gone


def convert(
    records: Iterable[Record],
    dialect: str,
    out: Path,
    *,
    strict: bool = False,
    repaired: Container[Origin] = (),
    left_out: Takes | None = None,
) -> Written:
    """Write records in a dialect, and beside them, in ``OUT.lost.jsonl``, everything that it cannot carry.

    Nothing is replaced before it is known what is lost. Where nothing is, an older file of losses is removed.

    The records may come one by one. They are kept on disk beside the file until they are compared, and where each becomes
    a row of its own (:func:`formtune.dialects.row_files.stand_alone`), no more than one is held in memory; else all are.
    Those without an id are given the one that :func:`formtune.records.identified` gives them.

    Args:
        records: of any kinds.
        dialect: a key of :data:`formtune.dialects.DIALECTS`.
        out: the file; its ending says how (see :func:`formtune.dialects.write`).
        strict: write nothing where anything would be lost.
        repaired: where rows stand that were repaired, to be counted; it is asked once, of each record when that comes.
        left_out: takes the records that the dialect has no place for, one by one.

    Raises:
        SettingError: where the dialect, the ending or the place cannot be used; where no record can be written; with
            ``strict``, where one cannot be carried whole.
        ValueError: where there are no records.
    """
    check_place(dialect, out)
    with _folder_beside(out) as folder, RecordSpool(folder) as spool, Numbers(folder) as places:
        for record in records:
            spool.append(record, is_repaired=record.origin is not None and record.origin in repaired)
        if not spool.n_records:
            raise ValueError("there are no records")
        staged = folder / out.name
        unwritten = _written(spool, dialect, staged, places=places, left_out=left_out)
        if unwritten.n_rows == spool.n_records:
            raise _nothing_written(spool, dialect)
        alone = stand_alone(dialect, out.name)
        again = _each(staged, dialect, out=out) if alone else _together(spool, places, dialect, folder=folder, out=out)
        account = _accounted(spool, places, again, beside=folder / f"{out.name}{LOST}")
        if strict and (unwritten.n_rows or account.gone.rows):
            raise _refused(account, unwritten, dialect)
        (out.parent / f"{out.name}{LOST}").unlink(missing_ok=True)
        final = [path.replace(out.parent / path.name) for path in sorted(folder.iterdir())]
    return Written(
        paths=final,
        n_kept=account.n_kept,
        n_repaired=account.n_repaired,
        left_out=unwritten.told(),
        cannot_carry=account.gone.told(),
        added=account.gains.told(),
    )


def check_place(dialect: str, out: Path) -> None:
    """Refuse what cannot be written, before any record is read.

    Raises:
        SettingError: where there is no such dialect, no such file of it, or no such folder.
    """
    if not out.parent.is_dir():
        raise SettingError("There is no such folder.", "Make it, or name another.", at=out.parent)
    if out.is_dir():
        raise SettingError("This is a folder.", "Name the file to write.", at=out)
    dialect_for(dialect, str(out))


def _written(records: RecordSpool, dialect: str, staged: Path, *, places: Numbers, left_out: Takes | None) -> Tally:
    """Write records; note of each where it stands, or 0, and count those that do not."""
    unwritten = Tally()

    def told(record: Record, place: int | None) -> None:
        places.append(place or 0)
        if place is None:
            one = cannot_be_written(record, dialect, n_before=unwritten.n_rows)
            unwritten.append(one)
            if left_out is not None:
                left_out.append(one)

    write_each(records, dialect_for(dialect, staged.name), str(staged), told=told)
    return unwritten


@contextmanager
def _folder_beside(out: Path) -> Iterator[Path]:
    """Give a folder that lasts for a while, on the disk that the file goes to."""
    with ExitStack() as lasting:
        try:
            folder = lasting.enter_context(passing_folder(out.parent, out.name))
        except OSError as error:
            raise SettingError(
                f"Nothing can be written there ({error.strerror}).", "Name a folder that is yours.", at=out.parent
            ) from error
        yield folder


def holding(record: Record) -> list[str]:
    """List the dialects that have a place for a record."""
    return [name for name, module in dialects.DIALECTS.items() if module.write(record) is not None]


def _nothing_written(records: Iterable[Record], dialect: str) -> SettingError:
    kinds: set[str] = set()
    able: list[str] = []
    in_the_way: list[str] = []
    for record in records:
        if not kinds:
            in_the_way = obstacles(record, dialects.DIALECTS[dialect])
        able = able or holding(record)
        kinds.add(kind_of(record))
    where, remedy = "", f"Choose a dialect that holds it: {', '.join(able)}."
    if dialect in able:
        where, remedy = " to such a file", "Choose another ending: .jsonl holds everything."
    why = f"the first has {', '.join(in_the_way)}" if in_the_way else f"they are {', '.join(sorted(kinds))}s"
    return SettingError(f"No record can be written as {dialect}{where}; {why}.", remedy, at="--to")


def _refused(account: _Account, unwritten: Tally, dialect: str) -> SettingError:
    told = [_counted(entry["key"], entry) for entry in account.gone.told()]
    told += [_counted(entry["reason"], entry) for entry in unwritten.told()]
    return SettingError(
        f"{dialect} cannot carry everything: {'; '.join(told)}. Nothing was written.",
        "Choose another dialect, or go on without --strict: what is lost is then kept in a file beside.",
        at="--strict",
    )


def _counted(what: str, entry: Mapping[str, Any]) -> str:
    """Say of how many rows something is true, and where the first stands."""
    rows = "1 row" if entry["rows"] == 1 else f"{entry['rows']} rows"
    first = f", the first {entry['places'][0]}" if entry["places"] else ""
    return f"{what} ({rows}{first})"


def _accounted(
    records: RecordSpool, places: Iterable[int], again: Iterator[tuple[int, list[Record]]], *, beside: Path
) -> _Account:
    """Compare each record with what came back of it; write what is lost, a line of JSON for each record.

    Args:
        records: all that were to be written.
        places: where each of them stands, or 0.
        again: what came back from each place, in their order.
        beside: the file for what is lost; there is none where nothing is.
    """
    account = _Account()
    with beside.open("wb") as lines:
        for kept, found in zip(records.each(), _matched(places, again), strict=True):
            record = kept.record
            gone: Mapping[str, Any] | Record = record
            if found is not None:
                gone = account.add(record, _nearest(record, found), is_repaired=kept.is_repaired)
            if gone:
                entry = {"at": str(record.origin or ""), "id": record.id, "lost": gone}
                lines.write(text_of(entry).encode() + b"\n")
    if not beside.stat().st_size:
        beside.unlink()
    return account


def _matched(places: Iterable[int], again: Iterator[tuple[int, list[Record]]]) -> Iterator[list[Record] | None]:
    """Give of each record what came back from its place; None where it has no place.

    From a place may come nothing: an empty line of a table is no row.
    """
    at, found = 0, list[Record]()
    for place in places:
        while at < place:
            at, found = next(again, (sys.maxsize, []))
        yield None if not place else found if at == place else []
    for _ in again:  # the end says whether anything could be read
        pass


def _nearest(record: Record, found: Sequence[Record]) -> Record | None:
    """Choose, of what came back of a row, what a record has become."""
    return found[0] if len(found) == 1 else next((one for one in found if says(one) == says(record)), None)


def _each(staged: Path, dialect: str, *, out: Path) -> Iterator[tuple[int, list[Record]]]:
    """Read what was written row by row: each row is a record's."""
    with _reading_again(dialect, out):
        yield from dialects.read_each(str(staged), dialect)


def _together(
    records: Iterable[Record], places: Iterable[int], dialect: str, *, folder: Path, out: Path
) -> Iterator[tuple[int, list[Record]]]:
    """Read what was written as a whole, and bring it together with the records."""
    kept = [record for record, place in zip(records, places, strict=True) if place]
    with _reading_again(dialect, out):
        found = dialects.read(_in_order(folder, kept[0]), dialect=dialect).records
    return ((n, [] if one is None else [one]) for n, (_, one) in enumerate(paired(kept, found), 1))


@contextmanager
def _reading_again(dialect: str, out: Path) -> Iterator[None]:
    try:
        yield
    except FormtuneError as error:
        raise DataError(
            f"{dialect} cannot be read again from such a file: {error.problem}",
            "Choose another ending (.jsonl holds everything), or another dialect.",
            at=out,
        ) from error


def _in_order(folder: Path, first: Record) -> list[str]:
    """List the written files; of aligned ones the source's comes first, then targets by their numbers."""
    language = first.source_language if isinstance(first, Pair) and len(first.targets) == 1 else None
    paths = sorted(folder.iterdir(), key=lambda path: (len(path.name), path.name))
    return [str(path) for path in sorted(paths, key=lambda path: path.suffix not in (f".{language}", ".src"))]
