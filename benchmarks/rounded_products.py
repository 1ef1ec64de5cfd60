"""What rounding layers for themselves gains over autocast, where updates are short and never equally long.

    python benchmarks/rounded_products.py [--seeds 5]

Film reviews in batches of 8, about 200 tokens, in bfloat16: the top six blocks of SmolLM2-135M above a kept trunk, and all
of MiniLM. Both ways train in turn, from the same seeds; printed are the mean time of an update, the ratios, and the mean
losses. Before that, two reasons: what a product of a new number of rows takes, and then again; and what the length of a
gradient takes, from each gradient's norm and from its product with itself.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F

from formtune import dialects
from formtune.demonstration import REVIEWS, fetched
from formtune.examples import Output
from formtune.formats import cell, infer_task, named
from formtune.loading import Options, load_model
from formtune.model_files import resolve
from formtune.records import Record
from formtune.tokens import tokenize
from formtune.training import train
from formtune.updates import TrainSettings

JOBS: tuple[tuple[str, Output, str, str], ...] = (
    ("smollm2-135m", "words", "seq2seq", "all-but-top-6"),
    ("minilm-l6", "head", "classification", "none"),
)


BATCH, EPOCHS, N_RECORDS = 8, 3, 128


def update_ms(
    job: tuple[str, Output, str, str], folder: str, records: list[Record], *, seed: int, ours: bool
) -> list[float]:
    """Train once, and give the mean time of an update in ms, and the mean loss."""
    _, output, format_, freeze = job
    task = infer_task(records)
    options = Options(freeze=freeze, precision="bfloat16" if ours else "float32")
    model = load_model(folder, output=output, n_classes=len(task.labels) if output == "head" else 0, options=options)
    model.precision = "bfloat16"
    present = cell(named(format_), task, model.shape).present
    tokens = tokenize([present(one, task, model.shape) for one in records], model.tokenizer, shape=model.shape)
    steps = -(-len(tokens) // BATCH) * EPOCHS
    settings = TrainSettings(steps=steps, batch_size=BATCH, learning_rate=1e-4, seed=seed)
    points = train(model, tokens, settings=settings).trace
    return [statistics.fmean(p.seconds for p in points) * 1e3, statistics.fmean(p.loss for p in points)]


def ms(work: Callable[[], object]) -> float:
    """Time some work."""
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1e3


def print_reasons() -> None:
    """Measure a product that is new to its kernels, and two ways to a gradient's length, in shapes of SmolLM2-135M."""
    weight = torch.randn(1536, 576).bfloat16()
    states = [torch.randn(n_rows, 576).bfloat16() for n_rows in range(201, 221)]
    first, again = ([ms(lambda: F.linear(one, weight)) for one in states] for _ in range(2))  # noqa: B023 (called at once)
    gradients = [torch.randn(shape) for shape in ((576, 576), (1536, 576), (1536, 576), (576, 1536)) * 6]
    norms, products = [], []
    for _ in range(20):
        norms.append(ms(lambda: [torch.linalg.vector_norm(one) for one in gradients]))
        products.append(ms(lambda: [torch.dot(one.view(-1), one.view(-1)) for one in gradients]))
    median = statistics.median
    print(f"a product of a new number of rows: {median(first):.2f} ms, again {median(again):.2f} ms")
    print(f"a gradient's length: {median(norms):.1f} ms by norms, {median(products):.1f} ms by products", flush=True)


def main() -> None:
    """Measure both jobs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    print_reasons()
    found = dialects.read([str(fetched(REVIEWS))]).records
    records = found[:: len(found) // N_RECORDS][:N_RECORDS]
    folders = [str(resolve(name)) for name, *_ in JOBS]  # before the cache is another
    with TemporaryDirectory() as kept:
        os.environ["FORMTUNE_CACHE"] = kept
        for job, folder in zip(JOBS, folders, strict=True):
            pairs = [
                [update_ms(job, folder, records, seed=seed, ours=ours) for ours in (True, False)]
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
