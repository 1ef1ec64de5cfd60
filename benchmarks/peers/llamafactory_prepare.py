"""LLaMA-Factory's own preparation of conversations; prints one JSON object.

python llamafactory_prepare.py MODEL ROWS.jsonl N_PROCESSES OUT

Run with the Python of LLaMA-Factory's environment. Counted and left out is the same as in `trl_prepare.py`.
"""

import contextlib
import json
import sys
import time
from pathlib import Path

import without_audio  # noqa: F401, I001: before what it is for
import datasets
import pyarrow.compute as pc
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer

CAPACITY = 2048
ROLES = {"user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"}
LAYOUT = {
    "formatting": "sharegpt",
    "columns": {"messages": "messages"},
    "tags": {"role_tag": "role", "content_tag": "content", **ROLES},
}


def main(model_folder: str, rows_path: str, n_processes: int, out: str) -> None:
    """Prepare and tell what it took."""
    datasets.disable_progress_bars()
    Path(out).mkdir(exist_ok=True)
    described = {"rows": {"file_name": rows_path, **LAYOUT}}
    (Path(out) / "dataset_info.json").write_text(json.dumps(described), encoding="utf-8")
    settings = {
        "model_name_or_path": model_folder,
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "full",
        "dataset": "rows",
        "dataset_dir": out,
        "template": "smollm2",
        "cutoff_len": CAPACITY,
        "packing": True,
        "neat_packing": True,
        "preprocessing_num_workers": n_processes if n_processes > 1 else None,
        "output_dir": f"{out}/run",
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
    }
    model, data, training, _, _ = get_train_args(settings)
    loaded = load_tokenizer(model)
    template = get_template_and_fix_tokenizer(loaded["tokenizer"], data)
    with contextlib.redirect_stdout(sys.stderr):  # it shows its first row
        start = time.perf_counter()
        made = get_dataset(template, model, data, training, stage="sft", **loaded)
        seconds = time.perf_counter() - start
    packed = made["train_dataset"].with_format("arrow").data
    labels = pc.list_flatten(packed.column("labels"))
    told = {
        "seconds": seconds,
        "n_packs": len(packed),
        "n_tokens": pc.sum(pc.greater(pc.list_flatten(packed.column("attention_mask")), 0)).as_py(),
        "n_learned": pc.sum(pc.not_equal(labels, -100)).as_py(),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
