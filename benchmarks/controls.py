"""Two controls with a real model: equal things must not be called different, and shuffled labels must give chance.

    python benchmarks/controls.py [--repetitions 40] [--shuffles 5]

A/A: one format under two names, each with three seeds of its own, on 300 film reviews, again and again with other
training records. Shuffled labels: every format of MiniLM and SmolLM2 that scores labels, trained on labels drawn at
random, several times, since one draw may be like the true labels by luck. MiniLM's body is frozen in the first and
SmolLM2's but for two blocks in the second, so that a run takes seconds.

It ends with 1 where more than one A/A repetition in ten (4 of 40) is called different, or where shuffled labels are
learned: where the interval of what an arm gains on chance is more than 5 points away from 0.
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace

import msgspec
import numpy as np
from scipy.stats import binomtest, t

from formtune import dialects
from formtune.arms import Readied, make_arms, ready
from formtune.bench import Bench
from formtune.comparison import Arm, compare_arms
from formtune.demonstration import REVIEWS, fetched
from formtune.evaluation import outcomes
from formtune.examples import Task
from formtune.formats import infer_task, named
from formtune.loading import Options
from formtune.metrics import METRICS
from formtune.outcomes import Outcome
from formtune.prediction import predict
from formtune.records import Labelled, Record
from formtune.splits import split
from formtune.updates import TrainSettings

ACCURACY = METRICS["accuracy"]
CHEAP = TrainSettings(steps=40, batch_size=8, learning_rate=1e-3, head_learning_rate=1e-2, validate_every=40)
SHUFFLED_FORMATS = ("seq2seq", "classification", "generative_qa", "masked_lm", "instruction", "chat", "completion")
WORDS = {"fresh": "good", "rotten": "bad"}
MOST_DIFFERENT = 0.1  # of the A/A repetitions: 5 % are aimed at, and chance makes some 40 of them uneven
MOST_GAIN = 5.0  # points that the interval of a gain may be away from 0

Gains = Mapping[str, tuple[float, float]]
"""Arm → ends of the interval of what it gains on chance, in points."""


def reviews() -> list[Record]:
    """Read the film reviews of the demo."""
    columns = dialects.Columns(text="text", label="label", group="film")
    return dialects.read([str(fetched(REVIEWS))], columns=columns).records


def answered(bench: Bench, readied: Readied, task: Task, *, seed: int) -> list[Outcome]:
    """Train with one seed and answer the test records."""
    bench.run(replace(CHEAP, seed=seed), metric=None)
    examples = list(readied.test.examples.values())
    return outcomes(predict(bench.model, examples), examples, task)


def same_under_two_names(records: list[Record], repetition: int) -> bool:
    """Tell whether one format under two names was called different."""
    parts = split(records, n_train=64, n_dev=8, n_test=300, seed=repetition)
    task = infer_task(parts.train, words=WORDS)
    options = Options(freeze="body")
    readied = ready(make_arms([named("classification")], ["minilm-l6"], task)[0][0], parts, task)
    bench = Bench(readied, task, options=options)
    arms = []
    for name, first in (("one", 0), ("the other", 100)):
        seeds = {s: ACCURACY.stats(answered(bench, readied, task, seed=first + s)) for s in range(3)}
        arms.append(Arm(name, seeds))
    groups = [r.group or r.id for r in parts.test]
    return compare_arms(arms, metric=ACCURACY, groups=groups, n_resamples=500).pairs[0].different


def on_shuffled_labels(records: list[Record], model: str, *, n_shuffles: int) -> Gains:
    """Train every format on labels drawn at random, again and again, and print how it does on true ones.

    A model that leans to one label is right as often as that label is: what is taken off is the agreement that its
    own counts of labels would give by chance.
    """
    parts = split(records, n_train=96, n_dev=8, n_test=300, seed=0)
    task = infer_task(parts.train, words=WORDS)
    options = Options(freeze="all-but-top-2", precision="bfloat16")
    arms, _ = make_arms([named(name) for name in SHUFFLED_FORMATS], [model], task)
    found: dict[str, tuple[float, float]] = {}
    for arm in arms:
        bench = Bench(ready(arm, parts, task), task, options=options)
        accuracies, gains = [], []
        for shuffle in range(n_shuffles):
            train = shuffled(parts.train, shuffle)
            bench.readied = ready(arm, replace(parts, train=train), task)
            told = answered(bench, bench.readied, task, seed=shuffle)
            answers, golds = np.array([o.label for o in told]), np.array([o.gold for o in told])
            accuracies.append(100 * np.mean(answers == golds))
            gains.append(accuracies[-1] - 100 * sum(np.mean(answers == k) * np.mean(golds == k) for k in (0, 1)))
        half = t.ppf(0.975, n_shuffles - 1) * np.std(gains, ddof=1) / np.sqrt(n_shuffles)
        name, low, high = f"{arm.name}@{model}", float(np.mean(gains) - half), float(np.mean(gains) + half)
        found[name] = (low, high)
        print(
            f"  {name}: accuracy {np.mean(accuracies):.1f}, above chance {np.mean(gains):+.1f} "
            f"({low:+.1f} to {high:+.1f})",
            flush=True,
        )
    return found


def shuffled(records: list[Record], seed: int) -> list[Record]:
    """Give records labels drawn at random."""
    labels = np.random.default_rng(seed).choice(["fresh", "rotten"], len(records)).tolist()
    pairs = zip(records, labels, strict=True)
    return [msgspec.structs.replace(r, labels=(label,)) if isinstance(r, Labelled) else r for r, label in pairs]


def faults(gains: Gains, *, n_different: int, n_repetitions: int) -> list[str]:
    """Say what is out of bounds."""
    found = [
        f"{name} gains {low:+.1f} to {high:+.1f} points on chance where there is nothing to learn"
        for name, (low, high) in gains.items()
        if low > MOST_GAIN or high < -MOST_GAIN
    ]
    if n_different > MOST_DIFFERENT * n_repetitions:
        found.append(f"one format under two names is called different in {n_different} of {n_repetitions}")
    return found


def main() -> int:
    """Run both controls; 1 where one is out of bounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=40)
    parser.add_argument("--shuffles", type=int, default=5)
    asked = parser.parse_args()
    repetitions, records = asked.repetitions, reviews()
    print(f"labels drawn at random {asked.shuffles} times, 300 test records with true ones:")
    gains: dict[str, tuple[float, float]] = {}
    for model in ("minilm-l6", "smollm2-135m"):
        gains |= on_shuffled_labels(records, model, n_shuffles=asked.shuffles)
    wrong = sum(same_under_two_names(records, r) for r in range(repetitions))
    low, high = binomtest(wrong, repetitions).proportion_ci()
    print(
        f"one format under two names: called different in {wrong} of {repetitions} ({100 * low:.0f} to {100 * high:.0f} %)"
    )
    found = faults(gains, n_different=wrong, n_repetitions=repetitions)
    for fault in found:
        print(f"out of bounds: {fault}", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
