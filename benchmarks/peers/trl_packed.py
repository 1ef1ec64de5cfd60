"""Packed rows as TRL's trainer hands them to a model, told and not told; prints one JSON object.

python trl_packed.py MODEL FOLDER

Run with the Python of TRL's environment.
"""

import json
import sys
import tempfile

import datasets
import torch
import transformers
from datasets import load_dataset
from packed_logits import compared, model_of
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer


def main(model_folder: str, folder: str) -> None:
    """Let the trainer take the rows, and the model what its collator makes of two of them."""
    datasets.disable_progress_bars()
    transformers.utils.logging.set_verbosity_error()
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model, found = model_of(len(tokenizer)), {}
    exported = load_dataset("parquet", data_files=f"{folder}/train.parquet", split="train")
    for told in (True, False):
        settings = SFTConfig(
            output_dir=tempfile.mkdtemp(), max_length=None, report_to=[], use_cpu=True, bf16=False, padding_free=told
        )
        trainer = SFTTrainer(model=model, args=settings, train_dataset=exported, processing_class=tokenizer)
        rows = [trainer.train_dataset[n] for n in range(2)]
        batch = trainer.data_collator(rows)
        labels = batch.pop("labels")
        with torch.no_grad():
            logits = model(**batch).logits
        if told:
            packed, wanted = logits[0], [label for row in rows for label in row["labels"]]
            found["unlike_labels"] = sum(a != b for a, b in zip(labels[0].tolist(), wanted, strict=True))
        else:
            packed = torch.cat([logits[n, : len(row["input_ids"])] for n, row in enumerate(rows)])
        difference, largest = compared(model, packed, [ids for row in rows for ids in parted(row)])
        found |= {"told" if told else "untold": difference, "largest": largest}
    print(json.dumps(found))


def parted(row: dict[str, list[int]]) -> list[list[int]]:
    """Give the sequences of a row."""
    ends = torch.tensor(row["seq_lengths"]).cumsum(0).tolist()
    return [row["input_ids"][end - n : end] for n, end in zip(row["seq_lengths"], ends, strict=True)]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
