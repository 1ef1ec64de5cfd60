"""A comparison with arms one after the other, with all threads, and with as many at a time as are taken to be soonest.

    python benchmarks/arms_at_once.py [--train 256] [--epochs 2]

Three formats of film reviews with SmolLM2-135M, its top six blocks trained: small updates, as in the demo. Each way is a
process of its own with an empty cache of states. It ends with 1 where arms at the same time are not sooner, or the three
accuracies differ by more than five points, which rounding does not explain.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from peer_environment import Bound, judged, told_by

from formtune.demonstration import REVIEWS, fetched, film_recipe
from formtune.model_files import cache_folder
from formtune.pipeline import compare
from formtune.recipe import make_recipe

N_TEST = 100


def compared(count: int | None, folder: Path, *, n_train: int, epochs: float) -> dict[str, object]:
    """Do the comparison, so many arms at a time."""
    made = film_recipe(fetched(REVIEWS), folder / "out").to_dict()
    made |= {"formats": "seq2seq,classification,masked_lm", "models": "smollm2-135m"}
    made["data"] |= {"n_train": n_train, "n_dev": 32, "n_test": N_TEST}
    made["training"] |= {"epochs": epochs}
    made["comparison"] |= {"seeds": 2, "arms_at_once": count}
    models = cache_folder() / "models"
    (folder / "cache").mkdir()
    (folder / "cache" / "models").symlink_to(models, target_is_directory=True)
    os.environ["FORMTUNE_CACHE"] = str(folder / "cache")
    start = time.perf_counter()
    found = compare(make_recipe(made)).values
    means = {name: arm["mean"] for name, arm in found["formats"].items()}
    return {"seconds": time.perf_counter() - start, "means": means}


def main() -> int:
    """Compare both ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=256)
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--own", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.own:
        with TemporaryDirectory() as folder:
            count = None if asked.own == "auto" else int(asked.own)
            print(json.dumps(compared(count, Path(folder), n_train=asked.train, epochs=asked.epochs)))
        return 0
    ways = {}
    for way in ("1", "auto"):
        same = ["--train", asked.train, "--epochs", asked.epochs]
        ways[way] = told_by([sys.executable, __file__, "--own", way, *same])
        print(f"arms at a time: {way:4}  {ways[way]['seconds']:6.1f} s  {ways[way]['means']}", flush=True)
    one, other = ways["1"], ways["auto"]
    gap = max(abs(one["means"][name] - other["means"][name]) for name in one["means"])
    return judged(
        [
            Bound("times sooner than one after the other", one["seconds"] / other["seconds"], least=1.0),
            Bound("difference of an accuracy, points", gap, most=5.0),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
