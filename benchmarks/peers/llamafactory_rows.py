"""Conversations as LLaMA-Factory prepares them by default; prints one JSON object: of each row, ids and labels, or null.

python llamafactory_rows.py MODEL ROWS.jsonl

Run with the Python of LLaMA-Factory's environment. Every row is a data set of its own, so that one that is left out is seen.
"""

import contextlib
import json
import sys
import tempfile
from pathlib import Path

import without_audio  # isort: skip  # noqa: F401
import datasets
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer

ROLES = {"user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"}
LAYOUT = {
    "formatting": "sharegpt",
    "columns": {"messages": "messages"},
    "tags": {"role_tag": "role", "content_tag": "content", **ROLES},
}


def prepared(settings: dict[str, object]) -> list[list[int]] | None:
    """Give ids and labels of the one row of a data set; None where it is left out."""
    model, data, training, _, _ = get_train_args(settings)
    loaded = load_tokenizer(model)
    template = get_template_and_fix_tokenizer(loaded["tokenizer"], data)
    try:
        taken = get_dataset(template, model, data, training, stage="sft", **loaded)["train_dataset"]
    except RuntimeError as error:
        if "valid samples" not in str(error):
            raise
        return None
    return [taken[0]["input_ids"], taken[0]["labels"]]


def main(model_folder: str, rows_path: str) -> None:
    """Prepare every row."""
    datasets.disable_progress_bars()
    folder = Path(tempfile.mkdtemp())
    lines = Path(rows_path).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        (folder / f"row{number}.jsonl").write_text(f"{line}\n", encoding="utf-8")
    described = {f"row{number}": {"file_name": f"row{number}.jsonl", **LAYOUT} for number in range(len(lines))}
    (folder / "dataset_info.json").write_text(json.dumps(described), encoding="utf-8")
    settings = {
        "model_name_or_path": model_folder,
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "full",
        "dataset_dir": str(folder),
        "output_dir": str(folder / "run"),
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
    }
    with contextlib.redirect_stdout(sys.stderr):  # it shows its first rows
        rows = [prepared({**settings, "dataset": name}) for name in described]
    print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
