"""A prepared folder: shards, what shares a row, and a manifest that counts everything; how it is made whole, and read.

While it is being made, shards stand in a folder beside it under their digests, so that what was killed goes on. When all
are there they move over at once. A folder that is made anew keeps the shards whose lots and order are the same.

Shape letters: T tokens, N sequences, P packs.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence, ValuesView
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import pyarrow as pa

from formtune.errors import DataError
from formtune.leaves import Leaf
from formtune.locks import held_folder
from formtune.model_files import file_digest, read_json
from formtune.packing import Packs, best_fit, in_order, of_similar_length
from formtune.preparing import Made
from formtune.shard_files import Shard, read_shard, shard_lengths, write_whole
from formtune.shards import MANIFEST, digest_of, read_manifest, staged, sweep
from formtune.tallies import merged_tallies
from formtune.tokens import Tokens

KIND, MIXTURE = "prepared", "mixture"
PACKS = "packs.arrow"
DRAWN = "drawn.arrow"  # of a mixture
Packing = Literal["best-fit", "in-order", "similar-length", "none"]
_LOCK = "lock"
COUNTED = ("rows", "records", "tokens", "learned_tokens", "corrupted", "truncated", "lossy", "control_texts")


@contextmanager
def held_place(out: Path) -> Iterator[Path]:
    """Hold the place of a folder for this process alone; what killed ones left half written beside it is removed.

    Args:
        out: where the folder will stand.

    Returns:
        A folder beside it; it is removed in the end, if nothing whole was put into it.

    Raises:
        SettingError: where another process holds it, or it cannot be written.
    """
    folder = out.with_name(f"{out.name}.shards")
    with held_folder(folder, _LOCK, keeps="shard", busy="Another process writes here."):
        sweep(out.parent, name=out.name)
        try:
            yield folder
        finally:
            if all(left.name == _LOCK or left.name.startswith(".") for left in folder.iterdir()):
                shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # a file that was open keeps a folder of NFS from being removed
        folder.rmdir()


@contextmanager
def being_made(out: Path, *, fresh: bool = False) -> Iterator[Path]:
    """Hold the folder in which the shards of a preparation are put, for this process alone.

    Shards of an older preparation at the same place are put there first. When the block ends well the folder is removed.

    Args:
        out: where the prepared folder will stand.
        fresh: use nothing that is there.

    Raises:
        SettingError: where another process prepares to the same place, or it cannot be written.
        DataError: where something else stands there.
    """
    with held_place(out) as folder:
        for left in folder.iterdir():
            if left.name.startswith(".") or (fresh and left.name != _LOCK):
                left.unlink(missing_ok=True)  # a worker of what was killed may still come to its end
        if not fresh and (out / MANIFEST).is_file():
            _bring_over(out, folder)
        yield folder
        for done in folder.iterdir():
            if done.name != _LOCK:
                done.unlink(missing_ok=True)


def _bring_over(out: Path, folder: Path) -> None:
    """Take what is whole of an older preparation; what is damaged is made again."""
    manifest = read_manifest(out, kind=KIND, with_files=False)
    whole = set()
    for shard in manifest.get("shards", ()):
        source, place = out / shard["file"], folder / f"{shard['name']}.arrow"
        if not source.is_file() or file_digest(source) != manifest["files"].get(shard["file"]):
            continue
        whole.add(shard["name"])
        if not place.is_file():
            link(source, place)
    for name, lots in manifest.get("slices", {}).items():
        if whole.issuperset(lots):
            write_whole(folder / f"{name}.json", json.dumps({"lots": lots}))


def link(source: Path, place: Path) -> None:
    """Let a file stand at a second place; where the file system has no links it is copied."""
    try:
        os.link(source, place)
    except OSError:
        shutil.copyfile(source, place)


def gather(
    out: Path, made: Sequence[Made], folder: Path, *, packing: Packing, capacity: int, manifest: dict[str, Any]
) -> dict[str, Any]:
    """Make a prepared folder of its shards, whole or absent.

    Args:
        out: where it will stand.
        made: the shards, in the order of the data.
        folder: where they are.
        packing: how sequences share a row.
        capacity: the most tokens of a row.
        manifest: what it was made of, ``output`` among it; counts are added.

    Returns:
        What was counted: the keys of ``prepare --json``.
    """
    kept = [one for one in made if one.facts["records"]]
    counts = {name: sum(one.facts[name] for one in made) for name in COUNTED}
    lengths = [shard_lengths(folder / f"{one.name}.arrow") for one in kept]
    sides_NS = np.concatenate(lengths) if lengths else np.zeros((0, 1), dtype=np.int64)
    packs = packed(sides_NS, packing, capacity)
    files = [f"shard-{number:05}.arrow" for number in range(len(kept))]
    facts = {
        **counts,
        "output": manifest["output"],
        **packing_facts(packs, packing, capacity=capacity, n_tokens=counts["tokens"], n_sides=sides_NS.shape[1]),
        **{name: merged_tallies(one.facts[name] for one in made) for name in ("left_out", "parts_lost")},
    }
    manifest |= {"kind": KIND, **facts}
    manifest["shards"] = [
        {
            "file": file,
            "name": one.name,
            "records": one.facts["records"],
            "tokens": one.facts["tokens"],
            "first_source": one.first_source,
        }
        for file, one in zip(files, kept, strict=True)
    ]
    manifest["slices"] = _whole_slices(made)
    known = {file: one.digest for file, one in zip(files, kept, strict=True)}
    with staged(out, manifest, known=known) as staging:
        for file, one in zip(files, kept, strict=True):
            link(folder / f"{one.name}.arrow", staging / file)
        write_packs(staging / PACKS, packs)
    digests = read_files(out)
    return {**facts, "digest": digest_of(digests)}


def _whole_slices(made: Sequence[Made]) -> dict[str, list[str]]:
    """List the shards of each slice, where all of them are kept: a slice is then known to be done."""
    slices: dict[str, list[str]] = {}
    lacking = set()
    for one in made:
        name, is_lot, _ = one.name.partition("-")
        if is_lot:
            slices.setdefault(name, []).append(one.name)
            lacking |= set() if one.facts["records"] else {name}
    return {name: lots for name, lots in slices.items() if name not in lacking}


def read_files(folder: Path) -> dict[str, str]:
    """Give the digests of a prepared folder's files, as its manifest has them."""
    files: dict[str, str] = read_json(folder / MANIFEST)["files"]
    return files


