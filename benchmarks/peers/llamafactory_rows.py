"""Rows as LLaMA-Factory prepares them by default; prints one JSON object: of each row, ids and labels, or null.

python llamafactory_rows.py MODEL ROWS.jsonl

Run with the Python of LLaMA-Factory's environment. No template is named, so that it makes one of the model's own. Columns
are described as its documents do: those of ShareGPT and Alpaca have the names that it expects, but for the system text and the
history, which it reads only where they are named. A data set without a row that it takes is an error to it.
"""

import json
import sys
from pathlib import Path

from llamafactory_dataset import made
from row_files import Row, tell

ROLES = {"user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"}
MESSAGES = {
    "formatting": "sharegpt",
    "columns": {"messages": "messages"},
    "tags": {"role_tag": "role", "content_tag": "content", **ROLES},
}
OWN = {
    "sharegpt": {"messages": "conversations"},
    "alpaca": {"prompt": "instruction", "query": "input", "response": "output"},
}
NAMED = ("system", "history")


def layout(row: dict[str, object]) -> dict[str, object]:
    """Describe the columns of a row."""
    if "messages" in row:
        return MESSAGES
    formatting = "sharegpt" if "conversations" in row else "alpaca"
    columns = {role: column for role, column in OWN[formatting].items() if column in row}
    return {"formatting": formatting, "columns": {**columns, **{name: name for name in NAMED if name in row}}}


def prepared(model_folder: str, file: Path) -> Row:
    """Give ids and labels of the one row of a data set; None where it is left out."""
    described = {"row": {"file_name": file.name, **layout(json.loads(file.read_text(encoding="utf-8")))}}
    (file.parent / "dataset_info.json").write_text(json.dumps(described), encoding="utf-8")
    places = {"dataset_dir": str(file.parent), "output_dir": f"{file}.run"}
    try:
        taken, _ = made(model_folder, dataset="row", template=None, **places)
    except RuntimeError as error:
        if "valid samples" not in str(error):
            raise
        return None
    return [taken[0]["input_ids"], taken[0]["labels"]]


if __name__ == "__main__":
    tell(sys.argv[2], lambda file: prepared(sys.argv[1], file))
