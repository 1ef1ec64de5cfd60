"""TRL's packing by best-fit decreasing, of sequences of given lengths; prints one JSON object.

python trl_pack.py LENGTHS.npy SEQUENCES CAPACITY

Run with the Python of TRL's environment. Every token is one byte, so that little is moved. Seconds are the
processor's.
"""

import json
import re
import sys
import tempfile
import time
from pathlib import Path

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
        start = time.process_time()
        packed = pack_dataset(dataset, capacity, "bfd", {"cache_file_name": f"{folder}/packed.arrow"})
        seconds = time.process_time() - start
        n_packs = len(packed)
    print(json.dumps({"seconds": seconds, "n_packs": n_packs, "peak_mb": peak_mb()}))


def peak_mb() -> float:
    """Tell the most memory that this process has held; what getrusage says holds for its parent too."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    return int(found[1]) * 1024 / 1e6


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
