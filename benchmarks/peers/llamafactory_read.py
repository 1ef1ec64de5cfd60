"""Exported rows as LLaMA-Factory takes them up for training; prints one JSON object: of each row, ids and labels.

python llamafactory_read.py MODEL FOLDER

Run with the Python of LLaMA-Factory's environment.
"""

import contextlib
import json
import sys
import tempfile

import without_audio  # noqa: F401, I001: before what it is for
import datasets
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer


def main(model_folder: str, folder: str) -> None:
    """Let it find the folder by `tokenized_path`."""
    datasets.disable_progress_bars()
    settings = {
        "model_name_or_path": model_folder,
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "full",
        "dataset": "rows",
        "template": "smollm2",
        "tokenized_path": folder,
        "output_dir": tempfile.mkdtemp(),
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
    }
    with contextlib.redirect_stdout(sys.stderr):
        model, data, training, _, _ = get_train_args(settings)
        loaded = load_tokenizer(model)
        template = get_template_and_fix_tokenizer(loaded["tokenizer"], data)
        taken = get_dataset(template, model, data, training, stage="sft", **loaded)["train_dataset"]
    print(json.dumps({"rows": [[row["input_ids"], row["labels"]] for row in taken]}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
