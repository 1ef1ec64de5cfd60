"""transformers' Trainer on classification for one epoch; prints one JSON object.

python trainer_classify.py MODEL ROWS.json {sequential|group_by_length} DROPOUT

The rows are token ids with labels; the head is a linear layer over the mean of the states, with the weights of the file.
"""

import contextlib
import io
import json
import pathlib
import resource
import sys
import tempfile
import time

import torch
import transformers
from torch import nn
from transformers import AutoModel, AutoTokenizer, DataCollatorWithPadding, Trainer, TrainingArguments


class Classifier(nn.Module):
    """An encoder with its states averaged over the tokens that stand there, and a linear layer."""

    def __init__(self, folder: str, head: dict, dropout: float) -> None:
        super().__init__()
        rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
        self.body = AutoModel.from_pretrained(folder, dtype=torch.float32, add_pooling_layer=False, **rates)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(self.body.config.hidden_size, len(head["bias"]))
        self.linear.load_state_dict({name: torch.tensor(values) for name, values in head.items()})

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor) -> dict:
        states = self.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        counted = attention_mask[:, :, None].to(states.dtype)
        logits = self.linear(self.dropout((states * counted).sum(1) / counted.sum(1)))
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def main(folder: str, rows_path: str, *, order: str, dropout: float) -> None:
    """Train for one epoch and print what it took."""
    transformers.utils.logging.set_verbosity_error()
    torch.manual_seed(0)
    asked = json.loads(pathlib.Path(rows_path).read_text(encoding="utf-8"))
    model = Classifier(folder, asked["head"], dropout)
    settings = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=asked["batch_size"],
        num_train_epochs=1,
        learning_rate=asked["learning_rate"],
        weight_decay=asked["weight_decay"],
        train_sampling_strategy=order,
        use_cpu=not torch.cuda.is_available(),
        report_to=[],
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
    )
    computed = [0]
    pad = DataCollatorWithPadding(AutoTokenizer.from_pretrained(folder))

    def counted(features: list) -> dict:
        batch = pad(features)
        computed[0] += batch["input_ids"].numel()
        return batch

    trainer = Trainer(model=model, args=settings, train_dataset=asked["rows"], data_collator=counted)
    with contextlib.redirect_stdout(io.StringIO()):
        start = time.perf_counter()
        done = trainer.train()
        seconds = time.perf_counter() - start
    print(
        json.dumps(
            {
                "seconds": seconds,
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "computed_tokens": computed[0],
                "loss": done.training_loss,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], order=sys.argv[3], dropout=float(sys.argv[4]))
