"""TRL's packing by best-fit decreasing, of sequences of given lengths; prints one JSON object.

python trl_pack.py LENGTHS.npy SEQUENCES CAPACITY

Run with the Python of TRL's environment. Every token is one byte, so that little is moved.
"""

import json
import resource
import sys
import tempfile
import time

import datasets
import numpy as np
import pyarrow as pa
from trl import pack_dataset


def main(lengths_path: str, n_sequences: int, capacity: int) -> None:
    """Pack and tell what it took."""
    datasets.disable_progress_bars()
    ends = np.cumsum(np.load(lengths_path)[:n_sequences], dtype=np.int32)
    tokens = pa.array(np.zeros(ends[-1], dtype=np.int8))
    rows = pa.table({"input_ids": pa.ListArray.from_arrays(np.concatenate([[0], ends]).astype(np.int32), tokens)})
    dataset = datasets.Dataset(rows)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        packed = pack_dataset(dataset, capacity, "bfd", {"cache_file_name": f"{folder}/packed.arrow"})
        seconds = time.perf_counter() - start
        n_packs = len(packed)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "n_packs": n_packs, "peak_mb": peak_mb}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
