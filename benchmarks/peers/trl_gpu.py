"""TRL's trainer on a GPU in bfloat16, conversations in the order given; prints one JSON object.

python trl_gpu.py MODEL ROWS.jsonl BATCH {padded|packed} [flex_attention] [liger]
"""

import contextlib
import io
import json
import pathlib
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

LENGTH = 2048  # of a packed row; as many rows at a time make about as many tokens as a padded batch


class Clock(transformers.TrainerCallback):
    """Starts when half of the updates are done, so that compiling and warming up do not count."""

    def __init__(self) -> None:
        self.begun = 0.0
        self.first = 0

    def on_step_end(self, _args, state, _control, **_others) -> None:
        """Note when warming up ends."""
        if not self.first and state.global_step >= max(1, state.max_steps // 2):
            torch.cuda.synchronize()
            self.begun, self.first = time.perf_counter(), state.global_step


def main(model_folder: str, rows_path: str, *, batch: int, options: list[str]) -> None:
    """Train for two epochs, the second of which is measured, and print what it took."""
    datasets.disable_progress_bars()
    transformers.utils.logging.set_verbosity_error()
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    tokenizer.chat_template = marked(tokenizer.chat_template)
    with pathlib.Path(rows_path).open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    way = "flex_attention" if "flex_attention" in options else "sdpa"
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32, attn_implementation=way)
    packed = "packed" in options
    settings = SFTConfig(
        output_dir=tempfile.mkdtemp(),
        max_length=LENGTH if packed else 1024,
        packing=packed,
        assistant_only_loss=True,
        per_device_train_batch_size=batch // 8 if packed else batch,
        num_train_epochs=2,
        train_sampling_strategy="sequential",
        report_to=[],
        bf16=True,
        use_liger_kernel="liger" in options,
        gradient_checkpointing=False,
        save_strategy="no",
        logging_steps=1000,
        disable_tqdm=True,
        learning_rate=1e-5,
    )
    clock = Clock()
    trainer = SFTTrainer(
        model=model,
        args=settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[clock],
    )
    computed = [0]
    collate = trainer.data_collator

    def counted(features: list) -> dict:
        found = collate(features)
        computed[0] += found["input_ids"].numel()
        return found

    trainer.data_collator = counted
    with contextlib.redirect_stdout(io.StringIO()):
        done = trainer.train()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - clock.begun
    share = 2 * (1 - clock.first / done.global_step)  # of one epoch
    print(
        json.dumps(
            {
                "seconds": seconds / share,
                "real_tokens": sum(len(row["input_ids"]) for row in trainer.train_dataset),
                "computed_tokens": computed[0] / 2,
                "learned_tokens": sum(sum(label != -100 for label in row["labels"]) for row in trainer.train_dataset),
                "loss": done.training_loss,
                "peak_gb": torch.cuda.max_memory_allocated() / 2**30,
                "weights": sum(p.numel() for p in model.parameters()),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], batch=int(sys.argv[3]), options=sys.argv[4:])
