"""Reading records from JSON lines against the floor: decoding each line into Python objects, and nothing else.

    python benchmarks/reading_speed.py [--megabytes 100]

Files are made in a temporary folder: conversations of three messages, and rows of Alpaca. All sides read them from the page
cache, in turns; printed is the best of each, in seconds of the processor. The floor keeps what it decodes, as a reading does;
for comparison stands beside it what decoding takes that drops each line at once. The stream is planned, read slice by slice,
and dropped batch by batch. It ends with 1 where reading takes more than 2.5 times the floor, or streaming 1.5 times, 1.75 times
for rows of Alpaca, which are short, so that making objects and ids costs more than decoding.
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
from formtune.dialects.streaming import plan, records_of

WORDS = (
    *("the", "of", "film", "review", "answer", "question", "model", "token", "learns", "data", "format", "row", "text"),
    *("note:", "first\n", '"so"', "naïve"),
)
WEIGHTS = (
    *[8] * 13,
    *[1] * 4,
)  # texts have colons, line breaks, quotes and letters beyond ASCII, but not in every word
LENGTHS = {
    "messages": {"system": 12, "user": 60, "assistant": 120},
    "alpaca": {"instruction": 12, "input": 8, "output": 60},
}
MOST_STREAMED, MOST_READ = {"messages": 1.5, "alpaca": 1.75}, 2.5
ROUNDS = 5


def row_of(dialect: str, number: int, draw: random.Random) -> dict[str, object]:
    """Make a row of a dialect."""
    texts = {name: " ".join(draw.choices(WORDS, WEIGHTS, k=length)) for name, length in LENGTHS[dialect].items()}
    if dialect == "alpaca":
        return dict(texts)
    return {"messages": [{"role": role, "content": text} for role, text in texts.items()], "id": number}


def make(path: Path, dialect: str, n_bytes: int) -> int:
    """Write rows until the file is so large, and give how many they are."""
    draw, n_rows = random.Random(0), 0
    with path.open("wb") as file:
        while file.tell() < n_bytes:
            file.write(msgspec.json.encode(row_of(dialect, n_rows, draw)) + b"\n")
            n_rows += 1
    return n_rows


def dropped(path: Path) -> None:
    """Decode every line, and keep nothing."""
    decode = msgspec.json.Decoder().decode
    with path.open("rb") as file:
        for line in file:
            decode(line)


def kept(path: Path) -> list[object]:
    """Decode every line, and keep it."""
    decode = msgspec.json.Decoder().decode
    with path.open("rb") as file:
        return [decode(line) for line in file]


def streamed(path: Path) -> int:
    """Plan, and read all slices."""
    planned = plan([str(path)])
    return sum(len(batch) for part in planned.slices for batch in records_of(planned, part))


def seconds(work: Callable[[], object]) -> float:
    """Time some work of one thread: of the processor, so that what else a machine does counts less."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measured(dialect: str, path: Path, megabytes: float) -> list[Bound]:
    """Measure all sides on one file, and hold them against the floor."""
    n_rows = make(path, dialect, int(megabytes * 1e6))
    sides: dict[str, Callable[[], object]] = {
        "decoding": lambda: kept(path),
        "decoding, dropped": lambda: dropped(path),
        "streaming records": lambda: streamed(path),
        "reading records": lambda: read([str(path)]),
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, work in sides.items():
            times[name].append(seconds(work))
    best = {name: min(found) for name, found in times.items()}
    for name, taken_s in best.items():
        rates = f"{megabytes / taken_s:6.0f} MB/s  {n_rows / taken_s:10,.0f} rows/s"
        print(f"{dialect:9} {name:17} {taken_s:6.2f} s  {rates}")
    stream, reading = (best[name] / best["decoding"] for name in ("streaming records", "reading records"))
    return [
        Bound(f"{dialect}: streaming, times the floor", stream, most=MOST_STREAMED[dialect]),
        Bound(f"{dialect}: reading, times the floor", reading, most=MOST_READ),
    ]


def main() -> int:
    """Measure both dialects, and print their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=100.0)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        bounds = [
            bound
            for dialect in LENGTHS
            for bound in measured(dialect, Path(folder) / f"{dialect}.jsonl", asked.megabytes)
        ]
    return judged(bounds)


if __name__ == "__main__":
    sys.exit(main())
