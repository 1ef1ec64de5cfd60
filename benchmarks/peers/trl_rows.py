"""Conversations as TRL's trainer hands them to a model by default; prints one JSON object: of each row, ids and labels.

python trl_rows.py MODEL ROWS.jsonl

Run with the Python of TRL's environment.
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
    trainer = SFTTrainer(model=model, args=settings, train_dataset=rows, processing_class=tokenizer)
    batches = [trainer.data_collator([row]) for row in trainer.train_dataset]
    print(json.dumps({"rows": [[one["input_ids"][0].tolist(), one["labels"][0].tolist()] for one in batches]}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
