"""Chance: intervals, paired tests, equivalence, and how much more evidence would decide.

Two things vary when a comparison is repeated: the test records, and the seeds of training. Both must be in an interval
that is to hold for the next run. Records are many, so their part is bootstrapped. Seeds are few (three, five), and
resampling three values understates their variance: a percentile bootstrap over seeds and records calls equal things
different up to five times too often (``benchmarks/aa_control.py``). So the seeds' part has a t quantile of its own,
and the two half-widths are added in squares (Howe 1974). Two arms' seeds count as independent (Welch 1947): a seed
gives both the same order of records, but what one format makes of it says little of what another does, and with three
seeds the variance of paired differences has two degrees of freedom where Welch's has up to four.

Legend of shape letters: N records, U units that are resampled (records or groups of them), K statistics per unit (see
:mod:`formtune.metrics`), B resamples, S seeds, F formats (arms). Everything random takes a seed, and depends on nothing
else than it, the number of units and the number of resamples; so an interval of one pair does not change when a third
arm joins.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import numpy.typing as npt

from formtune.label_metrics import Booleans, Floats

Reduce = Callable[[Floats], Floats]
Counts = npt.NDArray[np.int16]

_CHUNK = 256
_MOST_FACTOR = 100
_POWER = 0.8


@dataclass(frozen=True, slots=True)
class Spread:
    """How much an estimate varies, by cause. The estimate is a mean over seeds of a value over records.

    Attributes:
        seeds: variance of the estimate from how values differ by seed. Holds the interaction: what seeds and records
            only do together (a seed is luckier on *these* records).
        records: variance between draws of the records that all seeds share, bootstrapped.
        interaction: how much of ``seeds`` is interaction, and so shrinks with more records as well.
        n_seeds: how many seeds there were. With one, ``seeds`` is 0 and the luck of training is not in any interval.
        n_units: how many records (or groups of records) there were.
        freedom: degrees of freedom of ``seeds``.
    """

    seeds: float
    records: float
    interaction: float
    n_seeds: int
    n_units: int
    freedom: float

    @property
    def standard_error(self) -> float:
        """The root of the sum of both variances."""
        return math.sqrt(self.seeds + self.records)


@dataclass(frozen=True, slots=True)
class Needed:
    """What would be enough to decide, each alone (None: not even 100 times as much), and both together."""

    units: int | None
    seeds: int | None
    both: tuple[int, int] | None


def group_sums(stats_NK: Floats, groups: Sequence[Hashable] | None) -> Floats:
    """Add up the statistics of records that belong together, so that groups are resampled whole: [U, K].

    A record whose group is None stands alone. Without groups every record is a unit of its own.
    """
    if groups is None:
        return stats_NK
    numbers: dict[Hashable, int] = {}
    units = [
        numbers.setdefault((index, None) if name is None else name, len(numbers)) for index, name in enumerate(groups)
    ]
    sums_UK = np.zeros((len(numbers), stats_NK.shape[1]))
    np.add.at(sums_UK, np.array(units), stats_NK)
    return sums_UK


def resample(n_units: int, n_resamples: int, *, seed: int) -> Counts:
    """Draw ``n_units`` units with replacement, again and again, and count how often each was drawn: [B, U]."""
    rng = np.random.default_rng(seed)
    counts_BU = np.empty((n_resamples, n_units), dtype=np.int16)
    for start in range(0, n_resamples, _CHUNK):
        n_rows = min(_CHUNK, n_resamples - start)
        drawn = rng.integers(0, n_units, (n_rows, n_units)) + n_units * np.arange(n_rows)[:, None]
        counts_BU[start : start + n_rows] = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
    return counts_BU


def weighted_values(stats_UK: Floats, reduce: Reduce, weights_BU: Counts) -> Floats:
    """Compute the metric under each row of weights: [B]. Costs one matrix product."""
    chunks = (weights_BU[start : start + _CHUNK] for start in range(0, len(weights_BU), _CHUNK))
    return np.concatenate([reduce(weights.astype(np.float64) @ stats_UK) for weights in chunks])


def spread(values_S: Floats, draws_BS: Floats, *, n_units: int, doubt: float = 0.0) -> Spread:
    """Part the variance of a mean over seeds into what seeds, records and both together contribute.

    For plain means this is the two-way analysis of variance with crossed random effects (Cornfield and Tukey 1956): what
    seeds share is the covariance between them, what they do not share is left to the differences between seeds. The
    bootstrap in its place serves any metric and groups of records.

    Args:
        values_S: the value (or difference) of each seed on all records.
        draws_BS: the same under each resample of the records.
        n_units: how many units were resampled.
        doubt: what to add to the variance between records (:func:`two_records_of_doubt`).
    """
    n_seeds = len(values_S)
    # The bootstrap divides by n where an unbiased variance divides by n - 1.
    correction = n_units / max(1, n_units - 1)
    covariance_SS = np.atleast_2d(np.cov(draws_BS, rowvar=False)) * correction
    own = float(covariance_SS.trace() / n_seeds)
    # With a single seed nothing tells what it shares with others.
    shared = (float(covariance_SS.sum()) - n_seeds * own) / (n_seeds * (n_seeds - 1)) if n_seeds > 1 else own
    return Spread(
        seeds=float(np.var(values_S, ddof=1)) / n_seeds if n_seeds > 1 else 0.0,
        records=max(0.0, shared) + doubt,
        interaction=max(0.0, own - shared) / n_seeds,
        n_seeds=n_seeds,
        n_units=n_units,
        freedom=max(1, n_seeds - 1),
    )


def between(spread: Spread, a_S: Floats, b_S: Floats) -> Spread:
    """Take the seeds of two arms as independent in the spread of their difference (Welch 1947; Satterthwaite 1946).

    Args:
        spread: of the paired differences; its records' part stays.
        a_S: the values of one arm by seed.
        b_S: of the other.
    """
    if spread.n_seeds < 2:
        return spread
    own = np.array([np.var(values_S, ddof=1) for values_S in (a_S, b_S)]) / spread.n_seeds
    total, squares = float(own.sum()), float((own**2).sum())
    freedom = (spread.n_seeds - 1) * (total**2 / squares if squares > 0 else 1.0)
    return replace(spread, seeds=total, freedom=freedom)


def two_records_of_doubt(n_records: int, *, step: float) -> float:
    """Give the variance of a mean that two made-up records add which disagree by ``step``, one either way.

    For metrics by which a record is right or wrong: without it, ten records on which two arms happen to agree would
    prove them equal, and six disagreements in a hundred would prove too much (Bonett and Price 2012).
    """
    return 2 * (step / (n_records + 2)) ** 2


def half_width(spread: Spread, confidence: float) -> float:
    """Give half the width of the two-sided interval: both parts' half-widths, added in squares (Howe 1974)."""
    return _half_width(spread, tail=(1 - confidence) / 2)


