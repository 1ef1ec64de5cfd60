"""Rows of one layout as axolotl prepares them by default; prints one JSON object: of each row, ids and labels, or null.

python axolotl_rows.py MODEL ROWS.jsonl

Run with the Python of axolotl's environment. The configuration names the type that reads such columns and what axolotl cannot do
without; the rest is its own. It tells neither which rows it drops nor where those stood that it keeps, so that all are prepared
once more in order and with room for each. A text is cut into several rows, which are joined here where all are kept. It sends
telemetry unless AXOLOTL_DO_NOT_TRACK is set.
"""

import json
import sys
import tempfile
from pathlib import Path

import datasets
from axolotl.cli.config import load_cfg
from axolotl.common.datasets import load_datasets

NEEDED = {"micro_batch_size": 1, "gradient_accumulation_steps": 1, "num_epochs": 1, "learning_rate": 1e-4}
FEW = {"dataset_num_proc": 1}  # the processes of more than one take ten seconds to start
TYPES = {"messages": "chat_template", "text": "completion", "segments": "input_output", "instruction": "alpaca"}
PIECE = 512  # tokens, its own sequence_len
WHOLE = {"sequence_len": 1 << 20, "shuffle_merged_datasets": False}


def prepared(model_folder: str, rows_path: str, **settings: object) -> list[list[list[int]]]:
    """Give ids and labels of the rows that it keeps."""
    folder = Path(tempfile.mkdtemp())
    places = {"output_dir": f"{folder}/run", "dataset_prepared_path": f"{folder}/prepared"}
    taken_from = [{"path": rows_path, "type": type_of(rows_path)}]
    told = {"base_model": model_folder, "datasets": taken_from, **places, **NEEDED, **FEW, **settings}
    (folder / "settings.yml").write_text(json.dumps(told), encoding="utf-8")  # JSON is YAML
    rows = load_datasets(cfg=load_cfg(str(folder / "settings.yml"))).train_dataset
    return [[row["input_ids"], row["labels"]] for row in rows]


def type_of(rows_path: str) -> str:
    """Give the type that reads the columns of the rows."""
    first = json.loads(Path(rows_path).read_text(encoding="utf-8").splitlines()[0])
    return next(type_ for column, type_ in TYPES.items() if column in first)


def pieces(row: list[list[int]], *, is_cut: bool) -> list[list[list[int]]]:
    """Cut ids and labels as a text is cut; the row itself where it is none."""
    if not is_cut:
        return [row]
    return [[part[start : start + PIECE] for part in row] for start in range(0, len(row[0]), PIECE)]


def main(model_folder: str, rows_path: str) -> None:
    """Prepare the rows, and find which of all were kept."""
    datasets.disable_progress_bars()
    kept = prepared(model_folder, rows_path)
    whole = prepared(model_folder, rows_path, **WHOLE)
    is_cut = type_of(rows_path) == "completion"
    is_kept = [all(piece in kept for piece in pieces(row, is_cut=is_cut)) for row in whole]
    print(json.dumps({"rows": [row if found else None for row, found in zip(whole, is_kept, strict=True)]}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
