"""Rows as ms-swift prepares them by default; prints one JSON object: of each row, ids and labels, or null.

python swift_rows.py MODEL ROWS.jsonl

Run with the Python of ms-swift's environment. It lays turns out by templates of its own, and has none for SmolLM2, so that one
is named: ``chatml``, with the system text that SmolLM2's template writes where a row has none. The rest is its own.
"""

import sys
from pathlib import Path

from row_files import Row, tell
from swift.arguments import SftArguments
from swift.pipelines.train.sft import SwiftSft

LAYOUT = {
    "model_type": "llama",
    "template": "chatml",
    "system": "You are a helpful AI assistant named SmolLM, trained by Hugging Face",
}


class Prepared(SwiftSft):
    """What its training does before there is a model."""

    def __init__(self, args: SftArguments) -> None:
        super(SwiftSft, self).__init__(args)
        self._prepare_model_tokenizer(load_model=False)
        self._prepare_template()


def prepared(model_folder: str, file: Path) -> Row:
    """Give ids and labels of the one row of a data set, as its collator gives them; None where it is left out."""
    job = Prepared(SftArguments(model=model_folder, dataset=[str(file)], output_dir=f"{file}.run", **LAYOUT))
    kept, _ = job._encode_dataset(*job._get_dataset())
    if kept is None:
        return None
    batch = job.template.data_collator([job.template.encode(kept[0])])
    return [batch["input_ids"][0].tolist(), batch["labels"][0].tolist()]


if __name__ == "__main__":
    tell(sys.argv[2], lambda file: prepared(sys.argv[1], file))
