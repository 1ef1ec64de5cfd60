"""Mixtures of many sequences: seconds of the processor, memory, and how near the shares come.

    python benchmarks/mixing_speed.py [--sequences 10000000]

Three sources of 70, 25 and 5 % of the sequences, of 20 to 2,000 tokens each, are mixed at temperature 2 and packed into rows of
2,048. It ends with 1 where a promise is missed: 10 seconds and 2 GB for ten million, and shares right to a millionth.
"""

import argparse
import sys
import time

import numpy as np
from peer_environment import Bound, judged

from formtune.machine import peak_resident_bytes
from formtune.mixing import mix, shares
from formtune.packing import best_fit

MOST_SECONDS = 10.0
MOST_MB = 2000
CAPACITY = 2048


def main() -> int:
    """Mix and pack; 1 where a promise is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=10**7)
    n_sequences = parser.parse_args().sequences
    drawn = np.random.default_rng(0)
    sizes = [drawn.integers(20, 2001, size=round(n_sequences * part)) for part in (0.7, 0.25, 0.05)]
    amounts = [int(one.sum()) for one in sizes]

    start = time.process_time()
    shares_S = shares(amounts, weights=[1, 2, 1], caps=[None] * 3, temperature=2)
    mixture = mix(sizes, shares_S, total=sum(amounts), seed=0)
    mixed = time.process_time() - start
    packs = best_fit(np.concatenate(sizes)[mixture.numbers_D], CAPACITY)
    packed = time.process_time() - start - mixed
    print(f"{len(mixture.numbers_D):,} sequences: mixed in {mixed:.2f} s, {len(packs):,} packs in {packed:.2f} s")
    return judged(
        [
            Bound("seconds", mixed + packed, most=MOST_SECONDS),
            Bound("MB at the peak", peak_resident_bytes() / 1e6, most=MOST_MB),
            Bound("shares off by", float(np.abs(mixture.reached_S - shares_S).max()), most=1e-6),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
