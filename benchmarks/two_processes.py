"""Two processes equal one: a few updates of SmolLM2-135M in one process, in two that hold copies, and in two with parts.

    python benchmarks/two_processes.py [--updates 3]

The same rows in the same updates, on CPUs over gloo. Printed are the losses and, against one process, the largest
difference of a loss and of a weight; it fails where one is out of bounds. A weight whose gradient is nearly zero may go
either way in AdamW's first updates, a whole step of the learning rate, since rounding decides its sign.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from data_folder import data_folder
from safetensors.torch import load_file, save_file

from formtune import dialects, processes
from formtune.formats import cell, infer_task, named
from formtune.freezing import trained
from formtune.loading import load_model
from formtune.tokens import tokenize
from formtune.training import train
from formtune.updates import TrainSettings

LEARNING_RATE = 1e-5
BATCH = 6
MOST_LOSS = 1e-5  # relative
FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
WAYS: Mapping[str, tuple[int, Mapping[str, str]]] = {
    "one process": (1, {}),
    "two, copies": (2, {}),
    "two, parts": (2, FSDP),
}


def train_here(updates: int, out: Path) -> None:
    """Train in this process and those beside it; the main one writes losses and weights."""
    processes.start()
    records = dialects.read([str(data_folder() / "instruct/llamafactory_demo/alpaca_en_demo.json")]).records
    records = records[: BATCH * updates]
    task = infer_task(records)
    present = cell(named("instruction"), task, "decoder").present
    examples = [present(record, task, "decoder") for record in records]
    model = load_model("smollm2-135m", output="text")
    tokens = tokenize(examples, model.tokenizer, shape="decoder")
    settings = TrainSettings(steps=updates, batch_size=BATCH, learning_rate=LEARNING_RATE, micro_batch_tokens=512)
    done = train(model, tokens, settings=settings)
    if processes.is_main():
        save_file({n: p.detach().clone() for n, p in trained(model).items()}, out / "weights.safetensors")
        (out / "losses.json").write_text(json.dumps([[p.loss for p in done.trace], done.seconds]))
    processes.end()


def run_way(name: str, updates: int, out: Path) -> tuple[list[float], float]:
    """Train one way, and give the losses and the seconds of the updates."""
    count, environment = WAYS[name]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)] if count > 1 else []
    command = [sys.executable, *launcher, __file__, "--updates", str(updates), "--into", str(out)]
    out.mkdir()
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 2))}  # the same each way: this is no race
    subprocess.run(command, env={**os.environ, **threads, **environment}, check=True)
    losses, seconds = json.loads((out / "losses.json").read_text())
    return losses, seconds


def main() -> None:
    """Train every way, and hold each against one process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=3)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.into:
        train_here(asked.updates, asked.into)
        return
    with tempfile.TemporaryDirectory() as folder:
        found = {name: run_way(name, asked.updates, Path(folder) / name) for name in WAYS}
        weights = {name: load_file(Path(folder) / name / "weights.safetensors") for name in WAYS}
    (wanted, _), right = found["one process"], weights["one process"]
    failed = False
    for name, (losses, seconds) in found.items():
        loss = float(np.max(np.abs(np.array(losses) / np.array(wanted) - 1)))
        weight = max(float((weights[name][n] - values).abs().max()) for n, values in right.items())
        print(f"{name:12} {seconds:6.1f} s  losses {', '.join(f'{one:.5f}' for one in losses)}", end="")
        print(f"  largest difference: loss {loss:.1e} of it, weight {weight:.1e}", flush=True)
        failed = failed or loss > MOST_LOSS or weight > 2 * LEARNING_RATE * asked.updates
    sys.exit("Two processes do not equal one." if failed else 0)


if __name__ == "__main__":
    main()
