"""What other trainers make of exported sequences: the ids and labels that reach their models are those we prepared.

    python benchmarks/exported_rows.py [--rows 500] [--trainers trl llamafactory]

Conversations are prepared for SmolLM2, exported, and read in each trainer's own environment the way its users do. It ends
with 1 where a row differs.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from peer_environment import Bound, judged, llamafactory, told_by, trl
from real_rows import conversations, write

from formtune import dialects
from formtune.examples import Task
from formtune.exported_rows import IGNORED
from formtune.exporting import export_sequences
from formtune.formats import cell, named
from formtune.model_files import resolve
from formtune.tokens import Tokens, load_tokenizer, tokenize

MODEL = "smollm2-135m"
PEERS = Path(__file__).parent / "peers"
READERS = {"trl": ("trl_read.py", trl), "llamafactory": ("llamafactory_read.py", llamafactory)}


def prepared(n_rows: int, folder: Path) -> list[Tokens]:
    """Give conversations as tokens."""
    write(conversations(n_rows), folder / "rows.jsonl")
    records = dialects.read([str(folder / "rows.jsonl")]).records
    task, present = Task("conversation"), cell(named("chat"), Task("conversation"), "decoder").present
    examples = [present(record, task, "decoder") for record in records]
    return tokenize(examples, load_tokenizer(resolve(MODEL)), shape="decoder")


def expected(tokens: list[Tokens]) -> Iterator[list[list[int]]]:
    """Give ids and labels of each row as JSON does."""
    for one in tokens:
        yield [one.ids_T.tolist(), np.where(one.weights_T > 0, one.ids_T, IGNORED).tolist()]


def main() -> int:
    """Export to every trainer and have it read; 1 where a row differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--trainers", nargs="+", choices=READERS, default=list(READERS))
    asked = parser.parse_args()
    bounds = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokens = prepared(asked.rows, folder)
        rows = list(expected(tokens))
        for trainer in asked.trainers:
            script, environment = READERS[trainer]
            out = folder / trainer
            export_sequences(((t.ids_T, t.weights_T, t.parts_T) for t in tokens), to=trainer, out=out)
            command = [environment(), PEERS / script, resolve(MODEL), out]
            found = told_by(command, variables={"HF_DATASETS_CACHE": f"{out}.cache"})["rows"]
            n_unlike = sum(one != other for one, other in zip(rows, found, strict=False)) + abs(len(rows) - len(found))
            bounds.append(Bound(f"{trainer}: rows of {len(rows)} that differ", n_unlike, most=0))
    return judged(bounds)


if __name__ == "__main__":
    sys.exit(main())
