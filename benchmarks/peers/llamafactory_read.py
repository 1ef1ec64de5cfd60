"""Exported rows as LLaMA-Factory takes them up for training; prints one JSON object: of each row, ids and labels.

python llamafactory_read.py MODEL FOLDER

Run with the Python of LLaMA-Factory's environment.
"""

import json
import sys
import tempfile

from llamafactory_dataset import made


def main(model_folder: str, folder: str) -> None:
    """Let it find the folder by `tokenized_path`."""
    taken, _ = made(model_folder, tokenized_path=folder, output_dir=tempfile.mkdtemp())
    print(json.dumps({"rows": [[row["input_ids"], row["labels"]] for row in taken]}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
