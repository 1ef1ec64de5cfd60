"""TRL's trainer for one epoch; prints one JSON object. Run with the Python of TRL's environment.

python trl_train.py MODEL ROWS.jsonl {default|padded|packed} {float32|bfloat16}

Rows hold ``messages``, of which the assistant's are learned, or ``input_ids`` and ``labels``. "default" is what TRL does
by itself: rows shuffled, activations computed again in the backward pass. The others keep the order and the activations.
"""

import contextlib
import io
import json
import pathlib
import resource
import sys
import tempfile
import time

import datasets
import torch
import transformers
from datasets import Dataset
from marked_template import marked
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer


def main(model_folder: str, rows_path: str, *, layout: str, precision: str, batch_size: int = 8) -> None:
    """Train for one epoch and print what it took."""
    datasets.disable_progress_bars()
    transformers.utils.logging.set_verbosity_error()
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    tokenizer.chat_template = marked(tokenizer.chat_template)
    with pathlib.Path(rows_path).open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    settings = SFTConfig(
        output_dir=tempfile.mkdtemp(),
        max_length=1024,
        packing=layout == "packed",
        assistant_only_loss="messages" in rows[0],
        per_device_train_batch_size=1 if layout == "packed" else batch_size,
        num_train_epochs=1,
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
        bf16=precision == "bfloat16",
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        learning_rate=1e-5,
        **({} if layout == "default" else {"train_sampling_strategy": "sequential", "gradient_checkpointing": False}),
    )
    trainer = SFTTrainer(model=model, args=settings, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    computed = [0]
    collate = trainer.data_collator

    def counted(features: list) -> dict:
        batch = collate(features)
        computed[0] += batch["input_ids"].numel()
        return batch

    trainer.data_collator = counted
    with contextlib.redirect_stdout(io.StringIO()):
        start = time.perf_counter()
        done = trainer.train()
        seconds = time.perf_counter() - start
    learned = sum(sum(label != -100 for label in row["labels"]) for row in trainer.train_dataset)
    print(
        json.dumps(
            {
                "seconds": seconds,
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "real_tokens": sum(len(row["input_ids"]) for row in trainer.train_dataset),
                "computed_tokens": computed[0],
                "learned_tokens": learned,
                "loss": done.training_loss,
                "updates": done.global_step,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], layout=sys.argv[3], precision=sys.argv[4])