def packing_facts(packs: Packs, asked: Packing, *, capacity: int, n_tokens: int, n_sides: int) -> dict[str, Any]:
    """Say how sequences share rows, and how full these are; tokens are those of all sides, each of which has room."""
    return {
        "packs": len(packs),
        "packing": _packing(asked, n_sides),
        "capacity": capacity,
        "filled": round(n_tokens / (len(packs) * capacity * n_sides), 4) if len(packs) else 0.0,
    }


def _packing(asked: Packing, n_sides: int) -> Packing:
    """Say how sequences are put together: those with two sides cannot share a row, and are put by similar length."""
    return "similar-length" if n_sides > 1 and asked != "none" else asked


def packed(sides_NS: np.ndarray, asked: Packing, capacity: int) -> Packs:
    """Let sequences share rows.

    Args:
        sides_NS: tokens of each sequence; both sides of an encoder-decoder's, which are always put by similar length.
        asked: how.
        capacity: the most tokens of a row, on each side; no sequence is longer.
    """
    match _packing(asked, sides_NS.shape[1]):
        case "none":
            numbers_N = np.arange(len(sides_NS))
            return Packs(numbers_N, numbers_N + 1)
        case "similar-length":
            return of_similar_length(list(sides_NS.T), [capacity] * sides_NS.shape[1])
        case "best-fit":
            return best_fit(sides_NS[:, 0], capacity)
        case "in-order":
            return in_order(sides_NS[:, 0], capacity)


def write_packs(path: Path, packs: Packs) -> None:
    """Write packs as one Arrow file: a row a pack, a list of the numbers of its sequences."""
    offsets = pa.array(np.concatenate([[0], packs.ends_P]), pa.int64())
    _write(path, pa.table({"sequences": pa.LargeListArray.from_arrays(offsets, pa.array(packs.sequences_N))}))


def write_drawn(path: Path, numbers_D: np.ndarray) -> None:
    """Write the numbers of drawn sequences as one Arrow file, in the order in which they are met."""
    _write(path, pa.table({"sequence": pa.array(numbers_D, pa.int64())}))


