"""Reading records from JSON lines against the floor: decoding each line into Python objects, and nothing else.

    python benchmarks/reading_speed.py [--megabytes 100]

The file is made in a temporary folder: conversations of three messages. Both sides read it from the page cache, in turns;
printed is the best of each and their ratio. It ends with 1 where reading takes more than 2.5 times the floor.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from peer_environment import Bound, judged

from formtune.dialects import read

WORDS = (
    "the",
    "of",
    "film",
    "review",
    "answer",
    "question",
    "model",
    "token",
    "learns",
    "data",
    "format",
    "row",
    "text",
)
LENGTHS = {"system": 12, "user": 60, "assistant": 120}
ROUNDS = 3


def make(path: Path, n_bytes: int) -> None:
    """Write conversations until the file is so large."""
    draw = random.Random(0)
    with path.open("wb") as file:
        while file.tell() < n_bytes:
            said = [
                {"role": role, "content": " ".join(draw.choices(WORDS, k=length))} for role, length in LENGTHS.items()
            ]
            file.write(msgspec.json.encode({"messages": said, "id": file.tell()}) + b"\n")


def decoded(path: Path) -> int:
    """Decode every line."""
    decoder = msgspec.json.Decoder()
    with path.open("rb") as file:
        return len([decoder.decode(line) for line in file])


def seconds(work: Callable[[], object]) -> float:
    """Time some work."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> int:
    """Measure both, and print their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=100.0)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "chats.jsonl"
        make(path, int(asked.megabytes * 1e6))
        floors, ours = [], []
        for _ in range(ROUNDS):
            floors.append(seconds(lambda: decoded(path)))
            ours.append(seconds(lambda: read([str(path)])))
        n_rows = decoded(path)
    floor_s, ours_s = min(floors), min(ours)
    for name, taken_s in (("decoding alone", floor_s), ("reading records", ours_s)):
        print(f"{name:16} {taken_s:6.2f} s  {asked.megabytes / taken_s:6.0f} MB/s  {n_rows / taken_s:10,.0f} rows/s")
    return judged([Bound("times the floor", ours_s / floor_s, most=2.5)])


if __name__ == "__main__":
    sys.exit(main())
