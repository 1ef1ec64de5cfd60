"""Records on disk, for a while: to go through them twice without holding them."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Self

import msgspec

from formtune.records import Record

_LENGTH_BYTES = 8


class Spool:
    """Records in the order in which they came, in a file that has no name and ends with the spool.

    Attributes:
        n_records: how many there are.
    """

    def __init__(self, folder: Path) -> None:
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115 (closed by __exit__)
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Record).decode
        self.n_records = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._file.close()

    def through(self, records: Iterable[Record]) -> Iterator[Record]:
        """Give records on, each once it is kept."""
        for record in records:
            data = self._encode(record)
            self._file.write(len(data).to_bytes(_LENGTH_BYTES, "little"))
            self._file.write(data)
            self.n_records += 1
            yield record

    def __iter__(self) -> Iterator[Record]:
        """Give all records again, one at a time; one walk must be over before another begins."""
        self._file.seek(0)
        while head := self._file.read(_LENGTH_BYTES):
            yield self._decode(self._file.read(int.from_bytes(head, "little")))
