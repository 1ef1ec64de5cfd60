"""Rows of JSON in batches: each batch in the lane of its rows, at once where that can be done, or row by row."""

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from formtune.dialects.lanes import Item, Lane
from formtune.errors import DataError
from formtune.records import LeftOut
from formtune.sources import ArchiveCut, ElementReader, LineReader, Opened, Row, blocks_of, cut_off, elements_of
from formtune.sources.json_arrays import Element

_BLOCK_BYTES = 1 << 17  # of lines that are read at once; they should stay in the processor's cache
_MOST_SPLIT = 8  # blocks that could not be read at once, after which that is not tried any more


@contextmanager
def no_collection() -> Iterator[None]:
    """Let no garbage be looked for meanwhile: of the many small objects of a reading none is, and each look costs more."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Batch(Protocol):
    """Rows as JSON texts.

    Attributes:
        texts: of each row.
        lines: on which each begins.
    """

    @property
    def texts(self) -> Sequence[bytes]: ...

    @property
    def lines(self) -> Sequence[int]: ...

    def at_once(self, lane: Lane, general: Callable[[int], list[Item]]) -> list[Item] | None:
        """Read all rows at once, where that can be done; those that are not of the plainest form in the general way."""

    def rows(self, place: int, /) -> Iterable[Row | LeftOut]:
        """Read one row in the general way, given which it is."""


@dataclass(frozen=True)
class _Lines:
    """JSON lines that stand behind one another in a file."""

    reader: LineReader
    block: bytes
    first_line: int
    path: str

    @cached_property
    def texts(self) -> Sequence[bytes]:
        return self.block.removesuffix(b"\n").split(b"\n")

    @property
    def lines(self) -> Sequence[int]:
        return range(self.first_line, self.first_line + len(self.texts))

    def at_once(self, lane: Lane, general: Callable[[int], list[Item]]) -> list[Item] | None:
        return lane.of_block(self.block, self.first_line, path=self.path, general=general)

    def rows(self, place: int, /) -> Iterable[Row | LeftOut]:
        return self.reader.rows(self.texts[place].removesuffix(b"\r"), self.first_line + place)


@dataclass(frozen=True, slots=True)
class _Elements:
    """Elements of an array."""

    reader: ElementReader
    elements: Sequence[Element]

    @property
    def texts(self) -> Sequence[bytes]:
        return [one.raw for one in self.elements]

    @property
    def lines(self) -> Sequence[int]:
        return [one.line for one in self.elements]

    def at_once(self, lane: Lane, general: Callable[[int], list[Item]]) -> list[Item] | None:
        del lane, general  # white space and commas stand between them
        return None

    def rows(self, place: int, /) -> Iterable[Row | LeftOut]:
        return self.reader.rows(self.elements[place])


@dataclass(slots=True)
class _General:
    """Reads single rows of a batch as those are read that have no lane, and counts them."""

    items: Callable[[Iterable[Row | LeftOut]], Iterator[Item]]
    batch: _Batch
    n_rows: int = 0

    def __call__(self, place: int) -> list[Item]:
        self.n_rows += 1
        return list(self.items(self.batch.rows(place)))


def in_lane(
    lane: Lane, opened: Opened, form: str, *, items: Callable[[Iterable[Row | LeftOut]], Iterator[Item]]
) -> Iterator[list[Item]]:
    """Read rows of which most are of the plainest form; from a batch on of which most are not, in the general way.

    Args:
        lane: of the plainest form.
        opened: JSON lines, or an array.
        form: ``lines`` or ``array``.
        items: reads rows in the general way.
    """
    batches = _lines(opened) if form == "lines" else _elements(opened)
    is_worth_it, n_split = True, 0
    try:
        for batch in batches:
            general = _General(items, batch)
            with no_collection():
                found = batch.at_once(lane, general) if is_worth_it and n_split < _MOST_SPLIT else None
                if found is None:
                    n_split += 1
                    found = _one_by_one(batch, lane if is_worth_it else None, general, path=opened.path)
                is_worth_it = 2 * general.n_rows <= len(found)
            yield found
    except ArchiveCut as cut:
        yield [cut_off(opened.path, cut)]


def _one_by_one(batch: _Batch, lane: Lane | None, general: _General, *, path: str) -> list[Item]:
    if lane is None:
        return [item for place in range(len(batch.texts)) for item in general(place)]
    return lane.records(batch.texts, batch.lines, path=path, general=general)


def _lines(opened: Opened) -> Iterator[_Batch]:
    """Read JSON lines, a block at a time."""
    reader = LineReader(opened)
    for first_line, block in blocks_of(opened, _BLOCK_BYTES):
        yield _Lines(reader, block, first_line, opened.path)


def _elements(opened: Opened) -> Iterator[_Batch]:
    """Read the elements of an array, some at a time; those before what spoils it, or breaks it off, too."""
    elements, reader = elements_of(opened), ElementReader(opened)
    end: DataError | None = None
    while end is None:
        found: list[Element] = []
        n_bytes = 0
        try:
            for element in elements:
                found.append(element)
                n_bytes += len(element.raw)
                if n_bytes >= _BLOCK_BYTES:
                    break
        except DataError as error:  # what came before it is in the list
            end = error
        if not found:
            break
        yield _Elements(reader, found)
    if end is not None:
        raise end
