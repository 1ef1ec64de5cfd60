"""How long a model would wait for its data: laying out updates, against training on them.

    python benchmarks/layout_share.py [--rows 32]

SmolLM2-135M on conversations and MiniLM on SMS spam, processor time of one process. What is laid out is what training lays
out: examples in the order of the seed, dealt, cut into micro-batches, and put in rows that share their beginnings.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from data_folder import data_folder

from formtune import dialects
from formtune.batches import collate
from formtune.examples import Output
from formtune.formats import cell, infer_task, named
from formtune.loading import load_model
from formtune.models import Model
from formtune.tokens import Tokens, tokenize
from formtune.training import train
from formtune.updates import TrainSettings, dealt, factors_of, micro_batches, updates
from formtune.weaving import woven

JOBS: tuple[tuple[str, Output, str, str], ...] = (
    ("smollm2-135m", "text", "chat", "instruct/llamafactory_demo/alpaca_en_demo.json"),
    ("minilm-l6", "head", "classification", "cls_en/sms_spam/train.tsv"),
)


def laid_out(model: Model, tokens: list[Tokens], settings: TrainSettings) -> None:
    """Lay out every update of a training."""
    for update in updates(tokens, settings, model.tokenizer):
        factors = factors_of(update, settings)
        (hand,) = dealt(update, 1, shares=model.weaves)
        for group in micro_batches(update, hand, settings, shares=model.weaves, pads=model.pads):
            examples = [update[i] for i in group]
            if model.weaves:
                woven(examples, np.asarray(factors[group]))
            else:
                collate(examples, causal=model.causal)


def processor_s(work: Callable[[], object]) -> float:
    """Time some work by what the processor did for this process."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def main() -> None:
    """Measure both jobs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=32)
    asked = parser.parse_args()
    for name, output, format_, source in JOBS:
        records = dialects.read([str(data_folder() / source)]).records[: asked.rows]
        task = infer_task(records)
        model = load_model(name, output=output, n_classes=len(task.labels) if output == "head" else 0)
        present = cell(named(format_), task, model.shape).present
        tokens = tokenize([present(one, task, model.shape) for one in records], model.tokenizer, shape=model.shape)
        settings = TrainSettings(steps=-(-len(tokens) // 8), batch_size=8, learning_rate=1e-5)
        layout_s = processor_s(lambda: laid_out(model, tokens, settings))  # noqa: B023 (called at once)
        whole_s = processor_s(lambda: train(model, tokens, settings=settings))  # noqa: B023
        print(f"{name}: {layout_s * 1e3:.1f} ms of {whole_s:.1f} s: {layout_s / whole_s:.2%}", flush=True)


if __name__ == "__main__":
    main()
