"""Preparation, slice by slice: what a worker gets, and the one step that it does.

A *lot* is what becomes one shard: some ten thousand rows of a slice, or of records where files cannot be read slice by
slice. What it becomes depends on nothing else than the lot and the *order*, so that whoever does it, wherever, makes the
same bytes. A shard is named by the digest of both, and one that is there already is not made again; a slice is done when
the list of its shards is there.
"""

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import formtune
from formtune import formats
from formtune.arms import make_arms
from formtune.columnar import Prepared, Preparer
from formtune.dialects.lane_batches import no_collection
from formtune.dialects.streaming import Plan, records_of
from formtune.examples import Format, Task
from formtune.formats.tasks import witnesses
from formtune.kept_rows import KeptRows
from formtune.machine import keep_memory
from formtune.model_files import decoder_start_in, file_digest, max_length_in, read_json, resolve
from formtune.progress import Event, Progress
from formtune.records import LeftOut, Record, answer_text, input_text
from formtune.shard_files import shard_facts, write_shard, write_whole
from formtune.sources import Slice, open_bytes
from formtune.sources.hub import is_hub
from formtune.splits import has_answer
from formtune.tallies import accounted
from formtune.template_options import TemplateOptions
from formtune.tokens import load_tokenizer

VERSION = 1  # of what shards hold; raise it where the same lots and orders become other bytes
SLICE_BYTES = 2_500_000
LOT_RECORDS = 32_768
STAGE = "preparing"
_BLOCK = 1 << 20
_KEPT = KeptRows(most_bytes=6 * SLICE_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is made of every lot.

    Attributes:
        format: its name.
        template: the text of the user's own template, where the format is one; with ``place``, its path.
        place: likewise.
        model: which.
        model_files: name and digest of the files beside its weights, since they may change while a process lasts.
        task: what the format knows of the whole data set.
        max_length: the most tokens of a sequence; None for the model's own limit.
        pack_tokens: the most tokens of a row, in which sequences may stand together; no sequence is longer. None for as
            many as a sequence may have.
        template_options: what its chat template is told besides conversations.
        reading: how slices are read, as JSON text; empty where records are handed out.
        files: every file, in order.
        folder: where shards are put.
        plan: how slices are read; None where records are handed out.
        sample: texts of the data, which a tokenizer library is compared on; empty where they are too few for another
            library than the reference to be worth its proof.
    """

    format: str
    template: str | None
    place: str | None
    model: str
    model_files: tuple[tuple[str, str], ...]
    task: Task
    max_length: int | None
    pack_tokens: int | None
    template_options: TemplateOptions
    reading: str
    files: tuple[str, ...]
    folder: Path
    # Two orders are the same if all else is: ``reading`` says of the plan what decides, and no library changes ids.
    plan: Plan | None = field(compare=False)
    sample: tuple[str, ...] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Made:
    """A shard that is there.

    Attributes:
        name: the digest of what it was made of.
        facts: what was counted.
        digest: of its file, SHA-256 in hex; empty where there is none, since nothing was left of the rows.
        first_source: the place, in the list of all files, of the first one that its sequences count.
    """

    name: str
    facts: Mapping[str, Any]
    digest: str = ""
    first_source: int = 0


@lru_cache(maxsize=2)
def order_digest(order: Order) -> str:
    """Digest all of an order that decides the bytes of shards: tokenizer files, template and our own code included."""
    preparer = preparer_of(order)
    told = {
        "version": VERSION,
        "code": code_digest(),
        "format": [order.format, order.template],
        "model": order.model_files,
        "tokenizer": preparer.tokenizer.digest,
        "options": preparer.tokenizer.chat_template.told,
        "start": preparer.start_id,
        "capacity": preparer.capacity,
        "shape": preparer.arm.shape,
        "task": asdict(order.task),
        "reading": order.reading,
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode("utf-8", "surrogatepass")).hexdigest()


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Digest the source of the package, so that what other code has made is not taken for what this would make."""
    digest = hashlib.sha256()
    for path in sorted(Path(formtune.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def format_of(order: Order) -> Format:
    """Look up the format of an order, or make it from the user's own template."""
    if order.template is None or order.place is None:
        return formats.named(order.format)
    return formats.custom_format(order.template, Path(order.place).stem, path=order.place)


def files_beside_weights(model: str) -> tuple[tuple[str, str], ...]:
    """Name and digest the files of a model that say how text becomes tokens, and how many it takes.

    Raises:
        SettingError: where there is no such model.
    """
    files = [file for file in resolve(model).iterdir() if file.suffix in (".json", ".jinja")]
    return tuple((file.name, file_digest(file)) for file in sorted(files))


@lru_cache(maxsize=2)
def preparer_of(order: Order) -> Preparer:
    """Load what an order needs, once in a process, and choose the library that encodes.

    Raises:
        SettingError: where the model cannot be used, or the format not with it.
    """
    keep_memory()  # the arrays of every lot are as large as those of the last
    arms, _ = make_arms([format_of(order)], [order.model], order.task)
    folder = resolve(order.model)
    tokenizer = load_tokenizer(folder, template_options=order.template_options)
    if order.sample:
        tokenizer.engines.choose(order.sample)
    return Preparer(
        arm=arms[0],
        task=order.task,
        tokenizer=tokenizer,
        start_id=decoder_start_in(folder) if arms[0].shape == "encoder-decoder" else None,
        capacity=min(max_length_in(folder, order.max_length), order.pack_tokens or sys.maxsize),
    )


def make_slice(order: Order, part: Slice, number: int, *, progress: Progress) -> list[Made]:
    """Make the shards of a slice, or find them made.

    Args:
        order: what is made.
        part: the slice.
        number: of its file, in the list of all.
        progress: told of each shard, and with a step when all are there.

    Raises:
        DataError: where the file cannot be read.
        SettingError: as :meth:`formtune.columnar.Preparer.prepare`.
    """
    assert order.plan is not None
    digest, n_bytes = _slice_digest(part)
    name = _named(order, f"{digest} {part.first_line} {part.path}")  # its shards tell places of what was left out
    done, kept = order.folder / f"{name}.json", _KEPT.take((order.reading, part, digest))
    if done.is_file():
        made = [_found(order, lot) for lot in read_json(done)["lots"]]
        progress(Event(STAGE, step=1, n_rows=sum(one.facts["rows"] for one in made), n_bytes=n_bytes))
    else:
        made = []
        batches = records_of(order.plan, part) if kept is None else iter(kept)
        for rows in _lots(batches, by_size=part.end is None):
            made.append(_made(order, f"{name}-{len(made)}", rows, files=(part.path,)))
            progress(Event(STAGE, n_rows=made[-1].facts["rows"]))
        progress(Event(STAGE, step=1, n_bytes=n_bytes))
        write_whole(done, json.dumps({"lots": [one.name for one in made]}))
    return [replace(one, first_source=number) for one in made]


def witnesses_in(plan: Plan, reading: str, part: Slice, *, progress: Progress) -> list[Record]:
    """Give the records of a slice that say something of the whole data set; its rows are kept if there is room.

    Args:
        plan: how slices are read.
        reading: all of the plan that decides what a slice's records are, as in :class:`Order`.
        part: the slice.
        progress: told nothing, since reading alone takes no time worth telling.

    Raises:
        DataError: where the file cannot be read.
    """
    del progress
    keeps = part.end is not None
    digest, n_bytes = _slice_digest(part) if keeps else ("", 0)
    batches = list(records_of(plan, part)) if keeps else records_of(plan, part)
    records = (row for rows in batches for row in rows if not isinstance(row, LeftOut))
    found = witnesses(filter(has_answer, records))
    if isinstance(batches, list):
        _KEPT.put((reading, part, digest), batches, n_bytes)
    return found


def make_records(order: Order, records: Sequence[Record], *, progress: Progress) -> list[Made]:
    """Make the shard of records, which have ids, or find it made; it counts files, so that all of them are in its digest."""
    told = "\n".join([*order.files, *(f"{record.id} {record.origin}" for record in records)])
    digest = hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()
    made = _made(order, _named(order, digest), records, files=order.files)
    progress(Event(STAGE, step=1, n_rows=made.facts["rows"]))
    return [made]


def _named(order: Order, digest: str) -> str:
    return hashlib.sha256(f"{order_digest(order)} {digest}".encode()).hexdigest()[:32]


def _made(order: Order, name: str, rows: Sequence[Record | LeftOut], *, files: Sequence[str]) -> Made:
    path = order.folder / f"{name}.arrow"
    return _found(order, name) if path.is_file() else _written(order, rows, path, files=files)


def _found(order: Order, name: str) -> Made:
    path = order.folder / f"{name}.arrow"
    return Made(name, shard_facts(path), file_digest(path))


def _lots(batches: Iterable[Sequence[Record | LeftOut]], *, by_size: bool) -> Iterator[list[Record | LeftOut]]:
    """Part the rows of a slice; into lots of about so many characters as well where a slice may be of any size."""
    rows: list[Record | LeftOut] = []
    n_characters = 0
    for batch in batches:
        rows += batch
        if by_size:
            n_characters += sum(_n_characters(row) for row in batch if not isinstance(row, LeftOut))
        if len(rows) >= LOT_RECORDS or n_characters >= SLICE_BYTES:
            yield rows
            rows, n_characters = [], 0
    if rows:
        yield rows


def _n_characters(record: Record) -> int:
    return len(input_text(record)) + len(answer_text(record))


def _written(order: Order, rows: Sequence[Record | LeftOut], path: Path, *, files: Sequence[str]) -> Made:
    with no_collection():
        records = [row for row in rows if not isinstance(row, LeftOut)]
        prepared = preparer_of(order).prepare(records)
    facts = _facts(prepared, [row for row in rows if isinstance(row, LeftOut)], n_records=len(records))
    files_N, lines_N = _places(records, prepared, files)
    digest = write_shard(path, prepared.leaf, files_N=files_N, lines_N=lines_N, facts=facts)
    return Made(path.stem, facts, digest)


def _facts(prepared: Prepared, unread: Sequence[LeftOut], *, n_records: int) -> dict[str, Any]:
    leaf = prepared.leaf
    sides = [leaf.sheet] if leaf.decoder is None else [leaf.sheet, leaf.decoder]
    return {
        "rows": n_records + sum(not one.kept for one in unread),
        "records": len(leaf),
        "tokens": sum(len(side.ids_T) for side in sides),
        "learned_tokens": int(leaf.target.n_learned().sum()),
        "corrupted": int((leaf.corruptions_N > 0).sum()),
        "truncated": prepared.n_truncated,
        "lossy": prepared.n_lossy,
        "control_texts": prepared.n_controls,
        **accounted([*unread, *prepared.left_out]),
    }


def _places(records: Sequence[Record], prepared: Prepared, files: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Say where the record of each sequence stands: the number of its file, and the line there."""
    number_of = {name: number for number, name in enumerate(files)}
    origins = [records[n].origin for n in prepared.leaf.numbers_N.tolist()]
    files_N = [-1 if origin is None else number_of.get(origin.file, -1) for origin in origins]
    lines_N = [0 if origin is None else origin.line or 0 for origin in origins]
    return np.array(files_N, dtype=np.int32), np.array(lines_N, dtype=np.int64)


def _slice_digest(part: Slice) -> tuple[str, int]:
    """Digest the bytes of a slice, and count them; a whole file's as it lies there, packed or not."""
    if part.end is None and not is_hub(part.path):
        return file_digest(Path(part.path)), Path(part.path).stat().st_size
    digest, n_bytes = hashlib.sha256(), 0
    with open_bytes(part.path) as stream:
        if part.start:
            stream.seek(part.start)
        left = None if part.end is None else part.end - part.start
        while block := stream.read(_BLOCK if left is None else min(_BLOCK, left)):
            digest.update(block)
            n_bytes += len(block)
            left = None if left is None else left - len(block)
    return digest.hexdigest(), n_bytes


def lots_of(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Part records that are handed out."""
    for start in range(0, len(records), LOT_RECORDS):
        yield records[start : start + LOT_RECORDS]
