"""Packed rows as LLaMA-Factory hands them to a model, told and not told; prints one JSON object.

python llamafactory_packed.py MODEL FOLDER

Run with the Python of LLaMA-Factory's environment.
"""

import contextlib
import copy
import json
import sys
import tempfile

import datasets
import torch
from llamafactory_dataset import SETTINGS, without_audio
from packed_logits import compared, model_of

without_audio()

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer  # noqa: E402
from llamafactory.data.collator import SFTDataCollatorWith4DAttentionMask  # noqa: E402
from llamafactory.hparams import get_train_args  # noqa: E402
from llamafactory.model import load_tokenizer  # noqa: E402


def main(model_folder: str, folder: str) -> None:
    """Let it find the folder by `tokenized_path`, and the model what its collator makes of two rows."""
    datasets.disable_progress_bars()
    found = {}
    for told in (True, False):
        asked = {"tokenized_path": folder, "output_dir": tempfile.mkdtemp(), **({"neat_packing": True} if told else {})}
        with contextlib.redirect_stdout(sys.stderr):
            about, data, training, _, _ = get_train_args({**SETTINGS, **asked, "model_name_or_path": model_folder})
            loaded = load_tokenizer(about)
            template = get_template_and_fix_tokenizer(loaded["tokenizer"], data)
            parts = get_dataset(template, about, data, training, stage="sft", **loaded)
        model, rows = model_of(len(loaded["tokenizer"])), [parts["train_dataset"][n] for n in range(2)]
        collator = SFTDataCollatorWith4DAttentionMask(  # as its workflow for this stage makes it
            template=template,
            model=model,
            pad_to_multiple_of=8,
            block_diag_attn=about.block_diag_attn,
            neat_packing=data.neat_packing,
            attn_implementation="sdpa",
            compute_dtype=torch.float32,
            **loaded,
        )
        batch = collator(copy.deepcopy(rows))
        labels = batch.pop("labels")
        with torch.no_grad():
            logits = model(**batch).logits
        masks = torch.tensor([row["attention_mask"] for row in rows])
        difference, largest = compared(model, logits[masks > 0], [ids for row in rows for ids in parted(row)])
        found |= {"told" if told else "untold": difference, "largest": largest}
        found["unlike_labels"] = int((labels != torch.tensor([row["labels"] for row in rows])).sum())
    print(json.dumps(found))


def parted(row: dict[str, list[int]]) -> list[list[int]]:
    """Give the sequences of a row."""
    numbered = list(zip(row["input_ids"], row["attention_mask"], strict=True))
    return [[id_ for id_, of in numbered if of == k] for k in range(1, max(row["attention_mask"]) + 1)]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
