"""What other trainers make of packed rows: a sequence that shares a row is computed as if it stood alone.

    python benchmarks/packed_rows.py [--rows 40] [--trainers trl llamafactory]

Conversations are prepared for SmolLM2 and exported with ``--packed``. Each trainer, in its own environment, reads them as it
is told to, and hands two rows to a random Llama of two layers; the logits of every sequence are compared with those of the
sequence alone. What happens where it is not told is shown beside. It ends with 1 where they differ by more than rounding, or
other labels reach the model.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from peer_environment import Bound, judged, llamafactory, told_by, trl
from real_rows import conversations, write

from formtune import pipeline
from formtune.model_files import resolve
from formtune.recipe import make_recipe

MODEL = "smollm2-135m"
PEERS = Path(__file__).parent / "peers"
READERS = {"trl": ("trl_packed.py", trl), "llamafactory": ("llamafactory_packed.py", llamafactory)}
MOST = 1e-3


def prepared(n_rows: int, folder: Path) -> Path:
    """Prepare conversations in rows of 1,001 tokens, which is no multiple of 8."""
    write(conversations(n_rows), folder / "rows.jsonl")
    settings = {"data": {"paths": [str(folder / "rows.jsonl")]}, "formats": "chat", "models": MODEL}
    pipeline.prepare(make_recipe({**settings, "preparation": {"pack_tokens": 1001}, "out": str(folder / "prepared")}))
    return folder / "prepared"


def main() -> int:
    """Export to every trainer and have it computed; 1 where a sequence is not what it is alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--trainers", nargs="+", choices=READERS, default=list(READERS))
    asked = parser.parse_args()
    bounds = []
    with tempfile.TemporaryDirectory() as name:
        folder = prepared(asked.rows, Path(name))
        for trainer in asked.trainers:
            script, environment = READERS[trainer]
            out = Path(name) / trainer
            pipeline.export(str(folder), to=trainer, packed=True, out=str(out))
            command = [environment(), PEERS / script, resolve(MODEL), out]
            found = told_by(command, variables={"HF_DATASETS_CACHE": f"{out}.cache"})
            print(
                f"{trainer}: logits differ by {found['untold']:.3g} where it is not told, up to {found['largest']:.3g}"
            )
            bounds += [
                Bound(f"{trainer}: logits of a packed sequence, beside its own", found["told"], most=MOST),
                Bound(f"{trainer}: labels that are others", found["unlike_labels"], most=0),
            ]
    return judged(bounds)


if __name__ == "__main__":
    sys.exit(main())
