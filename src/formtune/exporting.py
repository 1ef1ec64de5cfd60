"""Prepared sequences for other trainers: the same tokens, with what is learned as labels.

Each of these trainers takes rows that hold token ids and leaves its own templates and masks away. A label is the id that
stands there, or -100 where nothing is learned; it holds no weight, so weights other than 0 and 1 are refused. Files are
written as the sequences come, a slice at a time, without the `datasets` library.

Shape letters: T tokens.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from formtune.errors import DataError, unknown
from formtune.shards import staged

IGNORED = -100  # the label that loss functions skip
SLICE_TOKENS = 1 << 20  # tokens that are held at a time: some 10 MB
ROWS, STREAM = "train.parquet", "data-00000-of-00001.arrow"

Prepared = tuple[np.ndarray, np.ndarray, np.ndarray]
Write = Callable[[pa.RecordBatch], None]


@contextmanager
def _parquet(folder: Path, schema: pa.Schema) -> Iterator[Write]:
    """Write one Parquet file, which `datasets.load_dataset` reads."""
    with pq.ParquetWriter(folder / ROWS, schema, compression="zstd") as writer:
        yield writer.write_batch


@contextmanager
def _saved_dataset(folder: Path, schema: pa.Schema) -> Iterator[Write]:
    """Write a folder that `datasets.load_from_disk` reads; the columns' types are those of the Arrow file."""
    with pa.OSFile(str(folder / STREAM), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        yield writer.write_batch
    with (folder / STREAM).open("rb") as file:
        # What `datasets` makes of a data set is kept under its fingerprint, so other rows must have another one.
        fingerprint = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    state: dict[str, object] = {
        "_data_files": [{"filename": STREAM}],
        "_fingerprint": fingerprint,
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": "train",
    }
    (folder / "state.json").write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
    (folder / "dataset_info.json").write_text("{}\n", encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Trainer:
    """How another trainer takes rows that are tokens already.

    Attributes:
        columns: those that it looks for.
        layout: how they are laid out on disk.
        use: what its user writes to have them read whole; ``{out}`` is the folder, ``{longest}`` the longest row's tokens.
    """

    columns: tuple[str, ...]
    layout: Callable[[Path, pa.Schema], AbstractContextManager[Write]]
    use: str


TRAINERS: dict[str, Trainer] = {
    "trl": Trainer(
        columns=("input_ids", "labels"),
        layout=_parquet,
        use=(
            'SFTTrainer(train_dataset=load_dataset("parquet", data_files="{out}/train.parquet", split="train"), '
            "args=SFTConfig(max_length={longest}, ...), ...)"
        ),
    ),
    "axolotl": Trainer(
        columns=("input_ids", "attention_mask", "labels"),
        layout=_parquet,
        use='sequence_len: {longest}\ndatasets: [{{path: "{out}/train.parquet", ds_type: parquet, type: null}}]',
    ),
    "llamafactory": Trainer(
        columns=("input_ids", "attention_mask", "labels"),
        layout=_saved_dataset,
        use='tokenized_path: "{out}"',
    ),
}
_TYPES = {"input_ids": pa.int32(), "labels": pa.int32(), "attention_mask": pa.int8()}


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        out: the folder.
        n_sequences: rows.
        n_tokens: in all of them.
        n_learned: tokens with a label.
        n_unlearned: sequences none of whose tokens is learned: they cost time and teach nothing.
        longest: tokens of the longest; trainers cut or drop what is over a limit of their own.
        use: what the user of the trainer writes to have them read.
    """

    out: Path
    n_sequences: int
    n_tokens: int
    n_learned: int
    n_unlearned: int
    longest: int
    use: str


def export_sequences(sequences: Iterable[Prepared], *, to: str, out: Path) -> Exported:
    """Write sequences as another trainer reads them: a folder, whole or absent, in constant memory.

    Args:
        sequences: of each, ids (int32), loss weights (float32) and parts, all of one length, at least one token. Parts are
            not written: no trainer reads them.
        to: a key of :data:`TRAINERS`.
        out: the folder; an older artefact there is replaced.

    Raises:
        SettingError: where there is no such trainer, or the place cannot be used.
        DataError: where a weight is neither 0 nor 1, after all have been looked at; nothing is written then.
        ValueError: where a sequence has no token, or arrays of different lengths.
    """
    if to not in TRAINERS:
        raise unknown("trainer", to, TRAINERS, at="--to")
    trainer, counts = TRAINERS[to], _Counts()
    schema = pa.schema([(name, pa.list_(_TYPES[name])) for name in trainer.columns])
    manifest: dict[str, object] = {"kind": "exported", "to": to}
    with staged(out, manifest) as staging:
        with trainer.layout(staging, schema) as write:
            for rows in _slices(sequences):
                counts.add(rows)
                write(rows.batch(schema))
        counts.check()
        manifest |= {
            "sequences": counts.n_sequences,
            "tokens": counts.n_tokens,
            "learned_tokens": counts.n_learned,
            "unlearned_sequences": counts.n_unlearned,
            "longest": counts.longest,
        }
    return Exported(
        out=out,
        n_sequences=counts.n_sequences,
        n_tokens=counts.n_tokens,
        n_learned=counts.n_learned,
        n_unlearned=counts.n_unlearned,
        longest=counts.longest,
        use=trainer.use.format(out=out, longest=counts.longest),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Slice:
    """Some sequences, one behind the other."""

    ids_T: np.ndarray
    weights_T: np.ndarray
    ends: np.ndarray

    def batch(self, schema: pa.Schema) -> pa.RecordBatch:
        """Give them as rows."""
        bounds = np.concatenate([[0], self.ends]).astype(np.int32)
        columns = {
            "input_ids": self.ids_T,
            "labels": np.where(self.weights_T > 0, self.ids_T, np.int32(IGNORED)),
            "attention_mask": np.ones(len(self.ids_T), dtype=np.int8),
        }
        lists = [pa.ListArray.from_arrays(bounds, columns[name]) for name in schema.names]
        return pa.RecordBatch.from_arrays(lists, schema=schema)

    def counted(self, flags_T: np.ndarray) -> np.ndarray:
        """Count flags by sequence."""
        return np.diff(np.cumsum(flags_T)[self.ends - 1], prepend=0)


def _slices(sequences: Iterable[Prepared]) -> Iterator[_Slice]:
    held: list[tuple[np.ndarray, np.ndarray]] = []
    n_tokens = 0
    for ids_T, weights_T, _parts_T in sequences:
        if not 1 <= len(ids_T) == len(weights_T):
            raise ValueError(f"A sequence has {len(ids_T)} ids and {len(weights_T)} weights.")
        held.append((ids_T, weights_T))
        n_tokens += len(ids_T)
        if n_tokens >= SLICE_TOKENS:
            yield _joined(held)
            held, n_tokens = [], 0
    if held:
        yield _joined(held)


def _joined(held: list[tuple[np.ndarray, np.ndarray]]) -> _Slice:
    return _Slice(
        ids_T=np.concatenate([ids_T for ids_T, _ in held]).astype(np.int32, copy=False),
        weights_T=np.concatenate([weights_T for _, weights_T in held]),
        ends=np.cumsum([len(ids_T) for ids_T, _ in held]),
    )


@dataclass(slots=True)
class _Counts:
    """What has been met so far."""

    n_sequences: int = 0
    n_tokens: int = 0
    n_learned: int = 0
    n_unlearned: int = 0
    longest: int = 0
    n_graded: int = 0
    first_graded: tuple[int, float] | None = None

    def add(self, rows: _Slice) -> None:
        """Count some more."""
        graded_T = (rows.weights_T != 0) & (rows.weights_T != 1)
        graded = np.flatnonzero(rows.counted(graded_T))
        if len(graded) and self.first_graded is None:
            self.first_graded = self.n_sequences + int(graded[0]), float(rows.weights_T[graded_T][0])
        learned = rows.counted(rows.weights_T > 0)
        self.n_sequences += len(rows.ends)
        self.n_tokens += len(rows.ids_T)
        self.n_learned += int(learned.sum())
        self.n_unlearned += int(np.count_nonzero(learned == 0))
        self.longest = max(self.longest, int(np.diff(rows.ends, prepend=0).max()))
        self.n_graded += len(graded)

    def check(self) -> None:
        """Refuse weights that labels cannot hold."""
        if self.first_graded is not None:
            number, weight = self.first_graded
            raise DataError(
                f"A loss weight is {weight:g}, and labels can only say whether a token is learned; it is so in "
                f"{self.n_graded} of {self.n_sequences} sequences.",
                "Prepare with weights of 0 and 1 (of messages, and training.prompt_weight), or train with formtune.",
                at=f"sequence {number}",
            )
