"""The comparison: several arms over the same records and seeds, and what may be said of them.

Every pair of arms gets the difference with its interval, a p value, a correction for how many pairs there are, and an
equivalence test (:mod:`formtune.statistics`); from these comes the verdict (:mod:`formtune.verdicts`).

Differences are *advantages*: positive means that the first arm is better, also where lower values are better. All
numbers are in the metric's unit. Nothing about a pair depends on which other arms take part, but for the correction
``p_holm`` and what follows from it.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import msgspec
import numpy as np

from formtune import statistics
from formtune.errors import SettingError
from formtune.label_metrics import Floats
from formtune.metrics import Metric, majority_baseline
from formtune.statistics import Counts, Needed, Spread
from formtune.verdicts import ArmResult, Cost, PairResult, Terms, advice, decide, rounded_up

__all__ = ["Arm", "ArmResult", "Comparison", "Cost", "PairResult", "as_builtins", "compare_arms"]


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """One arm's results, before they are compared.

    Attributes:
        name: unique in the comparison.
        stats_by_seed: seed → what :attr:`formtune.metrics.Metric.stats` gave [N, K], records in the same order in
            every arm and seed.
        invalid: share of invalid answers over all seeds, from 0 to 1; None where an answer cannot be invalid.
        written: the metric of freely written answers, the mean over seeds, where label words were scored as well.
        cost: what it takes.
    """

    name: str
    stats_by_seed: Mapping[int, Floats]
    invalid: float | None = None
    written: float | None = None
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found; :func:`as_builtins` gives the keys of ``formtune compare --json``.

    Attributes:
        verdict: one sentence with the numbers.
        winner: the arm that is better than every other, if there is one.
        recommended: the winner, or the cheapest of equivalent arms, or None.
        leading: the arms that may be the best one, best mean first.
        equivalent: the leading arms (two or more) are equivalent within the margin.
        metric: its name.
        formats: the arms by name, in the order given.
        pairs: all pairs of arms, in the order given.
        minimum_detectable: the true difference that would have been found with a power of 0.8.
        advice: what a user should know beside the verdict.
        winners_curse: by how much the best mean is probably too good, for having been picked.
        baseline: the value of always answering the commonest label, where that makes sense.
        margin: the difference below which arms count as equally good.
        confidence: of the intervals.
        n_records: test records.
        n_seeds: seeds.
    """

    verdict: str
    winner: str | None
    recommended: str | None
    leading: tuple[str, ...]
    equivalent: bool
    metric: str
    formats: Mapping[str, ArmResult]
    pairs: tuple[PairResult, ...]
    minimum_detectable: float
    advice: tuple[str, ...]
    winners_curse: float
    baseline: float | None
    margin: float
    confidence: float
    n_records: int
    n_seeds: int


@dataclass(frozen=True, slots=True, eq=False)
class _Resampled:
    """One arm with its values by seed, on all records [S] and under each resample [B, S]; larger is better."""

    arm: Arm
    units_SUK: list[Floats]
    values_S: Floats
    draws_BS: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Gap:
    """Two arms and the advantage of the first, with how much it varies."""

    a: _Resampled
    b: _Resampled
    difference: float
    spread: Spread
    p: float


def compare_arms(  # noqa: PLR0913 (each is a setting of its own)
    arms: Sequence[Arm],
    *,
    metric: Metric,
    margin: float | None = None,
    confidence: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
    labels: Sequence[int] | None = None,
) -> Comparison:
    """Compare arms that answered the same records under the same seeds.

    Args:
        arms: two or more.
        metric: what their statistics are of.
        margin: difference below which arms count as equally good; the metric's own by default.
        confidence: of the intervals; 1 - confidence is the risk of finding any difference where there is none.
        n_resamples: of the bootstrap and of the swap test.
        seed: of the resampling.
        groups: what must be resampled together, by record (None: alone).
        labels: the right classes; then arms that do not beat a constant answer are marked.

    Raises:
        SettingError: fewer than two arms, the same name twice, or all records in one group.
        ValueError: arms differ in their seeds or numbers of records, or a number is not finite.
    """
    _check(arms)
    first_SNK = list(arms[0].stats_by_seed.values())
    n_units = len(statistics.group_sums(first_SNK[0], groups))
    _check_groups(n_units)
    terms = Terms(
        metric=metric,
        margin=metric.margin if margin is None else margin,
        confidence=confidence,
        baseline=majority_baseline(metric, labels) if labels is not None else None,
        n_records=len(first_SNK[0]),
        n_seeds=len(first_SNK),
        n_units=n_units,
    )
    weights_BU = statistics.resample(n_units, n_resamples, seed=seed)
    resampled = [_resampled(arm, metric, groups=groups, weights_BU=weights_BU) for arm in arms]
    results = {one.arm.name: _arm_result(one, terms) for one in resampled}
    gaps = _gaps(resampled, terms)
    corrected = statistics.holm([gap.p for gap in gaps])
    swaps_BU = statistics.random_swaps(n_units, n_resamples, seed=seed)
    pairs = [
        _pair_result(gap, terms, p_holm=p_holm, n_pairs=len(gaps), swaps_BU=swaps_BU)
        for gap, p_holm in zip(gaps, corrected, strict=True)
    ]
    return _concluded(results, pairs, terms=terms, curse=_winners_curse(resampled, seed=seed))


