"""Shards: the sequences of a slice as one Arrow file, which is mapped into memory and not copied.

A row is a sequence: where its record stands (``file``, counted in the manifest's list from the shard's first, and ``line``), its ``ids``, and
its *runs*: stretches of tokens that carry the same (``run_ends``, counted from the beginning of the sequence, and
``run_bearings``, numbers in the table ``bearings``). Columns that hold nothing are left away: ``labels`` where they are
the ids, ``gold`` and ``words`` where there are no candidates, ``corruption``, and the ``decoder_`` columns. The tables and
what was counted stand in the schema's metadata, as JSON. The ids take four bytes a token, all else a few bytes a run.
"""

import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import numpy as np
import pyarrow as pa

from formtune.assembly import Bearing
from formtune.errors import DataError
from formtune.leaves import Leaf
from formtune.shards import room_at
from formtune.sheets import Sheet

KIND = "formtune shard"
_KEY = b"formtune"
_MOST_IDS = 2**31 - 1  # that offsets of 32 bits can count


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """A shard that was read; its arrays are parts of the file, which cannot be written to.

    Attributes:
        leaf: its sequences; their numbers are their places.
        files_N: int32, the file that each record comes from, counted in the manifest's list from the shard's first on;
            -1 where it has none.
        lines_N: int64, the line on which it begins there.
        facts: what was counted when it was made.
    """

    leaf: Leaf
    files_N: np.ndarray
    lines_N: np.ndarray
    facts: Mapping[str, Any]


def write_shard(path: Path, leaf: Leaf, *, files_N: np.ndarray, lines_N: np.ndarray, facts: Mapping[str, Any]) -> str:
    """Write a shard, whole or not at all: beside its place first, forced to disk, and then renamed.

    Args:
        path: where it will stand.
        leaf: the sequences.
        files_N: as in :class:`Shard`.
        lines_N: likewise.
        facts: plain values, which are kept with it.

    Returns:
        The SHA-256 of what was written, in hex.

    Raises:
        SettingError: where no room is left.
    """
    columns = {"file": pa.array(files_N, pa.int32()), "line": pa.array(lines_N, pa.int64())}
    columns |= _side_columns(leaf.sheet, "")
    if leaf.decoder is not None:
        columns |= _side_columns(leaf.decoder, "decoder_")
    for name, values_N in (("gold", leaf.golds_N), ("words", leaf.words_N), ("corruption", leaf.corruptions_N)):
        if (values_N > (0 if name == "corruption" else -1)).any():
            columns[name] = pa.array(values_N)
    tables = {
        "bearings": leaf.sheet.bearings,
        "decoder_bearings": () if leaf.decoder is None else leaf.decoder.bearings,
        "words": [[ids.tolist() for ids in candidates] for candidates in leaf.words],
    }
    told = json.dumps({"kind": KIND, "facts": facts, **tables}, ensure_ascii=False, sort_keys=True)
    table = pa.table(columns).replace_schema_metadata({_KEY: told.encode("utf-8", "surrogatepass")})
    with _whole(path) as file, _Digesting(file) as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.digest.hexdigest()


