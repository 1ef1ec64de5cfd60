"""Rows as a Parquet file, in which nothing is padded.

Arrow gives every object of a column all keys that any of them has. So a column has a type of Arrow's own only where its values
are scalars of one kind, lists of such, or lists of objects that hold scalars alone (messages with a role, a content and
perhaps a weight); whatever is mixed or nested deeper (tool calls, schemas) is JSON text, and so is a column with a null that
was written as one. Which columns are text for this reason stands in the file, for :mod:`formtune.sources.columnar` to undo.

What a column's type is depends on all rows: they are gone through first (:class:`Shape`), and then written, some megabytes
to a row group.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from formtune.dialects.columns import Object
from formtune.dialects.files import blocks
from formtune.sources import JSON_COLUMNS, text_of, value_of

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_CHARACTERS = 1 << 25  # of JSON, in a row group; the last row of it aside
_BATCH_ROWS = 1 << 10
_BATCH_CHARACTERS = 1 << 20
_LARGEST = 1 << 63  # whole numbers are signed in Arrow, with 64 bits
_MOST_KEYS = 1000  # objects with more keys among them are no messages; as columns they would fill the memory


@dataclass(slots=True)
class _Scalars:
    """What kinds of values stand in one place of rows."""

    kinds: set[type] = field(default_factory=set)
    fits: bool = True

    def add(self, value: Any) -> None:
        self.kinds.add(type(value))
        self.fits = self.fits and (type(value) is not int or -_LARGEST <= value < _LARGEST)

    def type(self) -> "pa.DataType | None":
        """Give Arrow's type for them; None where there is none that holds every value as it is."""
        import pyarrow as pa

        known = {
            str: pa.string(),
            bool: pa.bool_(),
            int: pa.int64(),
            float: pa.float64(),
        }  # a longer number is no float
        return known.get(next(iter(self.kinds))) if len(self.kinds) == 1 and self.fits else None


@dataclass(slots=True)
class _Column:
    """What stands in a column: values, values in lists, and values of objects in lists."""

    own: _Scalars = field(default_factory=_Scalars)
    inner: _Scalars = field(default_factory=_Scalars)
    keys: dict[str, _Scalars] = field(default_factory=dict)
    has_lists: bool = False

    def add(self, value: Any) -> None:
        if not isinstance(value, list):
            self.own.add(value)
            return
        self.has_lists = True
        for part in value:
            if isinstance(part, dict) and len(self.keys) <= _MOST_KEYS:
                for name, inside in part.items():
                    self.keys.setdefault(name, _Scalars()).add(inside)
            if not isinstance(part, dict) or not part:
                self.inner.add(part)

    def type(self) -> "pa.DataType | None":
        import pyarrow as pa

        if self.own.kinds:
            return None if self.has_lists else self.own.type()
        if not self.keys:
            kind = self.inner.type()
            return None if kind is None else pa.list_(kind)
        kinds = {name: scalars.type() for name, scalars in self.keys.items()}
        if self.inner.kinds - {dict} or None in kinds.values() or len(kinds) > _MOST_KEYS:
            return None
        return pa.list_(pa.struct(list(kinds.items())))


class Shape:
    """What the columns of rows are: found out from all rows, in the order in which their keys first appear."""

    def __init__(self) -> None:
        self._columns: dict[str, _Column] = {}

    def add(self, row: Object) -> None:
        """Look at a row."""
        for name, value in _plain(text_of(row)).items():
            self._columns.setdefault(name, _Column()).add(value)

    def types(self) -> "dict[str, pa.DataType | None]":
        """Give each column's type; None for a column of JSON text."""
        return {name: column.type() for name, column in self._columns.items()}


@contextmanager
def parquet_file(path: str, shape: Shape) -> Iterator[Callable[[Object], int]]:
    """Write rows as a Parquet file, which is whole or not there.

    Args:
        path: of the file.
        shape: of all rows that will come.

    Returns:
        What writes a row, and gives its number, from 1.
    """
    import pyarrow as pa  # a tenth of a second to import, for those who write it
    import pyarrow.parquet as pq

    types = shape.types()
    as_text = [name for name, kind in types.items() if kind is None]
    schema = pa.schema([(name, kind or pa.string()) for name, kind in types.items()])
    schema = schema.with_metadata({JSON_COLUMNS: text_of(as_text).encode()})
    with (
        blocks(path) as write,
        pq.ParquetWriter(pa.PythonFile(_Sink(write), "w"), schema, compression="zstd") as writer,
    ):
        group = _Group(schema, as_text)

        def put(row: Object) -> int:
            if group.add(row):
                writer.write_table(group.taken())
            return group.n_rows

        yield put
        if (rest := group.taken()).num_rows:
            writer.write_table(rest)


class _Group:
    """Collects the rows of a row group; they are columns of Arrow soon, in which they take a tenth of the memory."""

    def __init__(self, schema: "pa.Schema", as_text: Sequence[str]) -> None:
        self.n_rows = 0
        self._schema = schema
        self._as_text = frozenset(as_text)
        self._n_characters = 0
        self._n_packed = 0  # of these characters
        self._waiting: list[dict[str, Any]] = []
        self._batches: list[pa.RecordBatch] = []

    def add(self, row: Object) -> bool:
        """Take a row, and say whether the group is full."""
        text = text_of(row)
        self._waiting.append(_plain(text))
        self._n_characters += len(text)
        self.n_rows += 1
        if len(self._waiting) >= _BATCH_ROWS or self._n_characters - self._n_packed >= _BATCH_CHARACTERS:
            self._pack()
        return self._n_characters >= GROUP_CHARACTERS

    def taken(self) -> "pa.Table":
        """Give the group, and begin another."""
        import pyarrow as pa

        self._pack()
        table = pa.Table.from_batches(self._batches, self._schema).combine_chunks()
        self._n_characters, self._n_packed, self._batches = 0, 0, []
        return table

    def _pack(self) -> None:
        import pyarrow as pa

        if not self._waiting:
            return
        columns = [pa.array(self._values(one.name), one.type) for one in self._schema]
        self._batches.append(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        self._waiting, self._n_packed = [], self._n_characters

    def _values(self, name: str) -> list[Any]:
        if name not in self._as_text:
            return [row.get(name) for row in self._waiting]
        return [text_of(row[name]) if name in row else None for row in self._waiting]


class _Sink:
    """What Arrow needs to write to: packed files do not say how much was written to them."""

    closed = False

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._n_bytes = 0

    def write(self, data: Any) -> int:
        taken = bytes(data)
        self._write(taken)
        self._n_bytes += len(taken)
        return len(taken)

    def tell(self) -> int:
        return self._n_bytes

    def flush(self) -> None:
        """Wait for nothing: the file is written in blocks."""

    def close(self) -> None:
        """Leave the file to whoever opened it."""


def _plain(text: str) -> dict[str, Any]:
    """Read a row's own text again: what it holds is JSON then, and no value that was only to be written as such."""
    plain: dict[str, Any] = value_of(text)
    return plain