def _concluded(
    results: Mapping[str, ArmResult], pairs: Sequence[PairResult], *, terms: Terms, curse: float
) -> Comparison:
    verdict = decide(results, pairs, terms=terms)
    return Comparison(
        verdict=verdict.sentence,
        winner=verdict.winner,
        recommended=verdict.recommended,
        leading=verdict.leading,
        equivalent=verdict.equivalent,
        metric=terms.metric.name,
        formats=dict(results),
        pairs=tuple(pairs),
        minimum_detectable=verdict.minimum_detectable,
        advice=advice(verdict, results, pairs, terms=terms, optimism=curse),
        winners_curse=curse,
        baseline=terms.baseline,
        margin=terms.margin,
        confidence=terms.confidence,
        n_records=terms.n_records,
        n_seeds=terms.n_seeds,
    )


def as_builtins(comparison: Comparison) -> dict[str, object]:
    """Give the comparison as dicts, lists, texts and numbers, ready for JSON."""
    plain: dict[str, object] = msgspec.to_builtins(comparison, str_keys=True)
    return plain


def _check_groups(n_units: int) -> None:
    if n_units < 2:
        raise SettingError(
            "All test records belong together, so nothing tells how others would do.",
            "Give test records of several groups.",
            at="--group",
        )


def _check(arms: Sequence[Arm]) -> None:
    names = [arm.name for arm in arms]
    if len(arms) < 2:
        raise SettingError(
            f"There is nothing to compare with: {len(arms)} arm.", "Give at least two formats or models.", at="formats"
        )
    if len(set(names)) < len(names):
        raise SettingError(f"An arm stands twice: {', '.join(names)}.", "Give each a name of its own.", at="formats")
    if len({frozenset(arm.stats_by_seed) for arm in arms}) > 1 or not arms[0].stats_by_seed:
        raise ValueError("All arms must have the same seeds, at least one.")
    if len({len(stats) for arm in arms for stats in arm.stats_by_seed.values()}) > 1:
        raise ValueError("All arms must have answered the same records.")
    if not all(np.isfinite(stats).all() for arm in arms for stats in arm.stats_by_seed.values()):
        raise ValueError("Statistics must be finite.")


def _resampled(arm: Arm, metric: Metric, *, groups: Sequence[Hashable] | None, weights_BU: Counts) -> _Resampled:
    sign = 1.0 if metric.higher_is_better else -1.0
    units_SUK = [statistics.group_sums(arm.stats_by_seed[seed], groups) for seed in sorted(arm.stats_by_seed)]
    return _Resampled(
        arm=arm,
        units_SUK=units_SUK,
        values_S=sign * np.array([float(metric.reduce(units.sum(axis=0))) for units in units_SUK]),
        draws_BS=sign * np.stack([statistics.weighted_values(u, metric.reduce, weights_BU) for u in units_SUK], axis=1),
    )


def _spread(values_S: Floats, draws_BS: Floats, *, n_units: int, terms: Terms) -> Spread:
    metric = terms.metric
    step = metric.high - metric.low if metric.all_or_nothing else 0.0
    doubt = statistics.two_records_of_doubt(terms.n_records, step=step)
    return statistics.spread(values_S, draws_BS, n_units=n_units, doubt=doubt)


