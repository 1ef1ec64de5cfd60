"""Conversations as LLaMA-Factory prepares them by default; prints one JSON object: of each row, ids and labels, or null.

python llamafactory_rows.py MODEL ROWS.jsonl

Run with the Python of LLaMA-Factory's environment. No template is named, so that it makes one of the model's own. Every row is
a data set by itself, so that one that is left out is seen.
"""

import json
import sys
import tempfile
from pathlib import Path

from llamafactory_dataset import made

ROLES = {"user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"}
LAYOUT = {
    "formatting": "sharegpt",
    "columns": {"messages": "messages"},
    "tags": {"role_tag": "role", "content_tag": "content", **ROLES},
}


def prepared(model_folder: str, folder: Path, name: str) -> list[list[int]] | None:
    """Give ids and labels of the one row of a data set; None where it is left out."""
    places = {"dataset_dir": str(folder), "output_dir": str(folder / "run")}
    try:
        taken, _ = made(model_folder, dataset=name, template=None, **places)
    except RuntimeError as error:
        if "valid samples" not in str(error):
            raise
        return None
    return [taken[0]["input_ids"], taken[0]["labels"]]


def main(model_folder: str, rows_path: str) -> None:
    """Prepare every row."""
    folder = Path(tempfile.mkdtemp())
    lines = Path(rows_path).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        (folder / f"row{number}.jsonl").write_text(f"{line}\n", encoding="utf-8")
    described = {f"row{number}": {"file_name": f"row{number}.jsonl", **LAYOUT} for number in range(len(lines))}
    (folder / "dataset_info.json").write_text(json.dumps(described), encoding="utf-8")
    print(json.dumps({"rows": [prepared(model_folder, folder, name) for name in described]}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
