"""Packing over a whole set: seconds, memory and filled share, and how many times sooner than TRL's packing.

    python benchmarks/packing_speed.py [--capacity 2048] [--trl 1000000] [--alone]

Lengths are those of Alpaca's conversations in SmolLM2's tokens, each drawn row a tenth longer or shorter: 10^5, 10^6 and
10^7 of them. TRL packs as many as ``--trl`` says by best-fit decreasing, as `SFTTrainer` has it done: in its own
environment, by `trl.pack_dataset`, a thousand rows at a time, with tokens of one byte (we give the numbers of the
sequences; TRL moves their tokens too). Each run has a process and a core of its own; seconds are the processor's. It ends
with 1 where a promise is missed: 10 million in 3 seconds and 1 GB, 100 times sooner than TRL, and no pack more than TRL
needs.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from peer_environment import Bound, judged, told_by, trl
from real_rows import alpaca_lengths

from formtune.machine import peak_resident_bytes
from formtune.packing import Packs, best_fit, in_order, of_similar_length

MODEL = "smollm2-135m"
SIZES = (10**5, 10**6, 10**7)
PEER = Path(__file__).parent / "peers" / "trl_pack.py"
MOST_SECONDS = 3.0
MOST_MB = 1000
SOONER = 100.0
BEST = "best fit"
WAYS: dict[str, Callable[[np.ndarray, int], Packs]] = {
    BEST: best_fit,
    "in order": in_order,
    "of similar length": lambda lengths, capacity: of_similar_length([lengths], [capacity]),
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One run."""

    seconds: float
    n_packs: int
    peak_mb: float


def packed(way: str, lengths_path: str, n_sequences: int, *, capacity: int) -> Measured:
    """Pack in this process."""
    lengths = np.load(lengths_path)[:n_sequences]
    start = time.process_time()
    packs = WAYS[way](lengths, capacity)
    seconds = time.process_time() - start
    return Measured(seconds, len(packs), peak_resident_bytes() / 1e6)


def told(name: str, command: list[object], lengths: np.ndarray, *, capacity: int) -> Measured:
    """Measure one way in a process of its own, on one core, and print its line of the table."""
    one = Measured(**told_by(command, n_cores=1))
    filled = float(lengths.sum()) / (one.n_packs * capacity)
    print(
        f"{len(lengths):>10,}  {name:<20} {one.seconds:8.3f} s  {one.n_packs:>9,} packs, {filled:6.2%} filled  "
        f"{one.peak_mb:6.0f} MB",
        flush=True,
    )
    return one


def main() -> int:
    """Measure every way and size; 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capacity", type=int, default=2048)
    parser.add_argument("--trl", type=int, default=10**6, help="sequences that TRL packs")
    parser.add_argument("--alone", action="store_true", help="measure formtune alone")
    parser.add_argument("--own", nargs=3, metavar=("WAY", "LENGTHS", "SEQUENCES"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.own:
        way, path, n_sequences = asked.own
        print(json.dumps(asdict(packed(way, path, int(n_sequences), capacity=asked.capacity))))
        return 0
    lengths = alpaca_lengths(max(*SIZES, asked.trl), model=MODEL, most=asked.capacity)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lengths.npy"
        np.save(path, lengths)
        return judged(measured(lengths, path, asked))


def measured(lengths: np.ndarray, path: Path, asked: argparse.Namespace) -> list[Bound]:
    """Measure everything, and say what is promised."""

    def here(way: str, n_sequences: int) -> Measured:
        command = [sys.executable, __file__, "--capacity", asked.capacity, "--own", way, path, n_sequences]
        return told(way, command, lengths[:n_sequences], capacity=asked.capacity)

    runs = {(way, size): here(way, size) for size in SIZES for way in WAYS}
    bounds = [
        Bound("seconds for 10 million", runs[BEST, SIZES[-1]].seconds, most=MOST_SECONDS),
        Bound("MB for 10 million", runs[BEST, SIZES[-1]].peak_mb, most=MOST_MB),
    ]
    if asked.alone:
        return bounds
    mine = runs.get((BEST, asked.trl)) or here(BEST, asked.trl)
    command = [trl(), PEER, path, asked.trl, asked.capacity]
    theirs = told("TRL, best fit", command, lengths[: asked.trl], capacity=asked.capacity)
    return [
        *bounds,
        Bound("times sooner than TRL", theirs.seconds / mine.seconds, least=SOONER),
        Bound("packs more than TRL's", mine.n_packs - theirs.n_packs, most=0),
    ]


if __name__ == "__main__":
    sys.exit(main())
