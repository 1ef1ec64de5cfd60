"""Values on disk, for a while: to go through them twice without holding them."""

from array import array
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Generic, Self, TypeVar

import msgspec

from formtune.records import Record, content_digest
from formtune.repeats import Repeats

_LENGTH_BYTES = 8
_BLOCK_BYTES = 1 << 16
Value = TypeVar("Value")


class Spool(Generic[Value]):
    """Values in the order in which they came, in a file that has no name and ends with the spool.

    Args:
        folder: on whose disk; None for the usual one.
        kind: of the values, as msgspec knows it.
    """

    def __init__(self, folder: Path | None, kind: type[Value]) -> None:
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115 (closed by __exit__)
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(kind).decode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._file.close()

    def append(self, value: Value) -> None:
        """Keep a value; not while all are gone through."""
        data = self._encode(value)
        self._file.write(len(data).to_bytes(_LENGTH_BYTES, "little"))
        self._file.write(data)

    def __iter__(self) -> Iterator[Value]:
        """Give all values again, one at a time; one walk must be over before another begins."""
        self._file.seek(0)
        while head := self._file.read(_LENGTH_BYTES):
            yield self._decode(self._file.read(int.from_bytes(head, "little")))


class Numbers:
    """Whole numbers of up to 64 bits, likewise."""

    def __init__(self, folder: Path | None) -> None:
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115 (closed by __exit__)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._file.close()

    def append(self, number: int) -> None:
        """Keep a number; not while all are gone through."""
        self._file.write(number.to_bytes(_LENGTH_BYTES, "little"))

    def __iter__(self) -> Iterator[int]:
        """Give all numbers again; one walk must be over before another begins."""
        self._file.seek(0)
        while block := self._file.read(_BLOCK_BYTES):
            yield from array("Q", block)


class Kept(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A record, and whether its row was repaired."""

    record: Record
    is_repaired: bool


class RecordSpool:
    """Records on disk, with the ids that :func:`formtune.records.identified` gives to all of them together.

    Args:
        folder: on whose disk.

    Attributes:
        n_records: how many there are.
    """

    def __init__(self, folder: Path) -> None:
        self._spool = Spool(folder, Kept)
        self._repeats = Repeats(folder)
        self.n_records = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._spool.__exit__(kind, error, trace)
        self._repeats.__exit__(kind, error, trace)

    def append(self, record: Record, *, is_repaired: bool = False) -> None:
        """Keep a record; not while all are gone through."""
        if not record.id:
            digest = content_digest(record)
            self._repeats.append(int(digest, 16), self.n_records)
            record = msgspec.structs.replace(record, id=digest)
        self._spool.append(Kept(record, is_repaired))
        self.n_records += 1

    def each(self) -> Iterator[Kept]:
        """Give all records with their ids; one walk must be over before another begins, and none can be kept then."""
        again = self._repeats.again()
        number, count = next(again, (self.n_records, 1))
        for place, kept in enumerate(self._spool):
            if place == number:
                own = msgspec.structs.replace(kept.record, id=f"{kept.record.id}-{count}")
                kept = msgspec.structs.replace(kept, record=own)
                number, count = next(again, (self.n_records, 1))
            yield kept

    def __iter__(self) -> Iterator[Record]:
        """Give the records alone, as :meth:`each` does."""
        return (kept.record for kept in self.each())
