"""Training on a CUDA GPU: exactness of its attention, and speed against TRL, as a share of what the GPU multiplies.

    python benchmarks/gpu_training.py [--model FOLDER] [--rows 1000] [--peers 'padded,packed liger']

On a machine without a GPU it says so and ends. Each training has a process of its own. Weights are drawn at random where
the model's folder holds none: speed does not depend on them. Printed are learned and computed tokens, tokens per second,
the share of the measured matrix peak that 6 times the weights times the real tokens make, and memory.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from data_folder import data_folder

from formtune import attention, dialects
from formtune.batches import rooted
from formtune.examples import Task
from formtune.forests import Forest, Sight
from formtune.formats import cell, infer_task, named
from formtune.loading import Options, load_model
from formtune.model_files import resolve
from formtune.tokens import Tokens, tokenize
from formtune.training import train
from formtune.updates import TrainSettings

BATCH = 64
PEER = Path(__file__).parent / "peers" / "trl_gpu.py"
PEER_WAYS = ("padded", "padded liger", "packed liger", "packed flex_attention liger")


def exactness() -> None:
    """Compare the kernel for sequences of different lengths with attention in groups, states and gradients, over a forest."""
    chance = np.random.default_rng(0)
    lengths = [int(n) for n in chance.integers(3, 400, 40)]
    parents = [-1 if i % 4 == 0 else i - i % 4 for i in range(40)]
    offsets = [0 if p < 0 else lengths[p] for p in parents]
    batch = rooted([np.arange(n) for n in lengths], parents, offsets)
    device = torch.device("cuda")
    for sight in (Sight(causal=True), Sight(causal=True, window=50)):
        torch.manual_seed(0)
        states = [torch.randn(1, heads, len(batch.ids_T), 64, device=device).bfloat16() for heads in (9, 3, 3)]
        toward = torch.randn_like(states[0])
        exact = [one.double().requires_grad_() for one in states]
        wanted = attention.by_groups(*exact, forest=Forest(batch, device), sight=sight)
        wanted.backward(toward.double())
        found = [one.clone().requires_grad_() for one in states]
        got = attention.by_lengths(*found, forest=Forest(batch, device), sight=sight)
        got.backward(toward)
        errors = [_apart(got, wanted), *(_apart(a.grad, b.grad) for a, b in zip(found, exact, strict=True))]
        print(f"one kernel in bfloat16 against float64, {sight}: {max(errors):.1e} of their length", flush=True)
        if max(errors) > 1e-2:
            sys.exit("The kernel is not exact.")


def _apart(found: torch.Tensor | None, wanted: torch.Tensor | None) -> float:
    assert found is not None
    assert wanted is not None
    return float(((found.double() - wanted).norm() / wanted.norm()).detach())


def matrix_peak() -> float:
    """Measure how many bfloat16 operations a second a product of two large matrices reaches."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        a @ b
    torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(20):
        a @ b
    torch.cuda.synchronize()
    return 20 * 2 * 8192**3 / (time.perf_counter() - begun)


def drawn(folder: Path, into: Path) -> Path:
    """Give a folder with weights: the model's own or, where it holds none, a copy with drawn ones."""
    if any(folder.glob("*.safetensors")):
        return folder
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    with torch.device("cuda"):
        module = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    module.save_pretrained(into)
    for file in (*folder.glob("*token*.json"), *folder.glob("*.jinja")):
        (into / file.name).write_bytes(file.read_bytes())
    return into


def conversations(n_rows: int) -> list[dict[str, object]]:
    """Give instruction rows as messages, in the order in which our training with seed 0 takes them."""
    source = data_folder() / "instruct/llamafactory_demo/alpaca_en_demo.json"
    rows = [
        {
            "messages": [
                {"role": "user", "content": r["instruction"] + ("\n\n" + r["input"] if r["input"] else "")},
                {"role": "assistant", "content": r["output"]},
            ]
        }
        for r in json.loads(source.read_text(encoding="utf-8"))[:n_rows]
    ]
    return [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]


