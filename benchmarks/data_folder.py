"""Where the benchmarks find real data sets: ``FORMTUNE_DATA``, or the folder that stands beside a checkout."""

import os
import sys
from pathlib import Path


def data_folder() -> Path:
    """Give the folder, or end the benchmark with a word on what is missing."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("FORMTUNE_DATA") or beside)
    if not folder.is_dir():
        print(f"left out: there is no folder of data sets at {folder} (FORMTUNE_DATA names another)")
        sys.exit(0)
    return folder
