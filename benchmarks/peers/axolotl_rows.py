"""Conversations as axolotl prepares them by default; prints one JSON object: of each row, ids and labels, or null.

python axolotl_rows.py MODEL ROWS.jsonl

Run with the Python of axolotl's environment. The configuration names the type ``chat_template`` and what axolotl cannot do
without; the rest is its own. It tells neither which rows it drops nor where those stood that it keeps, so that all are prepared
once more in order and with room for each. It sends telemetry unless AXOLOTL_DO_NOT_TRACK is set.
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
WHOLE = {"sequence_len": 1 << 20, "shuffle_merged_datasets": False}


def prepared(model_folder: str, rows_path: str, **settings: object) -> list[list[list[int]]]:
    """Give ids and labels of the rows that it keeps."""
    folder = Path(tempfile.mkdtemp())
    places = {"output_dir": f"{folder}/run", "dataset_prepared_path": f"{folder}/prepared"}
    taken_from = [{"path": rows_path, "type": "chat_template"}]
    told = {"base_model": model_folder, "datasets": taken_from, **places, **NEEDED, **FEW, **settings}
    (folder / "settings.yml").write_text(json.dumps(told), encoding="utf-8")  # JSON is YAML
    rows = load_datasets(cfg=load_cfg(str(folder / "settings.yml"))).train_dataset
    return [[row["input_ids"], row["labels"]] for row in rows]


def main(model_folder: str, rows_path: str) -> None:
    """Prepare the rows, and find which of all were kept."""
    datasets.disable_progress_bars()
    kept = prepared(model_folder, rows_path)
    whole = prepared(model_folder, rows_path, **WHOLE)
    print(json.dumps({"rows": [row if row in kept else None for row in whole]}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
