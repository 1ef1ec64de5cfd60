"""Rows in files of their own, each a data set by itself, so that one which a trainer leaves out is seen."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

Row = list[list[int]] | None  # ids and labels of a row; None where it is left out


def each_alone(rows_path: str) -> list[Path]:
    """Write each line of a file into one of its own, in a new folder."""
    folder = Path(tempfile.mkdtemp())
    files = []
    for number, line in enumerate(Path(rows_path).read_text(encoding="utf-8").splitlines()):
        files.append(folder / f"row{number}.jsonl")
        files[-1].write_text(f"{line}\n", encoding="utf-8")
    return files


def tell(rows_path: str, prepared: Callable[[Path], Row]) -> None:
    """Prepare each row alone, and print all as one JSON object."""
    print(json.dumps({"rows": [prepared(file) for file in each_alone(rows_path)]}))
