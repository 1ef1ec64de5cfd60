"""Reading comprehension: one epoch with each paragraph computed once for its questions, against every question apart.

    python benchmarks/sharing.py [--records 120] [--precision float32]

The same records in the same updates (questions of a paragraph together), first with what they share computed once, then
each on its own. Printed are seconds, computed tokens and the losses, which are the same but for rounding.
"""

import argparse
from dataclasses import replace

from data_folder import data_folder

from formtune import dialects
from formtune.formats import cell, infer_task, named
from formtune.loading import Options, load_model
from formtune.tokens import tokenize
from formtune.training import train
from formtune.updates import TrainSettings


def main() -> None:
    """Train both ways, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=120)
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    asked = parser.parse_args()
    records = dialects.read([str(data_folder() / "qa/xquad/en.train.json")]).records[: asked.records]
    task = infer_task(records)
    present = cell(named("generative_qa"), task, "decoder").present
    examples = [present(record, task, "decoder") for record in records]
    settings = TrainSettings(steps=-(-len(records) // 15), batch_size=15, learning_rate=1e-5, order="families")
    seconds = {}
    for shares in (True, False):
        model = load_model("smollm2-135m", output="text", options=Options(precision=asked.precision))
        tokens = tokenize(examples, model.tokenizer, shape="decoder")
        trained = train(model, tokens, settings=replace(settings, share_prefixes=shares))
        seconds[shares] = trained.seconds
        losses = ", ".join(f"{point.loss:.4f}" for point in trained.trace)
        way = "shared" if shares else "apart "
        print(f"{way} {trained.seconds:6.1f} s  {trained.n_tokens:>6} tokens computed  losses {losses}", flush=True)
    print(f"{seconds[False] / seconds[True]:.1f} times sooner")


if __name__ == "__main__":
    main()
