"""Trainings that are killed at random moments, and taken up again until they are done: the same bits in the end?

    python benchmarks/kill_resume.py [--kills 60] [--seed 0] [--families bert,gpt2,llama,qwen3,t5,xlnet]

Each training is a process of its own that runs `formtune train` with a tiny model on real data and is ended by SIGKILL:
while it starts, between two updates, in the middle of writing a checkpoint, while the run is written. After each kill
every checkpoint that is there must be whole and the run whole or absent; in the end weights, losses and scores must be
those of the training that nobody killed. Processes are forked from one that has imported everything, so that most of
their time is training.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from data_folder import data_folder

N_STEPS = 24
MOST_TO_A_TRAINING = 5  # kills of one training before it may finish
COMMON = ("--n-train", "40", "--n-dev", "8", "--n-test", "8", "--batch-size", "5", "--steps", str(N_STEPS), "--quiet")
COMMON += (
    "--set",
    "training.save_every=1",
    "--set",
    "training.validate_every=3",
    "--set",
    "comparison.max_new_tokens=4",
)
COMMON += ("--learning-rate", "0.003", "--max-length", "96")

SPAM, REVIEWS = "cls_en/sms_spam/train.tsv", "cls_en/sst2/train.tsv"
TRAININGS: dict[str, tuple[str, ...]] = {  # what differs from family to family, so that much is covered
    "bert": (SPAM, "--format", "classification", "--freeze", "all-but-top-1"),
    "gpt2": (SPAM, "--format", "seq2seq", "--set", "training.unfreeze_every=1"),
    "llama": (REVIEWS, "--format", "generative_qa", "--lora", "4", "--set", "model.lora.dropout=0.2"),
    "qwen3": (REVIEWS, "--format", "masked_lm", "--set", "training.optimizer=adafactor"),
    "t5": ("text/tinyshakespeare/input.txt", "--format", "masked_lm"),
    "xlnet": (SPAM, "--format", "classification", "--set", "training.optimizer=sgd"),
}


@dataclass
class Tally:
    """What came of the kills of one family."""

    family: str
    updates: list[int] = field(default_factory=list)  # kept at each kill
    n_writing: int = 0  # kills that left something half written
    n_trainings: int = 0
    digest: str = ""
    faults: list[str] = field(default_factory=list)


def command(arguments: Sequence[str], log: str, cache: str) -> None:
    """Run a command of formtune as a process's whole work, with all it says in a file, and what it keeps in a folder."""
    from formtune.cli import run

    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.environ["FORMTUNE_CACHE"] = cache
    sys.exit(run(arguments))


class Family:
    """The trainings of one family in a folder of their own."""

    def __init__(self, name: str, folder: Path, data: Path) -> None:
        path, *flags = TRAININGS[name]
        self.name = name
        self.folder = folder / name
        self.folder.mkdir()
        self.log = str(self.folder / "log")
        self.flags = ("train", str(data / path), *flags, "--model", tiny_folder(name, self.folder / "model"), *COMMON)
        self.processes = multiprocessing.get_context("forkserver")
        self.processes.set_forkserver_preload(["accelerate", "peft", "formtune.pipeline", "formtune.training_job"])

    def begin(self, out: str) -> BaseProcess:
        """Start a training, or let it go on."""
        arguments = (*self.flags, "-o", str(self.place(out)))
        cache = str(self.folder / "caches" / out)  # else a training would find what the one that went through has kept
        process = self.processes.Process(target=command, args=(arguments, self.log, cache))
        process.start()
        return process

    def place(self, out: str) -> Path:
        return self.folder / "runs" / out

    def kept(self, out: str) -> list[Path]:
        """List the checkpoints of a training, oldest first."""
        return sorted(self.place(f"{out}.checkpoints").glob("step-*"))

    def times_s(self, out: str) -> tuple[float, float]:
        """Do a training, and say how long it took until its first checkpoint and from one to the next."""
        begun_s = first_s = time.monotonic()
        process = self.begin(out)
        while process.is_alive() and number(self.kept(out)) < N_STEPS:
            first_s = first_s if self.kept(out) else time.monotonic()
            time.sleep(0.001)
        last_s = time.monotonic()
        process.join()
        return first_s - begun_s, (last_s - first_s) / N_STEPS

    def finish(self, out: str) -> dict[str, Any]:
        """Let a training go on to its end, and say what came out."""
        process = self.begin(out)
        process.join()
        assert process.exitcode == 0, Path(self.log).read_text(encoding="utf-8")
        return result_of(self.place(out))


def tiny_folder(family: str, folder: Path) -> str:
    """Write a tiny model of a family, with the byte tokenizer, as a user's own folder looks like."""
    import transformers

    from formtune.loading import tiny
    from formtune.tokens import byte_tokenizer

    transformers.utils.logging.disable_progress_bar()
    tiny(family, output="mask" if family == "bert" else "text").module.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(byte_tokenizer().full.to_str(), encoding="utf-8")
    config = {f"{name}_token": f"<{name}>" for name in ("pad", "mask", "sep", "cls")}
    config |= {"bos_token": "<s>", "eos_token": "</s>"}
    config |= {"additional_special_tokens": [f"<extra_id_{i}>" for i in range(8)]}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return str(folder)