def interval(value: float, spread: Spread, confidence: float) -> tuple[float, float]:
    """Give the two-sided confidence interval around a value."""
    half = half_width(spread, confidence)
    return value - half, value + half


def p_value(value: float, spread: Spread) -> float:
    """Give the two-sided p of "the true value is 0": 1 minus the confidence at which the interval just touches 0.

    So p and interval never contradict each other. Smallest 1e-15.
    """
    if value == 0:
        return 1.0
    smallest, largest = math.log(1e-15), 0.0
    for _ in range(60):
        middle = (smallest + largest) / 2
        if _half_width(spread, tail=math.exp(middle) / 2) > abs(value):
            smallest = middle
        else:
            largest = middle
    return math.exp(largest)


def is_equivalent(value: float, spread: Spread, *, margin: float, alpha: float = 0.05) -> bool:
    """Tell whether the true value is shown to lie within ± margin: two one-sided tests (Schuirmann 1987).

    That is the same as the (1 - 2 alpha) interval lying inside the margin.
    """
    low, high = interval(value, spread, 1 - 2 * alpha)
    return -margin < low and high < margin


def minimum_detectable(spread: Spread, *, confidence: float = 0.95, power: float = _POWER) -> float:
    """Give the true difference that would be found different with this power (Card et al. 2020).

    An approximation: half the width of the interval plus the normal quantile of the power times the standard error.
    """
    return half_width(spread, confidence) + _normal_quantile(power) * spread.standard_error


