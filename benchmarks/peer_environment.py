"""Peers of the benchmarks: environments of their own, processes of their own, and the bounds that we promise against them."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from formtune.model_files import cache_folder

# What formtune sets for its users: formtune.machine.raise_thresholds.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}


def python_of(name: str, *packages: str, torch: bool = True, alone: Sequence[str] = ()) -> Path:
    """Give the Python of a peer's environment, made once.

    Args:
        name: of the environment.
        packages: what is installed.
        torch: whether torch goes first, so that its version is settled.
        alone: packages that are installed last, without what they ask for.
    """
    folder = cache_folder() / "peers" / name
    python = folder / "bin" / "python"
    if (folder / "ready").is_file():
        return python
    print(f"setting up {name}: {', '.join((*packages, *alone))}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    steps = [("torch==2.13.0",) if torch else (), packages, ("--no-deps", *alone) if alone else ()]
    for asked in filter(None, steps):
        subprocess.run([str(python), "-m", "pip", "--quiet", "install", *asked], check=True)
    (folder / "ready").touch()
    return python


def trl() -> Path:
    """Give the Python of TRL's environment."""
    return python_of("trl", "trl==1.16.0")


def llamafactory() -> Path:
    """Give the Python of LLaMA-Factory's; the torchvision and torchaudio that it asks for may want torch with CUDA."""
    needed = (
        "transformers==5.6.0",
        "datasets==4.0.0",
        "accelerate==1.11.0",
        "peft==0.18.1",
        "trl==0.24.0",
        "omegaconf",
    )
    return python_of("llamafactory", *needed, "sentencepiece", "tiktoken", alone=("llamafactory==0.9.5",))


def axolotl() -> Path:
    """Give the Python of axolotl's, with those of its pinned packages that preparing data imports; others bring CUDA."""
    needed = ("transformers==5.16.1", "tokenizers==0.23.1", "datasets==4.8.4", "accelerate==1.13.0", "peft==0.20.0")
    others = ("trl==1.9.0", "pydantic==2.12.5", "posthog==6.7.11", "addict", "colorama", "numba", "pillow", "scipy")
    own = ("axolotl==0.19.0", "axolotl-contribs-lgpl==0.0.7", "axolotl-contribs-mit==0.0.6")
    return python_of("axolotl", *needed, *others, "sentencepiece", "termcolor", alone=own)


def swift() -> Path:
    """Give the Python of ms-swift's, with what preparing data imports; the rest are a server, charts and other hubs."""
    needed = ("transformers==5.19.0", "datasets==4.8.4", "accelerate==1.15.0", "peft==0.20.0", "trl==0.29.0")
    others = ("modelscope==1.40.2", "einops", "json-repair", "pillow", "scipy", "sentencepiece", "simplejson")
    return python_of("swift", *needed, *others, alone=("ms-swift==4.6.0",))


def told_by(
    command: Sequence[object],
    *,
    allocator: bool = False,
    n_cores: int | None = None,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Run a process of its own, so that its memory is its own, and give the JSON object of its last line."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", **(ALLOCATOR if allocator else {}), **variables}
    with on_cores(n_cores):
        done = subprocess.run(
            [str(word) for word in command], env=environment, capture_output=True, text=True, check=False
        )
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextmanager
def on_cores(n_cores: int | None) -> Iterator[None]:
    """Let processes that are started meanwhile have so many cores; None for all."""
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(ours)[:n_cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)


@dataclass(frozen=True, slots=True)
class Bound:
    """A figure with what it must not fall below or rise above."""

    what: str
    value: float
    least: float = -math.inf
    most: float = math.inf

    @property
    def met(self) -> bool:
        return self.least <= self.value <= self.most

    def __str__(self) -> str:
        limit = f"at least {self.least:g}" if self.least > -math.inf else f"at most {self.most:g}"
        return f"{self.what}: {self.value:.4g}, {limit}"


def judged(bounds: Sequence[Bound]) -> int:
    """Print every bound; 1 where one is missed."""
    for bound in bounds:
        print(
            f"{'met' if bound.met else 'missed':<7} {bound}", file=sys.stdout if bound.met else sys.stderr, flush=True
        )
    return int(not all(bound.met for bound in bounds))