def result_of(run: Path) -> dict[str, Any]:
    """Give what must be equal: digests, losses, looks, scores; not how long it took, nor what was computed again."""
    from formtune.shards import read_manifest

    manifest = read_manifest(run, kind="run")
    points = [json.loads(line) for line in (run / "trace.jsonl").read_text(encoding="utf-8").splitlines()]
    trace = [{key: value for key, value in point.items() if key not in ("seconds", "work")} for point in points]
    scores = {key: manifest[key] for key in ("steps", "best", "metrics", "calibrated", "stopped_early")}
    return {"weights": manifest["files"]["weights.safetensors"], "trace": trace, **scores}


def kill_at(family: Family, out: str, moment: float, *, start_s: float, pause_s: float) -> bool:
    """Start a training, and kill it when it has kept the update of a moment, or while it starts if it had before.

    Args:
        family: whose.
        out: name of its folder.
        moment: updates done; the fraction is that of the time until the next, or of the start.
        start_s: how long starting takes.
        pause_s: how long an update takes.

    Returns:
        Whether it was still alive.
    """
    starting = number(family.kept(out)) >= int(moment)
    process = family.begin(out)
    while process.is_alive() and number(family.kept(out)) < int(moment):
        time.sleep(0.001)
    time.sleep(moment % 1 * (start_s if starting else pause_s))
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def number(kept: Sequence[Path]) -> int:
    """Give the update of the newest checkpoint; 0 where there is none."""
    return int(kept[-1].name.rpartition("-")[2]) if kept else 0


def look_over(family: Family, out: str, tally: Tally) -> None:
    """Check that everything that a kill left is whole or hidden."""
    from formtune.errors import DataError
    from formtune.shards import read_manifest

    runs = family.place("")
    for place in [*runs.iterdir(), *family.place(f"{out}.checkpoints").glob("*")]:
        if place.name.startswith("."):
            tally.n_writing += 1
        elif place.name != "lock" and place.suffix != ".checkpoints":
            kind = {"step": "checkpoint", "best": "best weights"}.get(place.name.partition("-")[0], "run")
            try:
                read_manifest(place, kind=kind)
            except DataError as error:
                tally.faults.append(f"{family.name}: after a kill: {error}")


def tried(family: Family, n_kills: int, chance: random.Random) -> Tally:
    """Kill a family's trainings so many times, and compare each that ends with one that nobody killed."""
    start_s, pause_s = family.times_s("through")
    wanted = result_of(family.place("through"))
    tally = Tally(family.name, digest=wanted["weights"])
    while len(tally.updates) < n_kills:
        tally.n_trainings += 1
        out = f"killed-{tally.n_trainings}"
        n_now = min(MOST_TO_A_TRAINING, n_kills - len(tally.updates))
        for moment in sorted(chance.uniform(0, N_STEPS + 1) for _ in range(n_now)):
            if kill_at(family, out, moment, start_s=start_s, pause_s=pause_s):
                tally.updates.append(number(family.kept(out)))
                look_over(family, out, tally)
            elif family.place(out).is_dir():
                break
        compare(family, out, wanted=wanted, tally=tally)
    return tally


def compare(family: Family, out: str, *, wanted: dict[str, Any], tally: Tally) -> None:
    """Let a training end, and say where it differs from the one that nobody killed."""
    found = family.finish(out)
    tally.faults += [f"{family.name}: {key} of {out} differ" for key in wanted if found[key] != wanted[key]]
    left = {place.name for place in family.place("").iterdir()} - {"through", out}
    tally.faults += [f"{family.name}: {name} is left" for name in sorted(left)]
    shutil.rmtree(family.place(out))


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill, print a table; 1 where anything was not whole or differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--families", default=",".join(TRAININGS))
    asked = parser.parse_args(arguments)
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    names = asked.families.split(",")
    data, chance = data_folder(), random.Random(asked.seed)
    faults: list[str] = []
    print(f"{'family':8}{'kills':>6}{'in writing':>12}{'trainings':>11}  {'weights':14}updates kept at each kill")
    with tempfile.TemporaryDirectory() as folder:
        for place, name in enumerate(names):
            n_kills = asked.kills // len(names) + (place < asked.kills % len(names))
            tally = tried(Family(name, Path(folder), data), n_kills, chance)
            kept = " ".join(map(str, tally.updates))
            counts = f"{len(tally.updates):>6}{tally.n_writing:>12}{tally.n_trainings:>11}"
            print(f"{name:8}{counts}  {tally.digest[:12]:14}{kept}", flush=True)
            faults += tally.faults
    print("\n".join(faults) or f"{asked.kills} kills: everything whole or absent, every result the same bit by bit")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