def needed(value: float, spread: Spread, *, margin: float, confidence: float = 0.95) -> Needed:
    """Estimate how many units or seeds would decide, were the true difference what it seems to be.

    To decide is to find a difference, or equivalence within the margin, whichever is easier, with a power of 0.8.
    Variances are taken to shrink as 1/seeds and 1/records, and to be as estimated, which few seeds know badly: an
    order of magnitude, not a promise. With one seed the luck of training is unknown, and more seeds are not weighed.
    """
    factors = np.unique(np.geomspace(1, _MOST_FACTOR, 400))
    units = np.ceil(spread.n_units * factors)
    seeds = np.arange(spread.n_seeds, _MOST_FACTOR + 1, dtype=np.float64)
    both_seeds = np.ceil(spread.n_seeds * factors)

    def first(n_seeds: Floats, n_units: Floats) -> int | None:
        enough = _decides(value, spread, n_seeds=n_seeds, n_units=n_units, margin=margin, confidence=confidence)
        return int(enough.argmax()) if enough.any() else None

    by_units = first(np.full_like(units, spread.n_seeds), units)
    by_seeds = first(seeds, np.full_like(seeds, spread.n_units)) if spread.n_seeds > 1 else None
    by_both = first(both_seeds, units) if spread.n_seeds > 1 else None
    return Needed(
        units=None if by_units is None else int(units[by_units]),
        seeds=None if by_seeds is None else int(seeds[by_seeds]),
        both=None if by_both is None else (int(units[by_both]), int(both_seeds[by_both])),
    )


def mcnemar(right_a_N: Booleans, right_b_N: Booleans) -> float:
    """Test whether two models are right equally often, on the records where just one of them is (McNemar 1947).

    The exact binomial form, two-sided. It speaks of these two models, not of another seed's.
    """
    from scipy.stats import binomtest

    n_only_a = int(np.sum(right_a_N & ~right_b_N))
    n_only_b = int(np.sum(right_b_N & ~right_a_N))
    if n_only_a + n_only_b == 0:
        return 1.0
    return float(binomtest(n_only_a, n_only_a + n_only_b).pvalue)


def random_swaps(n_units: int, n_resamples: int, *, seed: int) -> Counts:
    """Draw for each unit, again and again, whether the two arms change places (-1) or not (1): [B, U]."""
    return 1 - 2 * np.random.default_rng(seed).integers(0, 2, (n_resamples, n_units), dtype=np.int16)


