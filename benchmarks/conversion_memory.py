"""Memory and time of converting a file of chats, row by row and all together.

    python benchmarks/conversion_memory.py [--megabytes 100]

The file is made in a temporary folder (as for check_speed.py) and becomes ShareGPT's layout, in a process of its own each:

- reading: the records are read and held, nothing is written
- held: they are read, held and converted row by row, as `formtune convert` does
- together: the same with all rows, texts and records that came back held too, as for a layout whose rows do not stand alone
- coming: they come one by one from the file and none is held

Printed are the peak of each process beyond what it held after its imports, and its CPU seconds. It ends with 1 where a conversion
row by row takes more than a tenth of the file's size beyond its records, or where the three do not write the same bytes.
"""

import argparse
import hashlib
import json
import resource
import sys
import time
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from check_speed import made
from peer_environment import Bound, judged, told_by

from formtune import conversion
from formtune.dialects import read, read_each, writing

WAYS = ("reading", "held", "together", "coming")


def converted(way: str, path: Path, out: Path) -> None:
    """Convert, in one of the ways."""
    if way == "coming":
        with path.open("rb") as file:
            n_rows = sum(1 for _ in file)
        conversion.convert(chain.from_iterable(read_each(str(path), "messages", n_rows=n_rows)), "sharegpt", out)
        return
    records = read([str(path)]).records
    if way == "together":
        writing.stand_alone = conversion.stand_alone = lambda *_: False  # type: ignore[assignment]
    if way != "reading":
        conversion.convert(records, "sharegpt", out)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(way: str, path: Path) -> dict[str, Any]:
    """Convert in this process, and say what it took."""
    before_mb, before_s = peak_mb(), time.process_time()
    out = path.with_name(f"{way}.jsonl")
    converted(way, path, out)
    digest = hashlib.sha256(out.read_bytes()).hexdigest() if out.exists() else None
    return {"mb": peak_mb() - before_mb, "seconds": time.process_time() - before_s, "digest": digest}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--way", choices=WAYS, help="measure one in this process, and print it as JSON")
    parser.add_argument("--file", type=Path, help="the file to convert, with --way")
    asked = parser.parse_args()
    if asked.way:
        print(json.dumps(measured(asked.way, asked.file)))
        return 0
    with TemporaryDirectory() as folder:
        path = Path(folder) / "chats.jsonl"
        made(path, asked.megabytes)
        found = {way: told_by([sys.executable, __file__, "--way", way, "--file", path]) for way in WAYS}
    for way, told in found.items():
        print(f"{way:9} {told['mb']:7.0f} MB  {told['seconds']:6.1f} CPU seconds")
    held = found["held"]["mb"] - found["reading"]["mb"]
    return judged(
        [
            Bound("memory row by row beyond the records, over the file's size", held / asked.megabytes, most=0.3),
            Bound(
                "memory of records that come one by one, over the file's size",
                found["coming"]["mb"] / asked.megabytes,
                most=0.3,
            ),
            Bound(
                "CPU seconds row by row over all together",
                found["held"]["seconds"] / found["together"]["seconds"],
                most=1.2,
            ),
            Bound("different files", len({told["digest"] for way, told in found.items() if way != "reading"}), most=1),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
