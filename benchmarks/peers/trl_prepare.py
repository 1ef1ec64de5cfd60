"""TRL's own preparation of conversations, as SFTTrainer does it before it trains; prints one JSON object.

python trl_prepare.py MODEL ROWS.jsonl N_PROCESSES OUT

Run with the Python of TRL's environment. Reading the file and writing Arrow files, which `datasets` does for every step, are
counted; imports, the tokenizer and the model (one of the smallest possible) are not.
"""

import json
import sys
import time

import datasets
import pyarrow.compute as pc
import transformers
from datasets import load_dataset
from marked_template import marked
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from trl import SFTConfig, SFTTrainer

CAPACITY = 2048


class Timed(SFTTrainer):
    """The trainer, with its preparation timed."""

    seconds = 0.0

    def _prepare_dataset(self, *args: object, **options: object) -> object:
        start = time.perf_counter()
        prepared = super()._prepare_dataset(*args, **options)
        Timed.seconds += time.perf_counter() - start
        return prepared


def main(model_folder: str, rows_path: str, *, n_processes: int, out: str) -> None:
    """Prepare and tell what it took."""
    datasets.disable_progress_bars()
    transformers.utils.logging.set_verbosity_error()
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    tokenizer.chat_template = marked(tokenizer.chat_template)
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(**shape, num_key_value_heads=1, vocab_size=len(tokenizer)))
    settings = SFTConfig(
        output_dir=out,
        max_length=CAPACITY,
        packing=True,
        assistant_only_loss=True,
        dataset_num_proc=n_processes if n_processes > 1 else None,
        report_to=[],
        use_cpu=True,
        bf16=False,
    )
    start = time.perf_counter()
    rows = load_dataset("json", data_files=rows_path, split="train")
    read_s = time.perf_counter() - start
    trainer = Timed(model=model, args=settings, train_dataset=rows, processing_class=tokenizer)
    packed = trainer.train_dataset.with_format("arrow").data
    labels = pc.list_flatten(packed.column("labels"))
    told = {
        "seconds": read_s + Timed.seconds,
        "n_packs": len(packed),
        "n_tokens": len(labels),
        "n_learned": pc.sum(pc.not_equal(labels, -100)).as_py(),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], n_processes=int(sys.argv[3]), out=sys.argv[4])