def swap_test(a_SUK: Sequence[Floats], b_SUK: Sequence[Floats], reduce: Reduce, *, swaps_BU: Counts) -> float:
    """Test whether two arms differ on more than which records they were lucky on; two-sided p.

    The answers of both arms to a record change places, for all seeds at once, and the difference is computed anew
    (approximate randomisation, Noreen 1989). For means it is the sign-flip test, and works for any metric. It speaks of
    these trained models; only the interval also speaks of other seeds.
    """
    observed = np.zeros(1)
    swapped_B = np.zeros(len(swaps_BU))
    unchanged = np.ones((1, swaps_BU.shape[1]), dtype=np.int16)
    for a_UK, b_UK in zip(a_SUK, b_SUK, strict=True):
        observed = observed + _swapped_difference(a_UK, b_UK, reduce, swaps_BU=unchanged)
        swapped_B = swapped_B + _swapped_difference(a_UK, b_UK, reduce, swaps_BU=swaps_BU)
    # What equals the observed difference up to rounding counts as being as large.
    as_large = np.abs(swapped_B) >= abs(observed[0]) * (1 - 1e-9) - 1e-12
    return float((1 + as_large.sum()) / (1 + len(swaps_BU)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for how many there are (Holm 1979), so that the risk of any false finding keeps its level.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def hierarchical(draws_BS: Floats, *, seed: int) -> Floats:
    """Resample the seeds on top of the records and average: the percentile bootstrap's distribution [B].

    Every array of the same shape gets the same seeds drawn, so that arms stay paired. Good for asking what a *rule*
    would do on other data (:func:`optimism`); too narrow for intervals when seeds are few.
    """
    n_resamples, n_seeds = draws_BS.shape
    drawn_BS = np.random.default_rng(seed).integers(0, n_seeds, (n_resamples, n_seeds))
    return cast("Floats", np.take_along_axis(draws_BS, drawn_BS, axis=1).mean(axis=1))


def percentile_interval(draws_B: Floats, confidence: float) -> tuple[float, float]:
    """Give the interval that leaves out equally many draws below and above (Efron 1979)."""
    low, high = np.quantile(draws_B, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def optimism(values_F: Floats, draws_BF: Floats) -> float:
    """Estimate by how much the largest of several values is too large because it was picked as the largest.

    In each resample the best arm is picked as it was on all records, and its resampled value compared with its value
    on all records (the bootstrap's stand-in for the truth). The winner's curse (Varma and Simon 2006), never below 0.
    """
    picked_B = draws_BF.argmax(axis=1)
    return max(0.0, float(np.mean(draws_BF[np.arange(len(picked_B)), picked_B] - values_F[picked_B])))


def _half_width(spread: Spread, *, tail: float) -> float:
    from scipy.special import stdtrit

    by_seeds = stdtrit(spread.freedom, tail) ** 2 * spread.seeds if spread.n_seeds > 1 else 0.0
    return float(np.sqrt(by_seeds + stdtrit(max(1, spread.n_units - 1), tail) ** 2 * spread.records))


def _decides(
    value: float, spread: Spread, *, n_seeds: Floats, n_units: Floats, margin: float, confidence: float
) -> Booleans:
    """Tell for each pair of numbers whether a difference, or equivalence, would be found with power 0.8."""
    from scipy.special import stdtrit

    fewer_seeds, fewer_units = spread.n_seeds / n_seeds, spread.n_units / n_units
    interaction = min(spread.interaction, spread.seeds)
    seeds = (spread.seeds - interaction + interaction * fewer_units) * fewer_seeds
    records = spread.records * fewer_units
    slack = _normal_quantile(_POWER) * np.sqrt(seeds + records)
    freedom = np.maximum(1, spread.freedom * (n_seeds - 1) / max(1, spread.n_seeds - 1))

    def half(tail: float) -> Floats:
        seeds_t = np.where(n_seeds > 1, stdtrit(freedom, tail), 0.0)
        return cast("Floats", np.sqrt(seeds_t**2 * seeds + stdtrit(np.maximum(1, n_units - 1), tail) ** 2 * records))

    alpha = 1 - confidence
    is_different = half(alpha / 2) + slack <= abs(value)
    is_equal = half(alpha) + slack <= margin - abs(value)
    return is_different | is_equal


def _swapped_difference(a_UK: Floats, b_UK: Floats, reduce: Reduce, *, swaps_BU: Counts) -> Floats:
    total_K, gap_UK = (a_UK + b_UK).sum(axis=0), a_UK - b_UK
    chunks = (swaps_BU[start : start + _CHUNK] for start in range(0, len(swaps_BU), _CHUNK))
    gaps_BK = np.concatenate([chunk.astype(np.float64) @ gap_UK for chunk in chunks])
    return reduce((total_K + gaps_BK) / 2) - reduce((total_K - gaps_BK) / 2)


def _normal_quantile(share: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(share))
