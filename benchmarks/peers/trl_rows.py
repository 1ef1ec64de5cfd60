"""Rows of one layout as TRL's trainer hands them to a model by default; prints one JSON object: ids and labels of each, or null.

python trl_rows.py MODEL ROWS.jsonl

Run with the Python of TRL's environment. A row of which nothing is learned is left out; the others keep their numbers.
"""

import json
import sys
import tempfile

import datasets
import transformers
from datasets import load_dataset
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from trl import SFTConfig, SFTTrainer


def main(model_folder: str, rows_path: str) -> None:
    """Let the trainer prepare the rows, and its collator take each of them."""
    datasets.disable_progress_bars()
    transformers.utils.logging.set_verbosity_error()
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(**shape, num_key_value_heads=1, vocab_size=len(tokenizer)))
    settings = SFTConfig(output_dir=tempfile.mkdtemp(), report_to=[], use_cpu=True, bf16=False)
    rows = load_dataset("json", data_files=rows_path, split="train")
    rows = rows.add_column("number", list(range(len(rows))))
    trainer = SFTTrainer(model=model, args=settings, train_dataset=rows, processing_class=tokenizer)
    batches = {row["number"]: trainer.data_collator([row]) for row in trainer.train_dataset}
    kept = {number: [one[key][0].tolist() for key in ("input_ids", "labels")] for number, one in batches.items()}
    print(json.dumps({"rows": [kept.get(number) for number in range(len(rows))]}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
