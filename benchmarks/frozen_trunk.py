"""A frozen bottom, computed once: several epochs here against transformers' Trainer with the same blocks frozen.

    python benchmarks/frozen_trunk.py [--rows 32] [--records 2000]

SmolLM2-135M on conversations, the top 8 of 30 blocks trained for five epochs, in float32 and in bfloat16; and
all-MiniLM-L6-v2 with its head alone, trained for ten epochs on SMS spam. Both sides take the same examples in the same
batches and order, with the same learning rate, and dropout is off in what is frozen and before the head, so that losses
are equal. Each runs in a process of its own, Trainer once more with the allocator settings that formtune makes for its
users. Our states go to an empty folder first, then they are read from there by a second process, as the next learning
rate or seed would. Printed are seconds, ratios, losses of both sides, disk used. It ends with 1 where a promise is missed.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from data_folder import data_folder
from peer_environment import Bound, judged, told_by
from training_speed import rows

from formtune import dialects
from formtune.examples import Example
from formtune.formats import cell, infer_task, named
from formtune.loading import Options, load_model
from formtune.model_files import resolve
from formtune.models import Model
from formtune.tokens import Tokens, tokenize
from formtune.training import train
from formtune.updates import TrainSettings, updates


@dataclass(frozen=True)
class Case:
    """What is trained.

    Attributes:
        model: short name.
        format: of the examples.
        freeze: what of the model is not trained.
        epochs: over the examples.
        batch_size: examples of an update.
        learning_rate: falls to zero, without warm-up.
        goal: how many times sooner than Trainer we are to be.
        precisions: in which both sides calculate.
    """

    model: str
    format: str
    freeze: str
    epochs: int
    batch_size: int
    learning_rate: float
    goal: float
    precisions: tuple[str, ...]


CASES = {
    "blocks": Case("smollm2-135m", "chat", "all-but-top-8", 5, 8, 1e-4, 4.0, ("float32", "bfloat16")),
    "head": Case("minilm-l6", "classification", "body", 10, 16, 1e-2, 15.0, ("float32",)),
}
MOST_DIFFERENCE = {"float32": 1e-3, "bfloat16": 1e-2}  # of the mean loss of all epochs, as a share
PEER = Path(__file__).parent / "peers" / "trainer_frozen.py"


@dataclass(frozen=True)
class Measured:
    """One training of several epochs."""

    seconds: float
    peak_mb: float
    losses: list[float]
    disk_mb: float

    def by_epoch(self, epochs: int) -> list[float]:
        """Average the losses of each epoch."""
        return [float(np.mean(part)) for part in np.array_split(self.losses, epochs)]


def write_data(case: Case, folder: Path, *, n_rows: int, n_records: int) -> str:
    """Write the records of a case, whole batches of them."""
    if case.format == "chat":
        lines = [json.dumps(row) for row in rows(n_rows // case.batch_size * case.batch_size)]
    else:
        source = data_folder() / "cls_en/sms_spam/train.tsv"
        pairs = [line.split("\t", 1) for line in source.read_text(encoding="utf-8").splitlines()]
        whole = n_records // case.batch_size * case.batch_size
        lines = [json.dumps({"text": text, "label": label}) for label, text in pairs[:whole]]
    path = folder / f"{case.format}.jsonl"
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return str(path)


def prepared(case: Case, data: str, precision: str) -> tuple[Model, list[Tokens], TrainSettings]:
    """Load the model, and make the examples and the settings."""
    records = dialects.read([data]).records
    task = infer_task(records)
    output = "head" if case.format == "classification" else "text"
    options = Options(freeze=case.freeze, precision=precision)
    model = load_model(str(resolve(case.model)), output=output, n_classes=len(task.labels), options=options)
    if model.class_head:
        model.class_head.dropout.p = 0.0
    present = cell(named(case.format), task, model.shape).present
    examples: Sequence[Example] = [present(record, task, model.shape) for record in records]
    settings = TrainSettings(
        steps=case.epochs * len(records) // case.batch_size,
        batch_size=case.batch_size,
        learning_rate=case.learning_rate,
        average="token",
        warmup=0.0,
        weight_decay=0.0,
    )
    return model, tokenize(examples, model.tokenizer, shape=model.shape), settings


def ours(case: Case, data: str, precision: str) -> Measured:
    """Train here; as on the other side, what is needed is imported before the clock starts."""
    import_module("accelerate")
    model, tokens, settings = prepared(case, data, precision)
    start = time.perf_counter()
    trained = train(model, tokens, settings=settings)
    seconds = time.perf_counter() - start
    return Measured(
        seconds=seconds,
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        losses=[point.loss for point in trained.trace],
        disk_mb=model.trunk.size_bytes / 1e6 if model.trunk else 0.0,
    )


def job_of(case: Case, data: str, precision: str) -> dict[str, Any]:
    """Write down what Trainer is to do: the same batches, the same parameters frozen, the same head to begin with."""
    model, tokens, settings = prepared(case, data, "float32")
    head = model.class_head
    return {
        "model": str(resolve(case.model)),
        "frozen": [name for name, parameter in model.module.named_parameters() if not parameter.requires_grad],
        "head": head and {"weight": head.linear.weight.tolist(), "dropout": head.dropout.p},
        "precision": precision,
        "batch_size": case.batch_size,
        "learning_rate": case.learning_rate,
        "rows": [_row(one) for update in updates(tokens, settings, model.tokenizer) for one in update],
    }


def _row(tokens: Tokens) -> dict[str, Any]:
    learned = np.where(tokens.weights_T > 0, tokens.labels_T, -100).tolist()
    return {"ids": tokens.ids_T.tolist(), "labels": learned if tokens.gold is None else tokens.gold}


def told(name: str, command: Sequence[object], epochs: int, *, allocator: bool = False) -> Measured:
    """Measure one way in a process of its own, and print its line of the table."""
    measured = Measured(**told_by(command, allocator=allocator))
    losses = " ".join(f"{loss:.4f}" for loss in measured.by_epoch(epochs))
    disk = f"  {measured.disk_mb:.1f} MB on disk" if measured.disk_mb else ""
    print(f"{name:<36} {measured.seconds:7.1f} s  {measured.peak_mb:6.0f} MB{disk}\n    losses {losses}", flush=True)
    return measured


def compared(name: str, folder: Path, *, n_rows: int, n_records: int) -> list[Bound]:
    """Train one case on both sides, print the ratios, and say what is promised."""
    case = CASES[name]
    print(f"{case.model}, {case.freeze} frozen, {case.epochs} epochs", flush=True)
    data = write_data(case, folder, n_rows=n_rows, n_records=n_records)
    found: list[Bound] = []
    for precision in case.precisions:
        job = folder / f"{precision}.json"
        job.write_text(json.dumps(job_of(case, data, precision)), encoding="utf-8")
        asked = ["env", f"FORMTUNE_CACHE={folder / 'cache'}", sys.executable, __file__, "--ours", name, data, precision]
        first = told(f"formtune, {precision}", asked, case.epochs)
        again = told(f"formtune, the next run, {precision}", asked, case.epochs)
        for allocator in (True, False):
            peer = told(
                f"Trainer, {precision}{', our allocator' * allocator}",
                [sys.executable, PEER, job],
                case.epochs,
                allocator=allocator,
            )
            print(f"    {peer.seconds / first.seconds:.1f} and {peer.seconds / again.seconds:.1f} times sooner here")
        found += bounds(case, precision, mine=first, peer=peer)
    return found


def bounds(case: Case, precision: str, *, mine: Measured, peer: Measured) -> list[Bound]:
    """Say what is promised of a first run, against Trainer without our allocator settings."""
    of = f"{case.model}, {precision}"
    return [
        Bound(f"{of}: times sooner than Trainer", peer.seconds / mine.seconds, least=case.goal),
        Bound(
            f"{of}: difference of the loss",
            abs(float(np.mean(mine.losses) / np.mean(peer.losses)) - 1),
            most=MOST_DIFFERENCE[precision],
        ),
        Bound(f"{of}: difference in updates", abs(len(mine.losses) - len(peer.losses)), most=0),
    ]


def main() -> int:
    """Measure both cases; 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--ours", nargs=3, metavar=("CASE", "DATA", "PRECISION"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.ours:
        name, data, precision = asked.ours
        print(json.dumps(asdict(ours(CASES[name], data, precision))))
        return 0
    found: list[Bound] = []
    for name in asked.case or CASES:
        with tempfile.TemporaryDirectory() as folder:
            found += compared(name, Path(folder), n_rows=asked.rows, n_records=asked.records)
    return judged(found)


if __name__ == "__main__":
    sys.exit(main())