def examples_of(job: str, rows_path: str, model: object) -> list[Tokens]:
    """Tokenize what a job trains on."""
    if job == "instructions":
        records = dialects.read([rows_path]).records
        task, format_ = Task("conversation"), named("chat")
    else:
        records = dialects.read([str(data_folder() / "qa/xquad/en.train.json")]).records
        task, format_ = infer_task(records), named("generative_qa")
    present = cell(format_, task, "decoder").present
    return tokenize([present(one, task, "decoder") for one in records], model.tokenizer, shape="decoder")  # type: ignore[attr-defined]


def ours(job: str, folder: str, rows_path: str, *, shares: bool) -> dict[str, float]:
    """Train an epoch to warm up, then one that is measured."""
    model = load_model(folder, output="text", options=Options(precision="bfloat16"))
    tokens = examples_of(job, rows_path, model)
    if job == "instructions":
        back = np.argsort(np.random.default_rng(0).permutation(len(tokens)))  # undoes the shuffle of seed 0
        tokens = [tokens[i] for i in back]
    settings = TrainSettings(
        steps=-(-len(tokens) // BATCH),
        batch_size=BATCH,
        micro_batch_tokens=16384,
        learning_rate=1e-5,
        warmup=0.0,
        average="token",
        order="random" if job == "instructions" else "families",
        share_prefixes=shares,
    )
    train(model, tokens, settings=replace(settings, steps=min(settings.steps, 8)))
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.synchronize()
    begun = time.perf_counter()
    trained = train(model, tokens, settings=settings)
    torch.cuda.synchronize()
    return {
        "seconds": time.perf_counter() - begun,
        "real_tokens": sum(len(t.ids_T) for t in tokens),
        "computed_tokens": trained.n_tokens,
        "learned_tokens": trained.n_learned,
        "loss": float(np.mean([point.loss for point in trained.trace])),
        "peak_gb": torch.cuda.max_memory_allocated() / 2**30,
        "weights": sum(p.numel() for p in model.module.parameters()),
    }


def own_process(command: list[str], name: str) -> dict[str, float] | None:
    """Run one training in a process of its own; None where it fails, which is told."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{name}: failed: {done.stderr.strip().splitlines()[-1:]}", flush=True)
        return None
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def told(name: str, one: dict[str, float], peak: float) -> None:
    """Print a line of the table."""
    rate = one["real_tokens"] / one["seconds"]
    print(
        f"{name:<44} {one['seconds']:7.2f} s  {rate:>9.0f} tokens/s  {6 * one['weights'] * rate / peak:5.1%} of the peak  "
        f"{one['computed_tokens']:>8.0f} computed of {one['real_tokens']:.0f}  {one['learned_tokens']:.0f} learned  "
        f"loss {one['loss']:.3f}  {one['peak_gb']:.1f} GB",
        flush=True,
    )


def measured(folder: Path, n_rows: int, *, ways: Sequence[str]) -> None:
    """Measure every way, one process after the other."""
    peak = matrix_peak()
    print(f"{torch.cuda.get_device_name()}: {peak / 1e12:.0f} TFLOP/s in bfloat16 matrix products", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        model = str(drawn(folder, Path(scratch) / "model"))
        rows = str(Path(scratch) / "rows.jsonl")
        Path(rows).write_text("".join(json.dumps(row) + "\n" for row in conversations(n_rows)), encoding="utf-8")
        for job, shares in (("instructions", True), ("questions", True), ("questions", False)):
            name = f"formtune, {job}{'' if shares else ', nothing shared'}"
            found = own_process([sys.executable, __file__, "--ours", job, model, rows, str(shares)], name)
            if found:
                told(name, found, peak)
        for way in ways:
            found = own_process([sys.executable, str(PEER), model, rows, str(BATCH), *way.split()], f"TRL {way}")
            if found:
                told(f"TRL, instructions, {way}", found, peak)


def main() -> None:
    """Check, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--peers", default=",".join(PEER_WAYS), help="ways of TRL, or nothing")
    parser.add_argument("--ours", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        print("left out: this machine has no CUDA GPU")
        return
    if asked.ours:
        job, folder, rows, shares = asked.ours
        print(json.dumps(ours(job, folder, rows, shares=shares == "True")))
        return
    folder = Path(asked.model)
    exactness()
    ways = [way for way in asked.peers.split(",") if way]
    measured(folder if folder.is_dir() else resolve(asked.model), asked.rows, ways=ways)


if __name__ == "__main__":
    main()
