"""Memory and time of converting files: whatever their size, and beside a reading that holds all records.

    python benchmarks/conversion_memory.py [--megabytes 400]

Files of chats are made in a temporary folder (as for check_speed.py), one of a tenth of the size and one of the whole, as JSON
lines, of which every second one is faulty, as Parquet and as csv. Each is converted as `formtune convert` does it, in a process of
its own, with what cannot be read put into quarantine:

- JSON lines to JSON lines, in ShareGPT's layout
- JSON lines to Parquet
- Parquet to JSON lines
- csv to JSON lines
- JSON lines, repaired on the way (`--fix`)

Beside these, JSON lines are read and held, and read, held and converted, as a program does that has records in memory.

A tenth must be more than a row group of Parquet holds (32 MB), or what it takes is less than what any larger file takes.

Printed are the peak of each process beyond what it held after its imports, and its CPU seconds. It ends with 1 where a file of the
whole size takes more than 1.2 times the memory that a tenth of it takes.
"""

import argparse
import csv
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from check_speed import made
from peer_environment import Bound, judged, told_by

from formtune import conversion, pipeline
from formtune.dialects import read
from formtune.recipe import make_recipe

CASES = {
    "jsonl to jsonl": ("chats.jsonl", "sharegpt", "out.jsonl"),
    "jsonl to parquet": ("chats.jsonl", "messages", "out.parquet"),
    "parquet to jsonl": ("chats.parquet", "sharegpt", "out.jsonl"),
    "csv to jsonl": ("chats.csv", "sharegpt", "out.jsonl"),
    "jsonl repaired": ("chats.jsonl", "sharegpt", "out.jsonl"),
}
HELD = ("held", "held and converted")


def damaged(line: str, n: int) -> str:
    """Cut a line, give a speaker another name, or put a comma behind the last element, in turn."""
    kinds = (line[: len(line) // 2] + "\n", line.replace('"user"', '"usr"'), line[:-2] + ",}\n")
    return kinds[n % len(kinds)]


def make_files(folder: Path, megabytes: int) -> None:
    """Write the same chats as JSON lines, Parquet and csv."""
    whole = folder / "whole.jsonl"
    made(whole, megabytes)
    types = pa.schema([("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])))])
    with (
        whole.open() as lines,
        (folder / "chats.jsonl").open("w") as faulty,
        (folder / "chats.csv").open("w", newline="") as table,
        pq.ParquetWriter(folder / "chats.parquet", types) as columns,
    ):
        writer = csv.writer(table)
        writer.writerow(["messages"])
        rows: list[dict[str, Any]] = []
        for n, line in enumerate(lines):
            faulty.write(damaged(line, n // 2) if n % 2 else line)
            row = json.loads(line)
            writer.writerow([json.dumps(row["messages"])])
            rows.append(row)
            if len(rows) == 10_000:
                columns.write_table(pa.Table.from_pylist(rows, types))
                rows = []
        columns.write_table(pa.Table.from_pylist(rows, types))
    whole.unlink()


def work_of(case: str, folder: Path) -> Callable[[], object]:
    """Give what is measured."""
    if case in HELD:
        path, out = folder / "chats.jsonl", folder / "held.jsonl"
        if case == "held":
            return lambda: read([str(path)])
        return lambda: conversion.convert(read([str(path)]).records, "sharegpt", out)
    name, to, target = CASES[case]
    recipe = make_recipe({"data": {"paths": [str(folder / name)]}, "out": str(folder / target)})
    aside = str(folder / "aside.jsonl")
    return lambda: pipeline.convert(recipe, to=to, fix=case.endswith("repaired"), quarantine=aside)


def peak_mb() -> float:
    """Say how much this process ever held. (The peak that ``getrusage`` knows begins with that of the process before it.)"""
    told = Path("/proc/self/status").read_text()
    return int(told.split("VmHWM:")[1].split()[0]) / 1024


def measured(case: str, folder: Path) -> dict[str, float]:
    """Do it in this process, and say what it took."""
    work = work_of(case, folder)
    before_mb, before_s = peak_mb(), time.process_time()
    work()
    return {"mb": peak_mb() - before_mb, "seconds": time.process_time() - before_s}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--case", choices=[*CASES, *HELD], help="measure one in this process, and print it as JSON")
    parser.add_argument("--folder", type=Path, help="with the files to convert, for --case")
    asked = parser.parse_args()
    if asked.case:
        print(json.dumps(measured(asked.case, asked.folder)))
        return 0
    bounds = []
    with TemporaryDirectory() as made_in:
        tenth, whole = Path(made_in) / "tenth", Path(made_in) / "whole"
        for folder, megabytes in ((tenth, max(1, asked.megabytes // 10)), (whole, asked.megabytes)):
            folder.mkdir()
            make_files(folder, megabytes)
        for case in (*CASES, *HELD):
            told = [
                told_by([sys.executable, __file__, "--case", case, "--folder", folder]) for folder in (tenth, whole)
            ]
            small, large = (one["mb"] for one in told)
            print(
                f"{case:20} {small:7.0f} MB  {large:7.0f} MB of ten times as much  {told[1]['seconds']:6.1f} CPU seconds"
            )
            if case in CASES:
                bounds.append(
                    Bound(f"memory of ten times as much over that of a tenth, {case}", large / small, most=1.2)
                )
    return judged(bounds)


if __name__ == "__main__":
    sys.exit(main())
