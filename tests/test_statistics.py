"""Intervals, tests and needed sizes against theory, scipy and hand-worked values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formtune import statistics
from formtune.label_metrics import mean_points, mean_stats
from formtune.statistics import Spread

scipy_stats = pytest.importorskip("scipy.stats")


def only_seeds(values):
    """Give the spread of a value that differs by seed and not by record."""
    return statistics.spread(np.array(values), np.zeros((10, len(values))), n_units=100)


def only_records(variance, n_units=400):
    return Spread(seeds=0.0, records=variance, interaction=0.0, n_seeds=1, n_units=n_units, freedom=1)


def test_the_seeds_of_two_arms_are_independent_with_welchs_degrees_of_freedom():
    """Equal variances give twice the freedom, one arm that does not vary gives that of the other."""
    paired = only_seeds([1.0, 0.0, -1.0])
    equal = statistics.between(paired, np.array([1.0, 2.0, 3.0]), np.array([5.0, 4.0, 6.0]))
    lone = statistics.between(paired, np.array([1.0, 2.0, 3.0]), np.array([4.0, 4.0, 4.0]))
    assert (equal.seeds, equal.freedom) == pytest.approx((2 / 3, 4.0))
    assert (lone.seeds, lone.freedom) == pytest.approx((1 / 3, 2.0))
    assert statistics.between(only_records(1.0), np.array([1.0]), np.array([2.0])) == only_records(1.0)


# Resampling


def test_records_of_a_group_are_added_up_and_those_without_stand_alone():
    rows = np.array([[1.0, 1.0], [2.0, 1.0], [4.0, 1.0], [8.0, 1.0]])
    assert statistics.group_sums(rows, ["x", None, "x", None]).tolist() == [[5.0, 2.0], [2.0, 1.0], [8.0, 1.0]]
    assert statistics.group_sums(rows, None) is rows


def test_each_resample_draws_as_many_units_as_there_are():
    weights = statistics.resample(7, 1000, seed=1)
    assert weights.shape == (1000, 7)
    assert set(weights.sum(axis=1)) == {7}
    assert weights.mean(axis=0) == pytest.approx(np.ones(7), abs=0.15)


def test_the_same_seed_draws_the_same_resamples():
    assert (statistics.resample(9, 300, seed=3) == statistics.resample(9, 300, seed=3)).all()
    assert (statistics.resample(9, 300, seed=3) != statistics.resample(9, 300, seed=4)).any()


def test_a_weighted_value_is_the_metric_of_the_drawn_records():
    rows = mean_stats([1.0, 0.0, 0.0, 1.0])
    weights = np.array([[4, 0, 0, 0], [1, 1, 1, 1], [0, 3, 0, 1]], dtype=np.int16)
    assert statistics.weighted_values(rows, mean_points, weights).tolist() == [100.0, 50.0, 25.0]


def test_the_bootstrapped_variance_of_a_mean_is_that_of_theory():
    values = np.random.default_rng(0).normal(size=200)
    draws = statistics.weighted_values(mean_stats(values), mean_points, statistics.resample(200, 10_000, seed=0))
    spread = statistics.spread(np.array([values.mean()]), draws[:, None], n_units=200)
    assert spread.records == pytest.approx(100**2 * values.var(ddof=1) / 200, rel=0.05)
    assert spread.seeds == spread.interaction == 0.0


def test_groups_that_answer_alike_vary_more_than_records_do():
    """100 records in 20 groups of five equal ones are worth 20 records: the variance is five times as large."""
    rows = mean_stats(np.repeat(np.arange(20) % 2, 5))
    variances = []
    for groups in (None, np.repeat(np.arange(20), 5).tolist()):
        units = statistics.group_sums(rows, groups)
        draws = statistics.weighted_values(units, mean_points, statistics.resample(len(units), 5000, seed=0))
        variances.append(draws.var())
    assert variances[1] / variances[0] == pytest.approx(5.0, rel=0.1)


# Parts of the variance


def test_variance_is_parted_as_in_the_two_way_analysis_of_variance():
    rng = np.random.default_rng(5)
    table = rng.normal(0, 2, (4, 1)) + rng.normal(0, 3, 150) + rng.normal(0, 1, (4, 150))
    weights = statistics.resample(150, 10_000, seed=0)
    draws = np.stack([statistics.weighted_values(mean_stats(row), mean_points, weights) for row in table], axis=1) / 100
    spread = statistics.spread(table.mean(axis=1), draws, n_units=150)

    residual = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    ms_residual = (residual**2).sum() / (3 * 149)
    ms_records = 4 * table.mean(axis=0).var(ddof=1)
    assert spread.seeds == pytest.approx(table.mean(axis=1).var(ddof=1) / 4)
    assert spread.records == pytest.approx((ms_records - ms_residual) / 4 / 150, rel=0.05)
    assert spread.interaction == pytest.approx(ms_residual / 150 / 4, rel=0.05)


def test_two_records_of_doubt_have_the_variance_of_one_disagreement_either_way():
    """Of 100 records with these two, each moves the mean by a point."""
    assert statistics.two_records_of_doubt(98, step=100.0) == pytest.approx(2.0)
    spread = statistics.spread(np.zeros(3), np.zeros((50, 3)), n_units=98, doubt=2.0)
    assert (spread.seeds, spread.records) == (0.0, 2.0)


def test_with_doubt_six_disagreements_in_a_hundred_are_as_telling_as_mcnemar_says():
    """Exact p: 0.031; without doubt it would be 0.012."""
    gaps = np.repeat([1.0, 0.0], [6, 94])
    draws = statistics.weighted_values(mean_stats(gaps), mean_points, statistics.resample(100, 10_000, seed=0))
    doubt = statistics.two_records_of_doubt(100, step=100.0)
    spread = statistics.spread(np.array([6.0]), draws[:, None], n_units=100, doubt=doubt)
    assert statistics.p_value(6.0, spread) == pytest.approx(2 / 64, abs=0.003)


# Intervals and p values


def test_an_interval_over_seeds_alone_is_students():
    low, high = statistics.interval(2.0, only_seeds([1.0, 2.0, 3.0]), 0.95)
    assert (low, high) == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)))


@given(
    st.lists(st.floats(-10, 10).map(lambda x: round(x, 3)), min_size=3, max_size=6).filter(lambda x: np.ptp(x) > 0.1)
)
def test_p_over_seeds_alone_is_that_of_the_t_test(values):
    expected = scipy_stats.ttest_1samp(values, 0).pvalue  # typos: ignore
    assert statistics.p_value(float(np.mean(values)), only_seeds(values)) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_half_widths_of_seeds_and_records_add_in_squares():
    spread = Spread(seeds=4.0, records=9.0, interaction=0.0, n_seeds=5, n_units=101, freedom=4)
    t = scipy_stats.t
    expected = math.hypot(t.ppf(0.975, 4) * 2, t.ppf(0.975, 100) * 3)
    assert statistics.half_width(spread, 0.95) == pytest.approx(expected)


@given(value=st.floats(0.01, 20), seeds=st.floats(0, 9), records=st.floats(0.01, 9))
def test_the_interval_at_one_minus_p_just_touches_zero(value, seeds, records):
    spread = Spread(seeds=seeds, records=records, interaction=0.0, n_seeds=4, n_units=200, freedom=3)
    p = statistics.p_value(value, spread)
    assert statistics.p_value(-value, spread) == p
    if p > 1e-9:
        assert statistics.interval(value, spread, 1 - p)[0] == pytest.approx(0.0, abs=1e-4 * value)


def test_no_difference_has_a_p_of_one_even_without_any_spread():
    assert statistics.p_value(0.0, only_records(0.0)) == 1.0


# Equivalence


def test_equivalence_asks_for_the_90_percent_interval_within_the_margin():
    """Half the width is 1.6488 for 399 degrees of freedom and a standard error of 1."""
    assert statistics.is_equivalent(0.3, only_records(1.0), margin=1.95)
    assert not statistics.is_equivalent(0.3, only_records(1.0), margin=1.94)
    assert not statistics.is_equivalent(-0.31, only_records(1.0), margin=1.95)


def test_ten_records_on_which_two_arms_agree_do_not_prove_them_equal():
    few, many = (only_records(statistics.two_records_of_doubt(n, step=100.0), n_units=n) for n in (10, 400))
    assert not statistics.is_equivalent(0.0, few, margin=1.0)
    assert statistics.is_equivalent(0.0, many, margin=1.0)


# Power


def test_the_minimum_detectable_difference_is_that_of_the_published_formula():
    """500 records, 10 % disagreement: 4.0 points (Card et al. 2020, as in a McNemar test)."""
    spread = only_records(100**2 * 0.10 / 500, n_units=500)
    assert statistics.minimum_detectable(spread) == pytest.approx(4.0, abs=0.05)


def test_needed_records_follow_the_power_formula():
    """Half the needed effect at a standard error of 1 wants (2.8 / 1.4)² = 4 times the records."""
    needed = statistics.needed(1.4, only_records(1.0, n_units=1000), margin=0.1)
    assert needed.units == pytest.approx(4000, rel=0.03)
    assert needed.seeds is None


def test_a_difference_within_the_margin_is_decided_by_equivalence():
    """(1.645 + 0.842) / 0.9 squared is 7.6 times the records; to find a difference of 0.1 would want 785 times."""
    assert statistics.needed(0.1, only_records(1.0, n_units=1000), margin=1.0).units == pytest.approx(7640, rel=0.03)


def test_where_seeds_vary_more_records_do_not_help():
    spread = Spread(seeds=4.0, records=0.1, interaction=0.0, n_seeds=3, n_units=300, freedom=2)
    needed = statistics.needed(3.0, spread, margin=1.0)
    assert needed.units is None
    assert needed.seeds is not None
    assert 10 <= needed.seeds <= 15


def test_where_records_vary_more_seeds_do_not_help():
    spread = Spread(seeds=0.05, records=4.0, interaction=0.0, n_seeds=3, n_units=300, freedom=2)
    needed = statistics.needed(3.0, spread, margin=0.5)
    assert needed.seeds is None
    assert needed.units is not None
    assert needed.both is not None


def test_what_cannot_be_decided_is_said_to_be_so():
    needed = statistics.needed(1.0, only_records(1e6), margin=1.0)
    assert (needed.units, needed.seeds, needed.both) == (None, None, None)


# Tests over records


def test_mcnemar_by_hand():
    """Six records only the first is right on, none the other way: 2 / 2⁶."""
    right_a, right_b = np.array([True] * 16), np.array([True] * 10 + [False] * 6)
    assert statistics.mcnemar(right_a, right_b) == pytest.approx(2 / 64)
    assert statistics.mcnemar(right_a, right_a) == 1.0


def test_the_swap_test_of_means_is_the_sign_flip_test():
    rng = np.random.default_rng(3)
    a, b = rng.normal(0.4, 1, 30), rng.normal(0, 1, 30)
    expected = scipy_stats.permutation_test(
        (a - b,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(0)
    ).pvalue
    swaps = statistics.random_swaps(30, 20_000, seed=0)
    assert statistics.swap_test([mean_stats(a)], [mean_stats(b)], mean_points, swaps_BU=swaps) == pytest.approx(
        expected, abs=0.01
    )


def test_the_swap_test_is_the_same_from_both_sides():
    rng = np.random.default_rng(4)
    a, b = [mean_stats(rng.random(20)) for _ in range(3)], [mean_stats(rng.random(20)) for _ in range(3)]
    swaps = statistics.random_swaps(20, 500, seed=0)
    assert statistics.swap_test(a, b, mean_points, swaps_BU=swaps) == statistics.swap_test(
        b, a, mean_points, swaps_BU=swaps
    )


def test_equal_answers_have_a_swap_test_of_one():
    rows = [mean_stats([1.0, 0.0, 1.0])]
    assert statistics.swap_test(rows, rows, mean_points, swaps_BU=statistics.random_swaps(3, 99, seed=0)) == 1.0


def test_holm_multiplies_the_smallest_by_the_number_of_tests_and_never_reorders():
    assert statistics.holm([0.04, 0.001, 0.03, 0.5]) == pytest.approx([0.09, 0.004, 0.09, 0.5])
    assert statistics.holm([0.6, 0.7]) == [1.0, 1.0]
    assert statistics.holm([]) == []


# Percentiles and optimism


def test_percentile_intervals_leave_out_equally_many_on_both_sides():
    assert statistics.percentile_interval(np.arange(101.0), 0.90) == pytest.approx((5.0, 95.0))


def test_the_hierarchical_bootstrap_varies_with_the_seeds_too():
    draws = np.tile([0.0, 10.0], (4000, 1))
    resampled = statistics.hierarchical(draws, seed=0)
    assert set(resampled) == {0.0, 5.0, 10.0}
    assert resampled.var() == pytest.approx(12.5, rel=0.05)


def test_the_best_of_equal_arms_is_too_good_and_a_clear_best_is_not():
    noise = np.random.default_rng(0).normal(size=(5000, 4))
    assert statistics.optimism(np.zeros(4), noise) == pytest.approx(1.03, abs=0.05)
    apart = np.array([0.0, 0.0, 0.0, 50.0])
    assert statistics.optimism(apart, apart + noise) == pytest.approx(0.0, abs=0.05)
