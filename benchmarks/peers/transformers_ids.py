"""What transformers makes of every row: the reference that prepared ids are held against.

python transformers_ids.py MODEL ROWS.jsonl OUT.npz

Rows hold ``messages``, whose assistant turns are learned, or ``text``. OUT gets ``ids`` and ``learned``, row after row, and
``ends``, where each row ends. Prints the number of rows as JSON.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from marked_template import marked
from transformers import AutoTokenizer, PreTrainedTokenizerBase


def made(tokenizer: PreTrainedTokenizerBase, lines: Iterable[str]) -> Iterator[tuple[list[int], list[int]]]:
    """Give ids, and for each whether it is learned."""
    for line in lines:
        row = json.loads(line)
        if "messages" in row:
            one = tokenizer.apply_chat_template(row["messages"], return_dict=True, return_assistant_tokens_mask=True)
            yield one["input_ids"], one["assistant_masks"]
        else:
            ids = tokenizer(row["text"], truncation=True)["input_ids"]
            yield ids, [0] * len(ids)


def main(model: str, rows_path: str, out: str) -> None:
    """Write the reference."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    if tokenizer.chat_template:
        tokenizer.chat_template = marked(tokenizer.chat_template)
    with Path(rows_path).open(encoding="utf-8") as file:
        rows = list(made(tokenizer, file))
    np.savez(
        out,
        ids=np.concatenate([np.array(ids, dtype=np.int32) for ids, _ in rows]),
        learned=np.concatenate([np.array(learned, dtype=bool) for _, learned in rows]),
        ends=np.cumsum([len(ids) for ids, _ in rows]),
    )
    print(json.dumps({"n_rows": len(rows)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