def _write(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


@dataclass(frozen=True, slots=True, eq=False)
class PreparedFolder:
    """A prepared folder that was opened; shards are mapped into memory as they are asked for.

    Attributes:
        folder: where it stands.
        manifest: what it was made of.
        packs: which sequences share a row.
        ends_S: int64, the number behind the last sequence of each shard.
        drawn_D: int64, the numbers of the sequences in the order in which they are met: each once, but for a mixture.
    """

    folder: Path
    manifest: Mapping[str, Any]
    packs: Packs
    ends_S: np.ndarray
    drawn_D: np.ndarray
    _read: dict[int, Shard] = field(default_factory=dict)

    def __len__(self) -> int:
        """Count the sequences."""
        return int(self.ends_S[-1]) if len(self.ends_S) else 0

    def shard(self, number: int) -> Shard:
        """Give a shard, by its number from 0."""
        if number not in self._read:
            self._read[number] = read_shard(self.folder / self.manifest["shards"][number]["file"])
        return self._read[number]

    def locate(self, number: int) -> tuple[int, int]:
        """Give the number of the shard that holds a sequence, and its place there.

        Raises:
            IndexError: where there is none of that number.
        """
        if not 0 <= number < len(self):
            raise IndexError(number)
        index = int(np.searchsorted(self.ends_S, number, side="right"))
        return index, number - (int(self.ends_S[index - 1]) if index else 0)

    def tokens(self, number: int) -> Tokens:
        """Give a sequence, by its number from 0.

        Raises:
            IndexError: where there is none.
        """
        index, row = self.locate(number)
        return self.shard(index).leaf.tokens(row, id=self.place(number))

    def place(self, number: int) -> str:
        """Say where the record of a sequence stands: its file and line.

        Raises:
            IndexError: where there is none.
        """
        index, row = self.locate(number)
        shard = self.shard(index)
        file, line = int(shard.files_N[row]), int(shard.lines_N[row])
        first = self.manifest["shards"][index].get("first_source", 0)
        named = self.manifest["sources"][first + file] if file >= 0 else "-"
        return f"{named}:{line}" if line else f"{named}#{number + 1}"

    def leaves(self) -> Iterator[Leaf]:
        """Give the sequences shard by shard."""
        for number in range(len(self.ends_S)):
            yield self.shard(number).leaf


class PreparedTokens(Mapping[str, Tokens]):
    """The sequences of a prepared folder as a training takes them, by their places in the order in which they are met.

    Each is made as it is asked for, and not kept. A mixture has a sequence as often as it drew it.
    """

    def __init__(self, prepared: PreparedFolder) -> None:
        self._prepared = prepared

    def __getitem__(self, place: str) -> Tokens:
        """Give one sequence."""
        if not place.isdecimal() or int(place) >= len(self):
            raise KeyError(place)
        index, row = self._prepared.locate(int(self._prepared.drawn_D[int(place)]))
        return self._prepared.shard(index).leaf.tokens(row, id=place)

    def __iter__(self) -> Iterator[str]:
        """Give the places, in order."""
        return map(str, range(len(self)))

    def __len__(self) -> int:
        """Count the sequences, as often as they are met."""
        return len(self._prepared.drawn_D)

    def values(self) -> "_Met":
        """Give the sequences in order; a place is an index."""
        return _Met(self)


class _Met(Sequence[Tokens], ValuesView[Tokens]):
    """The sequences of :class:`PreparedTokens` by number, none of which is kept."""

    def __init__(self, tokens: PreparedTokens) -> None:
        super().__init__(tokens)
        self._tokens = tokens

    @overload
    def __getitem__(self, index: int) -> Tokens: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tokens]: ...
    def __getitem__(self, index: int | slice) -> Tokens | list[Tokens]:
        """Give one sequence, or some."""
        places = range(len(self))[index]
        return self._tokens[str(places)] if isinstance(places, int) else [self[place] for place in places]


def open_prepared(folder: str | Path, *, with_files: bool = True) -> PreparedFolder:
    """Open a prepared folder; every file is held against its digest first.

    Args:
        folder: where it stands.
        with_files: False where they were a moment ago.

    Raises:
        DataError: where there is none, or a file is not what was written.
    """
    manifest = read_manifest(folder, kind=KIND, with_files=with_files)
    if "shards" not in manifest:
        raise DataError("An earlier version of formtune has prepared this.", "Prepare the data again.", at=folder)
    lists = _column(Path(folder) / PACKS, "sequences")
    packs = Packs(lists.values.to_numpy(), lists.offsets.to_numpy()[1:])
    ends_S = np.cumsum([shard["records"] for shard in manifest["shards"]], dtype=np.int64)
    n_sequences = int(ends_S[-1]) if len(ends_S) else 0
    is_mixture = DRAWN in manifest["files"]
    drawn_D = _column(Path(folder) / DRAWN, "sequence").to_numpy() if is_mixture else np.arange(n_sequences)
    return PreparedFolder(Path(folder), manifest, packs, ends_S, drawn_D)


def _column(path: Path, name: str) -> Any:
    """Map a column into memory."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all().column(name).combine_chunks()