class _Digesting(io.RawIOBase):
    """A file that is written to, and the digest of what was."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def write(self, content: Any) -> int:
        """Write bytes."""
        self.digest.update(content)
        return self._file.write(content)


def write_whole(path: Path, content: str) -> None:
    """Write a text beside its place, force it to disk, and rename it: it is there whole, or not at all.

    Raises:
        SettingError: where no room is left.
    """
    with _whole(path) as file:
        file.write(content.encode())


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    with room_at(path.parent):
        try:
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)


def _side_columns(sheet: Sheet, prefix: str) -> dict[str, pa.Array]:
    named = {"ids": (sheet.ids_T, sheet.ends_N), "run_ends": (sheet.run_ends_R, sheet.runs_N)}
    named["run_bearings"] = (sheet.bearings_R, sheet.runs_N)
    if sheet.labels_T is not None:
        named["labels"] = (sheet.labels_T, sheet.ends_N)
    return {prefix + name: _lists(values, ends_N) for name, (values, ends_N) in named.items()}


def _lists(values: np.ndarray, ends_N: np.ndarray) -> pa.Array:
    assert len(values) <= _MOST_IDS, "a slice has fewer tokens than bytes, and these are counted in megabytes"
    offsets = np.concatenate([[0], ends_N]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))


def shard_facts(path: Path) -> Mapping[str, Any]:
    """Read what was counted when a shard was made, and no sequence.

    Raises:
        DataError: where it is no shard.
    """
    with _opened(path) as reader:
        facts: Mapping[str, Any] = _told(reader.schema, path)["facts"]
        return facts


def shard_lengths(path: Path) -> np.ndarray:
    """Give the tokens of each sequence of a shard, both sides of an encoder-decoder's counted apart.

    Returns:
        int64, N × 1 or N × 2.

    Raises:
        DataError: where it is no shard.
    """
    with _opened(path) as reader:
        table = reader.read_all()
        names = [name for name in ("ids", "decoder_ids") if name in table.schema.names]
        return np.stack([np.diff(_flat(table, name)[1], prepend=0) for name in names], axis=1)


def read_shard(path: Path) -> Shard:
    """Map a shard into memory.

    Raises:
        DataError: where it is no shard.
    """
    with _opened(path) as reader:
        table = reader.read_all()
    told = _told(table.schema, path)
    n_sequences = table.num_rows

    def column(name: str, kind: type, default: int) -> np.ndarray:
        if name not in table.schema.names:
            return np.full(n_sequences, default, dtype=kind)
        return np.asarray(table.column(name).combine_chunks().to_numpy(zero_copy_only=False))

    has_decoder = "decoder_ids" in table.schema.names
    leaf = Leaf(
        sheet=_sheet(table, told["bearings"], ""),
        decoder=_sheet(table, told["decoder_bearings"], "decoder_") if has_decoder else None,
        numbers_N=np.arange(n_sequences),
        golds_N=column("gold", np.int32, -1),
        words_N=column("words", np.int32, -1),
        corruptions_N=column("corruption", np.uint8, 0),
        words=tuple(tuple(np.array(ids, dtype=np.int32) for ids in candidates) for candidates in told["words"]),
    )
    return Shard(leaf, column("file", np.int32, -1), column("line", np.int64, 0), told["facts"])


def _opened(path: Path) -> pa.ipc.RecordBatchFileReader:
    try:
        return pa.ipc.open_file(pa.memory_map(str(path)))
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"This is no shard ({error}).", "Prepare the data again.", at=path) from error


def _told(schema: pa.Schema, path: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((schema.metadata or {}).get(_KEY, b"{}"))
    if told.get("kind") != KIND:
        raise DataError("This Arrow file is no shard of formtune's.", "Prepare the data again.", at=path)
    return told


def _sheet(table: pa.Table, bearings: Sequence[Sequence[Any]], prefix: str) -> Sheet:
    ids_T, ends_N = _flat(table, f"{prefix}ids")
    run_ends_R, runs_N = _flat(table, f"{prefix}run_ends")
    has_labels = f"{prefix}labels" in table.schema.names
    return Sheet(
        ids_T=ids_T,
        labels_T=_flat(table, f"{prefix}labels")[0] if has_labels else None,
        ends_N=ends_N,
        run_ends_R=run_ends_R,
        bearings_R=_flat(table, f"{prefix}run_bearings")[0],
        runs_N=runs_N,
        bearings=tuple(Bearing(*one) for one in bearings),
    )


def _flat(table: pa.Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Give the values of a column of lists, and where each list ends."""
    chunks = table.column(name).chunks
    if not chunks:
        return np.zeros(0, dtype=table.schema.field(name).type.value_type.to_pandas_dtype()), np.zeros(
            0, dtype=np.int64
        )
    (lists,) = chunks  # a shard is written as one batch
    offsets = lists.offsets.to_numpy().astype(np.int64)
    return lists.values.to_numpy(), offsets[1:]
