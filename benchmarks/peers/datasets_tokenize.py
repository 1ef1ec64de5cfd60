"""Labelled texts through `datasets.map` and the model's fast tokenizer, in batches; prints one JSON object.

python datasets_tokenize.py MODEL ROWS.jsonl N_PROCESSES

Run with a Python that has `datasets` and transformers. Counted and left out is the same as in `trl_prepare.py`.
"""

import json
import sys
import time

import datasets
import pyarrow.compute as pc
from datasets import load_dataset
from transformers import AutoTokenizer


def main(model_folder: str, rows_path: str, n_processes: int) -> None:
    """Prepare and tell what it took."""
    datasets.disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    start = time.perf_counter()
    rows = load_dataset("json", data_files=rows_path, split="train")
    classes = {name: n for n, name in enumerate(sorted(set(rows["label"])))}

    def tokenized(batch: dict[str, list[str]]) -> dict[str, list]:
        made = tokenizer(batch["text"], truncation=True)
        return {**made, "label": [classes[name] for name in batch["label"]]}

    rows = rows.map(tokenized, batched=True, num_proc=n_processes if n_processes > 1 else None)
    seconds = time.perf_counter() - start
    lengths = pc.list_value_length(rows.with_format("arrow").data.column("input_ids"))
    print(json.dumps({"seconds": seconds, "n_tokens": pc.sum(lengths).as_py()}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
