"""How often are equal things called different? The A/A control, beside the method most papers use.

Two arms that are one format under two names answer the same records with seeds of their own. Whoever calls them
different is wrong. Printed per setting, in one run: the share of false findings with its exact 95 % interval, for
formtune and for the hierarchical percentile bootstrap (seeds and records both resampled), and how often formtune finds
a real difference.

    python benchmarks/aa_control.py [--repetitions 200] [--resamples 500]

A record is answered rightly where ability + record + seed + record-in-seed (all normal) is above 0. ``seed sd`` is how
much seeds differ on an endless test set, in points of accuracy.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from formtune import statistics
from formtune.comparison import Arm, compare_arms
from formtune.label_metrics import Floats
from formtune.metrics import METRICS

ABILITY = 1.0


@dataclass(frozen=True, slots=True)
class World:
    """How much things vary, on the scale of ability."""

    name: str
    record: float = 1.0
    record_in_arm: float = 0.0
    seed: float = 0.0
    record_in_seed: float = 0.5

    def answers(self, rng: np.random.Generator, *, n_records: int, n_seeds: int, shift: float) -> list[Floats]:
        """Draw two arms' right answers [S, N]; the second has ``shift`` less ability."""
        record_N = rng.normal(0, self.record, n_records)
        arms = []
        for ability in (ABILITY, ABILITY - shift):
            latent_SN = (
                ability
                + record_N
                + rng.normal(0, self.record_in_arm, n_records)
                + rng.normal(0, self.seed, (n_seeds, 1))
                + rng.normal(0, self.record_in_seed, (n_seeds, n_records))
            )
            arms.append((latent_SN > 0).astype(np.float64))
        return arms

    def seed_sd(self) -> float:
        """How much accuracy varies with the seed on an endless test set, in points."""
        latent = self.answers(np.random.default_rng(0), n_records=2000, n_seeds=200, shift=0.0)[0]
        return 100 * float(latent.mean(axis=1).std())


WORLDS = (
    World("seeds do not matter", record_in_seed=1.0),
    World("seeds matter a little", seed=0.1),
    World("seeds matter a lot", seed=0.3, record_in_seed=0.3),
    World("formats suit other records", record_in_arm=0.6, seed=0.1),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--resamples", type=int, default=500)
    parser.add_argument("--records", type=int, nargs="+", default=[100, 300, 500])
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--shift", type=float, default=0.35, help="real difference of ability, for the power")
    options = parser.parse_args()
    print(f"{options.repetitions} repetitions; false findings in % (95 % interval), aim: at most 5")
    print(f"{'':28} {'seed sd':>7} {'records':>7} {'seeds':>5} {'formtune':>18} {'percentile':>18} {'power at':>14}")
    totals = np.zeros(3)
    for world in WORLDS:
        for n_records in options.records:
            for n_seeds in options.seeds:
                totals += row(world, n_records, n_seeds, options=options)
    formtune, percentile, n = totals.astype(int)
    print(f"{'all together':60} {share(formtune, n):>18} {share(percentile, n):>18}")
    print(f"ratio of false findings, percentile bootstrap to formtune: {percentile / max(1, formtune):.1f}")


def row(world: World, n_records: int, n_seeds: int, *, options: argparse.Namespace) -> Floats:
    """Measure and print one setting; give false findings of both methods and the number of repetitions."""
    rng = np.random.default_rng([n_records, n_seeds, len(world.name)])
    false_ours, false_percentile, found, gaps = 0, 0, 0, []
    for _ in range(options.repetitions):
        same = world.answers(rng, n_records=n_records, n_seeds=n_seeds, shift=0.0)
        false_ours += is_different(same, options.resamples)
        false_percentile += is_different_by_percentiles(same, options.resamples)
        other = world.answers(rng, n_records=n_records, n_seeds=n_seeds, shift=options.shift)
        found += is_different(other, options.resamples)
        gaps.append(100 * (other[0].mean() - other[1].mean()))
    power = f"{100 * found / options.repetitions:.0f} % at {np.mean(gaps):.1f}"
    print(
        f"{world.name:28} {world.seed_sd():7.1f} {n_records:7} {n_seeds:5} {share(false_ours, options.repetitions):>18} "
        f"{share(false_percentile, options.repetitions):>18} {power:>14}",
        flush=True,
    )
    return np.array([false_ours, false_percentile, options.repetitions], dtype=np.float64)


def is_different(arms_SN: Sequence[Floats], n_resamples: int) -> bool:
    """Ask formtune."""
    arms = [
        Arm(name, {seed: stats(right_N) for seed, right_N in enumerate(right_SN)})
        for name, right_SN in zip("ab", arms_SN, strict=True)
    ]
    comparison = compare_arms(arms, metric=METRICS["accuracy"], n_resamples=n_resamples)
    return comparison.pairs[0].different


def is_different_by_percentiles(arms_SN: Sequence[Floats], n_resamples: int) -> bool:
    """Resample seeds and records, and see whether the middle 95 % of differences leave out 0."""
    weights_BN = statistics.resample(arms_SN[0].shape[1], n_resamples, seed=0)
    draws_BS = (weights_BN @ (arms_SN[0] - arms_SN[1]).T) / arms_SN[0].shape[1]
    low, high = statistics.percentile_interval(statistics.hierarchical(draws_BS, seed=0), 0.95)
    return low > 0 or high < 0


def stats(right_N: Floats) -> Floats:
    return np.stack([right_N, np.ones_like(right_N)], axis=1)


def share(count: int, n: int) -> str:
    low, high = binomtest(int(count), int(n)).proportion_ci()
    return f"{100 * count / n:.1f} ({100 * low:.1f}-{100 * high:.1f})"


if __name__ == "__main__":
    main()
