"""Peers of the benchmarks: environments of their own, processes of their own, and the bounds that we promise against them."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from formtune.model_files import cache_folder

# What formtune sets for its users: formtune.machine.raise_thresholds.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}


def python_of(name: str, *packages: str, torch: bool = True) -> Path:
    """Give the Python of a peer's environment; torch goes first, so that its version is settled, where the peer needs it."""
    folder = cache_folder() / "peers" / name
    python = folder / "bin" / "python"
    if (folder / "ready").is_file():
        return python
    print(f"setting up {name}: {', '.join(packages)}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    for asked in (("torch==2.13.0",), packages) if torch else (packages,):
        subprocess.run([str(python), "-m", "pip", "--quiet", "install", *asked], check=True)
    (folder / "ready").touch()
    return python


def told_by(command: Sequence[object], *, allocator: bool = False) -> dict[str, Any]:
    """Run a process of its own, so that its memory is its own, and give the JSON object of its last line."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", **(ALLOCATOR if allocator else {})}
    done = subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


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
