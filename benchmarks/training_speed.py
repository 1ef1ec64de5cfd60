"""Full fine-tuning of SmolLM2-135M on conversations: one epoch here against TRL, same rows in the same order.

    python benchmarks/training_speed.py [--rows 32]

Each run has a process of its own; TRL gets an environment of its own, made once under the cache. Printed are seconds,
peak memory, computed against real tokens, and how many times sooner we are than each of TRL's ways. The last column
gives TRL the allocator settings that formtune sets for its users.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from data_folder import data_folder
from peer_environment import python_of

from formtune import dialects
from formtune.examples import Task
from formtune.formats import cell, named
from formtune.loading import Options, load_model
from formtune.model_files import resolve
from formtune.tokens import tokenize
from formtune.training import train
from formtune.updates import TrainSettings

MODEL = "smollm2-135m"
TRL = "trl==1.16.0"
BATCH = 8
ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000"}


@dataclass(frozen=True)
class Measured:
    """One epoch."""

    seconds: float
    peak_mb: float
    real_tokens: int
    computed_tokens: int
    learned_tokens: int
    loss: float
    updates: int


def rows(n_rows: int) -> list[dict[str, object]]:
    """Give instruction rows as messages, in the order in which our training with seed 0 takes them."""
    source = data_folder() / "instruct/llamafactory_demo/alpaca_en_demo.json"
    found = json.loads(source.read_text(encoding="utf-8"))[:n_rows]
    messages = [
        {
            "messages": [
                {"role": "user", "content": r["instruction"] + ("\n\n" + r["input"] if r["input"] else "")},
                {"role": "assistant", "content": r["output"]},
            ]
        }
        for r in found
    ]
    return [messages[i] for i in np.random.default_rng(0).permutation(len(messages))]


def ours(rows_path: str, precision: str) -> Measured:
    """Train one epoch here, in the order of the rows as they are."""
    records = dialects.read([rows_path]).records
    model = load_model(MODEL, output="text", options=Options(precision=precision))
    present = cell(named("chat"), Task("conversation"), "decoder").present
    examples = [present(record, Task("conversation"), "decoder") for record in records]
    tokens = tokenize(examples, model.tokenizer, shape="decoder")
    back = np.argsort(np.random.default_rng(0).permutation(len(tokens)))  # undoes the shuffle of seed 0
    settings = TrainSettings(
        steps=-(-len(tokens) // BATCH), batch_size=BATCH, learning_rate=1e-5, average="token", warmup=0.0
    )
    trained = train(model, [tokens[i] for i in back], settings=settings)
    return Measured(
        seconds=trained.seconds,
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        real_tokens=sum(len(t.ids_T) for t in tokens),
        computed_tokens=trained.n_tokens,
        learned_tokens=trained.n_learned,
        loss=float(np.mean([point.loss for point in trained.trace])),
        updates=len(trained.trace),
    )


def theirs(python: Path, rows_path: str, layout: str, *, precision: str, allocator: bool) -> Measured:
    """Train one epoch with TRL."""
    script = Path(__file__).parent / "peers" / "trl_train.py"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", **(ALLOCATOR if allocator else {})}
    asked = [str(python), str(script), str(resolve(MODEL)), rows_path, layout, precision]
    done = subprocess.run(asked, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def own_process(rows_path: str, precision: str) -> Measured:
    """Train here in a process of its own, so that its memory is its own."""
    asked = [sys.executable, __file__, "--ours", rows_path, precision]
    return Measured(
        **json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    )


def told(name: str, measured: Measured) -> None:
    """Print one line of the table."""
    print(
        f"{name:<34} {measured.seconds:7.1f} s  {measured.peak_mb:7.0f} MB  "
        f"{measured.computed_tokens:>6} of {measured.real_tokens} tokens  loss {measured.loss:.3f}  "
        f"{measured.learned_tokens} learned",
        flush=True,
    )


def main() -> None:
    """Measure every way and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--ours", nargs=2, metavar=("ROWS", "PRECISION"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.ours:
        print(json.dumps(asdict(ours(*asked.ours))))
        return
    python = python_of("trl", TRL)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "rows.jsonl")
        Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows(asked.rows)), encoding="utf-8")
        own = {precision: own_process(path, precision) for precision in ("float32", "bfloat16")}
        for precision, one in own.items():
            told(f"formtune, {precision}", one)
        for layout, precision in (("padded", "float32"), ("padded", "bfloat16"), ("packed", "float32")):
            for allocator in (False, True):
                peer = theirs(python, path, layout, precision=precision, allocator=allocator)
                told(f"TRL {layout}, {precision}{', our allocator' * allocator}", peer)
                mine = own[precision]
                print(
                    f"    {peer.seconds / mine.seconds:.1f} times sooner here, "
                    f"{mine.peak_mb / peer.peak_mb:.2f} of its memory",
                    flush=True,
                )


if __name__ == "__main__":
    main()
