"""transformers' Trainer on a model whose bottom is frozen; prints one JSON object.

python trainer_frozen.py JOB.json

The job (see ``benchmarks/frozen_trunk.py``) names what is frozen, and holds the batches of all epochs in their order, as
ids: Trainer pads each batch to its longest row. Dropout is off in what is frozen, as it is with us.
"""

import json
import pathlib
import resource
import sys
import tempfile
import time
from typing import Any

import torch
import transformers
from torch import nn
from torch.utils.data import Dataset
from transformers import AutoModel, AutoModelForCausalLM, Trainer, TrainingArguments


class Rows(Dataset):
    """The rows of a job."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.rows[index]


class Classifier(nn.Module):
    """An encoder, the mean of its states, and a linear head."""

    def __init__(self, base: nn.Module, head: dict[str, Any]) -> None:
        super().__init__()
        self.base = base
        self.dropout = nn.Dropout(head["dropout"])
        weight = torch.tensor(head["weight"])
        self.linear = nn.Linear(weight.shape[1], weight.shape[0])
        self.linear.weight.data.copy_(weight)
        self.linear.bias.data.zero_()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
        states_BLD = self.base(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask_BL1 = attention_mask[:, :, None]
        pooled_BD = (states_BLD * mask_BL1).sum(1) / mask_BL1.sum(1)
        scores_BK = self.linear(self.dropout(pooled_BD))
        return {"loss": nn.functional.cross_entropy(scores_BK, labels), "logits": scores_BK}


def padded(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Pad a batch on the right, to its longest row."""
    length = max(len(row["ids"]) for row in rows)
    ids_BL = torch.zeros(len(rows), length, dtype=torch.long)
    mask_BL = torch.zeros_like(ids_BL)
    labels_BL = torch.full_like(ids_BL, -100)
    for place, row in enumerate(rows):
        ids_BL[place, : len(row["ids"])] = torch.tensor(row["ids"])
        mask_BL[place, : len(row["ids"])] = 1
        if isinstance(row["labels"], list):
            labels_BL[place, : len(row["ids"])] = torch.tensor(row["labels"])
    if not isinstance(rows[0]["labels"], list):
        labels_BL = torch.tensor([row["labels"] for row in rows])
    return {"input_ids": ids_BL, "attention_mask": mask_BL, "labels": labels_BL}


def model_of(job: dict[str, Any]) -> nn.Module:
    """Load the model and freeze what the job names."""
    loader = AutoModel if job["head"] else AutoModelForCausalLM
    base = loader.from_pretrained(job["model"], dtype=torch.float32)
    for name, parameter in base.named_parameters():
        parameter.requires_grad_(name not in set(job["frozen"]))
    for module in base.modules() if job["head"] else ():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return Classifier(base, job["head"]) if job["head"] else base


def main(path: str) -> None:
    """Train as the job says and print what it took."""
    transformers.utils.logging.set_verbosity_error()
    torch.manual_seed(0)
    job = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    settings = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=job["batch_size"],
        num_train_epochs=1,
        train_sampling_strategy="sequential",
        learning_rate=job["learning_rate"],
        weight_decay=0.0,
        remove_unused_columns=False,
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
        bf16=job["precision"] == "bfloat16",
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
    )
    trainer = Trainer(model=model_of(job), args=settings, train_dataset=Rows(job["rows"]), data_collator=padded)
    trainer.remove_callback(transformers.PrinterCallback)
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb, "losses": losses, "disk_mb": 0.0}))


if __name__ == "__main__":
    main(sys.argv[1])
