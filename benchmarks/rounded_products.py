"""What rounding layers for themselves gains over autocast, where updates are short and never equally long.

    python benchmarks/rounded_products.py [--seeds 5]

Film reviews in batches of 8, about 200 tokens, in bfloat16: the top six blocks of SmolLM2-135M above a kept trunk, and all of
MiniLM. Both ways train in turn, from the same seeds; printed are the mean time of an update, the ratios, and the mean losses.
"""

import argparse
import os
import statistics
from tempfile import TemporaryDirectory

from formtune import dialects
from formtune.demonstration import REVIEWS, fetched
from formtune.examples import Output
from formtune.formats import cell, infer_task, named
from formtune.loading import Options, load_model
from formtune.records import Record
from formtune.tokens import tokenize
from formtune.training import train
from formtune.updates import TrainSettings

JOBS: tuple[tuple[str, Output, str, str], ...] = (
    ("smollm2-135m", "words", "seq2seq", "all-but-top-6"),
    ("minilm-l6", "head", "classification", "none"),
)


def update_ms(
    job: tuple[str, Output, str, str], records: list[Record], *, epochs: int, seed: int, ours: bool
) -> list[float]:
    """Train once, and give the mean time of an update in ms, and the mean loss."""
    name, output, format_, freeze = job
    task = infer_task(records)
    options = Options(freeze=freeze, precision="bfloat16" if ours else "float32", cache_trunk=freeze != "none")
    model = load_model(name, output=output, n_classes=len(task.labels) if output == "head" else 0, options=options)
    model.precision = "bfloat16"
    present = cell(named(format_), task, model.shape).present
    tokens = tokenize([present(one, task, model.shape) for one in records], model.tokenizer, shape=model.shape)
    settings = TrainSettings(steps=-(-len(tokens) // 8) * epochs, batch_size=8, learning_rate=1e-4, seed=seed)
    points = train(model, tokens, settings=settings).trace
    return [statistics.fmean(p.seconds for p in points) * 1e3, statistics.fmean(p.loss for p in points)]


def main() -> None:
    """Measure both jobs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    reviews = fetched(REVIEWS)
    records = dialects.read([str(reviews)]).records[:: max(1, 12_000 // asked.rows)][: asked.rows]
    with TemporaryDirectory() as kept:
        os.environ["FORMTUNE_CACHE"] = kept
        for job in JOBS:
            pairs = [
                [update_ms(job, records, epochs=asked.epochs, seed=seed, ours=ours) for ours in (True, False)]
                for seed in range(asked.seeds)
            ]
            (own, loss), (other, other_loss) = (
                [statistics.fmean(numbers) for numbers in zip(*way, strict=True)] for way in zip(*pairs, strict=True)
            )
            ratios = ", ".join(f"{b[0] / a[0]:.2f}" for a, b in pairs)
            print(
                f"{job[0]}: {own:.0f} ms an update, autocast {other:.0f} ms, {ratios} times; "
                f"losses {loss:.4f}, {other_loss:.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
