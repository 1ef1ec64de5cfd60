"""What a user gives to be read: which files, in what layout, and their rows one after another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import msgspec

from formtune.dialects import aligned, descriptors
from formtune.dialects.columns import Columns, given_roles
from formtune.dialects.table import DIALECTS, KNOWN_NAMES
from formtune.errors import DataError, SettingError, unknown
from formtune.records import LeftOut
from formtune.sources import Mend, Row, Slice, expand, normalize, read_part, read_rows, value_of

_TURNS = ("messages", "conversations", "conversation")


@dataclass(frozen=True, slots=True)
class Given:
    """Files that are read together.

    Attributes:
        described: the files, and the layouts that descriptors give some of them.
        together: files that belong together line by line; empty where that is not what was given.
        known_names: normalized column names by which a table's header is known.
        encoding: of text files that are neither UTF-8 nor marked as UTF-16.
        header: whether a table's first line names its columns; None: decide from the content.
    """

    described: descriptors.Described
    together: Sequence[aligned.Aligned]
    known_names: frozenset[str]
    encoding: str | None
    header: bool | None

    def rows(self, part: Slice, *, mend: Mend | None = None) -> Iterator[Row | LeftOut]:
        """Read the rows of a slice, or of a whole file, which alone can be mended on the way.

        Raises:
            DataError: when the file cannot be read, or is at fault as a whole.
        """
        if part.end is not None:
            return read_part(part)
        return read_rows(part.path, known_names=self.known_names, encoding=self.encoding, header=self.header, mend=mend)

    def understood(self, row: Row | LeftOut) -> Row | LeftOut:
        """Read turns that stand as JSON text, and give a row of a described file the names that the dialects know."""
        return self.described.renamed(unpacked(row))


def look_at(
    paths: Sequence[str], dialect: str | None, columns: Columns, *, encoding: str | None, header: bool | None
) -> Given:
    """Find out which files are given.

    Raises:
        DataError: when a file is missing, or one alone is to be aligned.
        SettingError: when there is no such dialect, or no file is given.
    """
    if dialect is not None and dialect not in DIALECTS:
        raise unknown("dialect", dialect, list(DIALECTS), at="--dialect")
    described = descriptors.look_up(paths)
    together = [] if described.layouts else _aligned_files(described.files, dialect, columns, named=paths)
    if not together and not described.files:
        raise SettingError("No data is given.", "Name a file, a glob, '-' or an hf:// address.", at="DATA")
    known = KNOWN_NAMES | _given_names(columns) | described.names
    return Given(described, together, frozenset(known), encoding, header)


def unpacked(row: Row | LeftOut) -> Row | LeftOut:
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


def _given_names(columns: Columns) -> set[str]:
    given = [getattr(columns, field.name) for field in fields(columns)]
    return {normalize(part) for name in given if name for part in (name, *name.split(",")) if not part.isdecimal()}
