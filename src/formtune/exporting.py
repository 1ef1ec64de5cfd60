"""Prepared sequences for other trainers: the same tokens, with what is learned as labels.

Each of these trainers takes rows that hold token ids and leaves its own templates and masks away. A label is the id that
stands there, or -100 where nothing is learned; it holds no weight, so weights other than 0 and 1 are refused. Files are
written as the sequences come, a slice at a time, without the `datasets` library.

A row is a sequence, or several of them for a trainer that can be told where one ends: what it takes as a boundary (their
lengths; positions, and a mask that numbers them) is written beside the ids. Of such sequences the first token is never
learned, since it would be predicted from the sequence before.

Shape letter: T tokens.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from formtune.errors import DataError, SettingError, unknown
from formtune.exported_rows import Prepared, Slice, slices
from formtune.shards import staged

ROWS, STREAM = "train.parquet", "data-00000-of-00001.arrow"

Write = Callable[[pa.RecordBatch], None]
Place = Callable[[int], str]


def _by_number(sequence: int) -> str:
    return f"sequence {sequence + 1}"


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
        multiple: where every row must be as long as the others, the number that this length is a multiple of.
    """

    columns: tuple[str, ...]
    layout: Callable[[Path, pa.Schema], AbstractContextManager[Write]]
    use: str
    multiple: int | None = None


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
# Rows of several sequences. Axolotl has no way: it counts the positions of a row through, whatever is written there.
PACKED: dict[str, Trainer] = {
    "trl": Trainer(
        columns=("input_ids", "labels", "seq_lengths"),
        layout=_parquet,
        use='SFTTrainer(train_dataset=load_dataset("parquet", data_files="{out}/train.parquet", split="train"), '
        "args=SFTConfig(padding_free=True, max_length=None, ...), ...)",
    ),
    "llamafactory": Trainer(
        columns=("input_ids", "attention_mask", "position_ids", "labels"),
        layout=_saved_dataset,
        use='tokenized_path: "{out}"\nneat_packing: true',
        multiple=8,  # it pads ids to one, and positions not at all
    ),
}


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        out: the folder.
        n_rows: rows.
        n_sequences: sequences in them.
        n_tokens: in all of them.
        n_learned: tokens with a label.
        n_unlearned: sequences none of whose tokens is learned: they cost time and teach nothing.
        longest: tokens of the longest; trainers cut or drop what is over a limit of their own.
        use: what the user of the trainer writes to have them read.
    """

    out: Path
    n_rows: int
    n_sequences: int
    n_tokens: int
    n_learned: int
    n_unlearned: int
    longest: int
    use: str


def export_sequences(sequences: Iterable[Prepared], *, to: str, out: Path, place: Place = _by_number) -> Exported:
    """Write sequences as another trainer reads them: a folder, whole or absent, in constant memory.

    Args:
        sequences: of each, ids (int32), loss weights (float32) and parts, all of one length, at least one token. Parts are
            not written: no trainer reads them.
        to: a key of :data:`TRAINERS`.
        out: the folder; an older export there is replaced.
        place: says where the record of a sequence stands, by its number from 0, where it is refused.

    Raises:
        SettingError: where there is no such trainer, or the place cannot be used.
        DataError: where a weight is neither 0 nor 1, after all have been looked at; nothing is written then.
        ValueError: where a sequence has no token, or arrays of different lengths.
    """
    check_trainer(to)
    return _written(slices(([one] for one in sequences), width=None), to=to, out=out, place=place)


def export_packed(
    rows: Iterable[Sequence[Prepared]], *, to: str, out: Path, capacity: int, place: Place = _by_number
) -> Exported:
    """Write rows of several sequences each, for a trainer that keeps them apart, else as :func:`export_sequences`.

    Args:
        rows: of each its sequences, in order; none is empty.
        to: a key of :data:`PACKED`.
        out: the folder.
        capacity: the most tokens of a row.
        place: as in :func:`export_sequences`.

    Raises:
        SettingError: where the trainer would let sequences of a row see one another, or as :func:`export_sequences`.
        DataError: likewise.
        ValueError: likewise.
    """
    check_trainer(to, packed=True)
    trainer = PACKED[to]
    width = None if trainer.multiple is None else -(-capacity // trainer.multiple) * trainer.multiple
    return _written(slices(rows, width=width, packed=True), to=to, out=out, packed=True, place=place)


def check_trainer(to: str, *, packed: bool = False) -> None:
    """Refuse a trainer that is not known, or that would let sequences of a row see one another.

    Raises:
        SettingError: then.
    """
    if to not in TRAINERS:
        raise unknown("trainer", to, TRAINERS, at="--to")
    if packed and to not in PACKED:
        raise SettingError(
            f"In {to} the sequences of a row that is packed already would see one another.",
            "Export without --packed, and let it pack: sample_packing: true.",
            at="--packed",
        )


def _written(found: Iterable[Slice], *, to: str, out: Path, place: Place, packed: bool = False) -> Exported:
    trainer, counts = (PACKED if packed else TRAINERS)[to], _Counts()
    # A mask that numbers the sequences of a row needs more room than ones.
    types = {"attention_mask": pa.int32() if packed else pa.int8()}
    schema = pa.schema([(name, pa.list_(types.get(name, pa.int32()))) for name in trainer.columns])
    manifest: dict[str, object] = {"kind": "exported", "to": to}
    with staged(out, manifest) as staging:
        with trainer.layout(staging, schema) as write:
            for rows in found:
                counts.add(rows)
                write(rows.batch(schema))
        counts.check(place)
        manifest |= {
            "rows": counts.n_rows,
            "sequences": counts.n_sequences,
            "tokens": counts.n_tokens,
            "learned_tokens": counts.n_learned,
            "unlearned_sequences": counts.n_unlearned,
            "longest": counts.longest,
        }
    return Exported(
        out=out,
        n_rows=counts.n_rows,
        n_sequences=counts.n_sequences,
        n_tokens=counts.n_tokens,
        n_learned=counts.n_learned,
        n_unlearned=counts.n_unlearned,
        longest=counts.longest,
        use=trainer.use.format(out=out, longest=counts.longest),
    )


@dataclass(slots=True)
class _Counts:
    """What has been met so far."""

    n_rows: int = 0
    n_sequences: int = 0
    n_tokens: int = 0
    n_learned: int = 0
    n_unlearned: int = 0
    longest: int = 0
    n_graded: int = 0
    first_graded: tuple[int, float] | None = None

    def add(self, rows: Slice) -> None:
        """Count some more."""
        graded_T = (rows.weights_T != 0) & (rows.weights_T != 1)
        graded = np.flatnonzero(rows.counted(graded_T))
        if len(graded) and self.first_graded is None:
            self.first_graded = self.n_sequences + int(graded[0]), float(rows.weights_T[graded_T][0])
        learned = rows.counted(rows.weights_T > 0)
        self.n_rows += rows.n_rows
        self.longest = max(self.longest, int(rows.row_lengths().max()))
        self.n_sequences += len(rows.ends_N)
        self.n_tokens += len(rows.ids_T)
        self.n_learned += int(learned.sum())
        self.n_unlearned += int(np.count_nonzero(learned == 0))
        self.n_graded += len(graded)

    def check(self, place: Place) -> None:
        """Refuse weights that labels cannot hold."""
        if self.first_graded is not None:
            number, weight = self.first_graded
            raise DataError(
                f"A loss weight is {weight:g}, and labels can only say whether a token is learned; it is so in "
                f"{self.n_graded} of {self.n_sequences} sequences.",
                "Prepare with weights of 0 and 1 (of messages, and of stretches in them), or train with formtune.",
                at=place(number),
            )
