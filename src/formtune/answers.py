"""What models answered: one prediction per record, in memory and in a parquet file."""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from formtune.errors import DataError, SettingError

ArmSeed = tuple[str, int]


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What a model answered to one record, and what the answer cost.

    Attributes:
        id: the record's id.
        answer: the label (or, before :func:`formtune.prediction.in_labels`, its word) that was chosen, or the text that
            was written.
        confidence: the probability of the answer among the candidates; None for free text.
        valid: False where what was written freely is none of the label words, or nothing at all.
        label: index of the chosen candidate; None for free text.
        probabilities: one per candidate, adding up to 1; empty for free text.
        generated: what was written freely; None where nothing was.
        generated_label: index of the candidate that ``generated`` is; None where it is none of them.
        n_tokens_in: tokens that were read for the answer: the prompt and what was tried behind it.
        n_tokens_out: tokens that were written freely.
        nll: negative log-likelihood of the right answer's text in nats, its stop token counted; None where there is no
            right answer or it is chosen from candidates.
        n_target_tokens: tokens that ``nll`` adds up.
        n_target_bytes: bytes of the text that they stand for.
    """

    id: str
    answer: str
    confidence: float | None = None
    valid: bool = True
    label: int | None = None
    probabilities: tuple[float, ...] = ()
    generated: str | None = None
    generated_label: int | None = None
    n_tokens_in: int = 0
    n_tokens_out: int = 0
    nll: float | None = None
    n_target_tokens: int = 0
    n_target_bytes: int = 0


SCHEMA = pa.schema(
    [
        pa.field("arm", pa.string(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("answer", pa.string(), nullable=False),
        pa.field("confidence", pa.float64()),
        pa.field("valid", pa.bool_(), nullable=False),
        pa.field("label", pa.int64()),
        pa.field("probabilities", pa.list_(pa.float64()), nullable=False),
        pa.field("generated", pa.string()),
        pa.field("generated_label", pa.int64()),
        pa.field("n_tokens_in", pa.int64(), nullable=False),
        pa.field("n_tokens_out", pa.int64(), nullable=False),
        pa.field("nll", pa.float64()),
        pa.field("n_target_tokens", pa.int64(), nullable=False),
        pa.field("n_target_bytes", pa.int64(), nullable=False),
    ]
)


def write_predictions(path: str | Path, predictions: Mapping[ArmSeed, Sequence[Prediction]]) -> None:
    """Write the predictions of runs to one parquet file, which appears whole or not at all.

    Equal predictions give equal bytes: the writer's settings are fixed and no time is written.

    Args:
        path: the file; its folder must be there.
        predictions: (arm, seed) → one prediction per record.

    Raises:
        SettingError: where the place cannot be written.
    """
    rows = [
        {"arm": arm, "seed": seed} | msgspec.structs.asdict(p) for (arm, seed), ps in predictions.items() for p in ps
    ]
    buffer = io.BytesIO()
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    pq.write_table(table, buffer, compression="zstd", compression_level=3, version="2.6", row_group_size=1 << 20)
    target = Path(path)
    staging = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with staging.open("wb") as file:
            file.write(buffer.getvalue())
            file.flush()
            os.fsync(file.fileno())
        staging.replace(target)
    except OSError as error:
        staging.unlink(missing_ok=True)
        raise SettingError(
            f"The file cannot be written ({error.strerror or error}).", "Give a place that you may write to.", at=target
        ) from error


def read_predictions(path: str | Path) -> dict[ArmSeed, list[Prediction]]:
    """Read what :func:`write_predictions` wrote, in the order in which it was written.

    Raises:
        DataError: where the file is missing, is no parquet file or holds something else.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"The file cannot be read ({reason}).", "Give a file of predictions.", at=path) from error
    if not table.schema.equals(SCHEMA):
        missing = [name for name in SCHEMA.names if name not in table.schema.names]
        what = f"it has no column {missing[0]!r}" if missing else "its columns are of other types"
        raise DataError(
            f"The file does not hold predictions: {what}.", "Give one that formtune compare wrote.", at=path
        )
    found: dict[ArmSeed, list[Prediction]] = {}
    for row in table.to_pylist():
        key = (row.pop("arm"), row.pop("seed"))
        found.setdefault(key, []).append(msgspec.convert(row, Prediction))
    return found
