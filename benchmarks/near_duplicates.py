"""Times the search for near-duplicates on short rows, and says how many of the planted ones it finds.

    python benchmarks/near_duplicates.py [--rows 1000000]

Rows are sentences of 10 to 20 drawn words; a twentieth repeat an earlier row with the last word changed, and those of them that
are 0.8 alike (Jaccard, five characters) are to be found. Memory is what the process holds at its peak beyond the records.
"""

import argparse
import random
import resource
import sys
import time
from collections.abc import Sequence

from peer_environment import Bound, judged

from formtune.checks import CHECKS, Context
from formtune.checks.sketches import ALIKE, similarity
from formtune.records import Labelled, Origin, Record

PLANTED = 20  # one row in so many


def rows(n: int, seed: int = 0) -> tuple[list[Record], set[str]]:
    """Make records, and name those that repeat an earlier one but for a word and are alike enough."""
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(30_000)]
    made: list[Record] = []
    planted: set[str] = set()
    for k in range(n):
        is_planted = k > 0 and k % PLANTED == 0
        if is_planted:
            first = made[draw.randrange(len(made))]
            text = " ".join([*first.inputs["text"].split()[:-1], draw.choice(words)])
        else:
            text = " ".join(draw.choices(words, k=draw.randint(10, 20)))
        made.append(Labelled(id=str(k), origin=Origin("made", k + 1), inputs={"text": text}))
        if is_planted and similarity(first, made[-1]) >= ALIKE:
            planted.add(f"made:{k + 1}")
    return made, planted


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def searched(records: Sequence[Record]) -> tuple[float, set[str], float]:
    """Give seconds, the places found, and megabytes beyond the records themselves."""
    before = peak_mb()
    start = time.perf_counter()
    found = list(CHECKS["near-duplicates"].find(records, Context(parts={"data": records})))
    return time.perf_counter() - start, {place for one in found for place in one.places}, peak_mb() - before


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    n_rows = parser.parse_args().rows
    records, planted = rows(n_rows)
    seconds, found, megabytes = searched(records)
    print(f"{n_rows:,} rows: {seconds:.1f} s, {1e6 * seconds / n_rows:.0f} s a million, {len(found):,} found")
    return judged(
        [
            Bound("planted rows found, of all", len(found & planted) / len(planted), least=0.98),
            Bound("megabytes beyond the records", megabytes, most=200 + 800 * n_rows / 1e6),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