def _arm_result(one: _Resampled, terms: Terms) -> ArmResult:
    metric = terms.metric
    sign = 1.0 if metric.higher_is_better else -1.0
    mean = sign * float(one.values_S.mean())
    spread = _spread(one.values_S, one.draws_BS, n_units=len(one.units_SUK[0]), terms=terms)
    low, high = statistics.interval(mean, spread, terms.confidence)
    low, high = max(metric.low, low), min(metric.high, high)
    worst = low if metric.higher_is_better else high
    return ArmResult(
        mean=mean,
        low=low,
        high=high,
        by_seed={key: float(sign * v) for key, v in zip(sorted(one.arm.stats_by_seed), one.values_S, strict=True)},
        invalid=one.arm.invalid,
        cost=one.arm.cost,
        at_chance=terms.baseline is not None and sign * worst <= sign * terms.baseline,
        written=one.arm.written,
    )


def _gaps(resampled: Sequence[_Resampled], terms: Terms) -> list[_Gap]:
    gaps = []
    for a, b in combinations(resampled, 2):
        values_S = a.values_S - b.values_S
        paired = _spread(values_S, a.draws_BS - b.draws_BS, n_units=len(a.units_SUK[0]), terms=terms)
        spread = statistics.between(paired, a.values_S, b.values_S)
        difference = float(values_S.mean())
        gaps.append(_Gap(a=a, b=b, difference=difference, spread=spread, p=statistics.p_value(difference, spread)))
    return gaps


def _pair_result(gap: _Gap, terms: Terms, *, p_holm: float, n_pairs: int, swaps_BU: Counts) -> PairResult:
    alpha = 1 - terms.confidence
    low, high = statistics.interval(gap.difference, gap.spread, terms.confidence)
    equivalent = statistics.is_equivalent(gap.difference, gap.spread, margin=terms.margin, alpha=alpha)
    needed = None
    if p_holm >= alpha and not equivalent:
        confidence = 1 - alpha / n_pairs
        needed = statistics.needed(gap.difference, gap.spread, margin=terms.margin, confidence=confidence)
    p_records, test = _record_test(gap, terms, swaps_BU=swaps_BU)
    return PairResult(
        a=gap.a.arm.name,
        b=gap.b.arm.name,
        difference=gap.difference,
        low=low,
        high=high,
        p=gap.p,
        p_holm=p_holm,
        p_records=p_records,
        test=test,
        different=p_holm < alpha,
        equivalent=equivalent,
        minimum_detectable=statistics.minimum_detectable(gap.spread, confidence=terms.confidence),
        more_records=_more_records(needed.units if needed else None, gap.spread, terms),
        more_seeds=needed.seeds - terms.n_seeds if needed and needed.seeds else None,
        more_of_both=_more_of_both(needed, gap.spread, terms),
    )


def _record_test(gap: _Gap, terms: Terms, *, swaps_BU: Counts) -> tuple[float, str]:
    a_UK, b_UK = gap.a.units_SUK[0], gap.b.units_SUK[0]
    is_right_or_wrong = terms.metric.all_or_nothing and a_UK.shape[1] == 2 and np.isin([a_UK, b_UK], [0, 1]).all()
    if terms.n_seeds == 1 and len(a_UK) == terms.n_records and is_right_or_wrong:
        return statistics.mcnemar(a_UK[:, 0] == 1, b_UK[:, 0] == 1), "mcnemar"
    return statistics.swap_test(gap.a.units_SUK, gap.b.units_SUK, terms.metric.reduce, swaps_BU=swaps_BU), "swap"


def _more_records(n_units: int | None, spread: Spread, terms: Terms) -> int | None:
    """Turn units that would be enough into records that are lacking, where units are groups of like size."""
    if n_units is None:
        return None
    return rounded_up((n_units - spread.n_units) * terms.n_records / spread.n_units)


def _more_of_both(needed: Needed | None, spread: Spread, terms: Terms) -> tuple[int, int] | None:
    if needed is None or needed.both is None:
        return None
    n_units, n_seeds = needed.both
    return _more_records(n_units, spread, terms) or 0, n_seeds - terms.n_seeds


def _winners_curse(resampled: Sequence[_Resampled], *, seed: int) -> float:
    values_F = np.array([one.values_S.mean() for one in resampled])
    draws_BF = np.stack([statistics.hierarchical(one.draws_BS, seed=seed) for one in resampled], axis=1)
    return statistics.optimism(values_F, draws_BF)
