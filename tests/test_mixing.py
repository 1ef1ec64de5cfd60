"""Mixtures: shares as the formula says, whole passes before a part, and every source spread evenly."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formtune.mixing import capped, drawn_of, mix, shares, spread_evenly

SIZES = st.lists(st.integers(1, 50), min_size=1, max_size=20).map(np.array)


def test_sizes_weights_caps_and_temperature_make_the_shares() -> None:
    """Each by the formula, worked out by hand."""
    none = [None, None]
    assert shares([300, 100], weights=[1, 1], caps=none).tolist() == pytest.approx([0.75, 0.25])
    assert shares([300, 100], weights=[1, 3], caps=none).tolist() == pytest.approx([0.5, 0.5])
    assert shares([300, 100], weights=[1, 1], caps=[100, None]).tolist() == pytest.approx([0.5, 0.5])
    assert shares([900, 100], weights=[1, 1], caps=none, temperature=2).tolist() == pytest.approx([0.75, 0.25])


def test_weights_alone_count_at_a_million() -> None:
    """As the docs of the setting say."""
    found = shares([10**9, 1], weights=[1, 1], caps=[None, None], temperature=1e6)
    assert found.tolist() == pytest.approx([0.5, 0.5], abs=1e-5)


def test_a_small_temperature_overflows_nowhere() -> None:
    """The largest source takes all."""
    assert shares([10**9, 10**8], weights=[1, 1], caps=[None, None], temperature=1e-3).tolist() == [1.0, 0.0]


def test_a_cap_is_no_floor() -> None:
    """What is smaller counts as it is."""
    assert capped([5, 50, 500], [None, 100, 100]) == [5, 50, 100]


@given(SIZES, st.floats(0, 5), st.integers(0, 3))
def test_passes_are_whole_before_a_part_begins(sizes: np.ndarray, passes: float, seed: int) -> None:
    """No sequence is met twice more than another, and the sum is right up to half of the largest."""
    amount = passes * int(sizes.sum())
    drawn = drawn_of(sizes, amount, seed=(seed, 0))
    counts = np.bincount(drawn, minlength=len(sizes))

    assert counts.max() - counts.min() <= 1
    assert abs(int(sizes[drawn].sum()) - amount) <= sizes.max() / 2 + 1e-6
    first = drawn[: len(sizes)]
    assert len(set(first.tolist())) == len(first)
    assert drawn[len(sizes) :].tolist() == np.resize(first, max(0, len(drawn) - len(sizes))).tolist()


def test_order_is_drawn_from_the_seed() -> None:
    """Another seed is another order; a source that is added changes nothing in those before it."""
    sizes = [np.ones(50, dtype=np.int64)] * 3
    two = mix(sizes[:2], np.array([0.5, 0.5]), total=40, seed=1)
    three = mix(sizes, np.array([0.4, 0.4, 0.2]), total=50, seed=1)
    other = mix(sizes[:2], np.array([0.5, 0.5]), total=40, seed=2)

    assert [n for n in three.numbers_D.tolist() if n < 50] == [n for n in two.numbers_D.tolist() if n < 50]
    assert [n for n in three.numbers_D.tolist() if 50 <= n < 100] == [n for n in two.numbers_D.tolist() if n >= 50]
    assert two.numbers_D.tolist() != other.numbers_D.tolist()


def test_a_small_source_is_spread_over_the_whole() -> None:
    """Of any ten in a row one is of the source that makes a tenth, wherever one looks."""
    is_small = np.isin(spread_evenly([900, 100]), np.arange(900, 1000))
    assert {int(is_small[start : start + 10].sum()) for start in range(0, 1000, 10)} == {1}


@given(st.lists(SIZES, min_size=1, max_size=4), st.integers(1, 2000), st.integers(0, 3))
def test_what_is_counted_is_what_is_drawn(sizes: list[np.ndarray], total: int, seed: int) -> None:
    """Numbers over all sources, how often each is met, and shares that add up."""
    shares_S = shares([int(one.sum()) for one in sizes], weights=[1.0] * len(sizes), caps=[None] * len(sizes))
    made = mix(sizes, shares_S, total=total, seed=seed)
    counts = Counter(made.numbers_D.tolist())

    assert [counts[n] for n in range(len(made.counts_M))] == made.counts_M.tolist()
    flat = np.concatenate(sizes)
    met = flat[made.numbers_D].sum()
    assert abs(int(met) - total) <= sum(one.max() for one in sizes) / 2 + 1e-6
    assert made.reached_S.sum() == pytest.approx(1.0 if met else 0.0)
    owners = np.repeat(np.arange(len(sizes)), [len(one) for one in sizes])[made.numbers_D]
    amounts = np.bincount(owners, weights=flat[made.numbers_D], minlength=len(sizes))
    assert (amounts / max(1, met)).tolist() == pytest.approx(made.reached_S.tolist())


def test_everything_is_met_once_where_nothing_is_asked() -> None:
    """Sources by size, a total of all that they hold: one pass of each."""
    sizes = [np.random.default_rng(n).integers(1, 999, 1000) for n in range(3)]
    amounts = [int(one.sum()) for one in sizes]
    made = mix(sizes, shares(amounts, weights=[1] * 3, caps=[None] * 3), total=sum(amounts), seed=0)
    assert made.counts_M.tolist() == [1] * 3000


def test_a_source_whose_share_is_less_than_half_a_sequence_gives_none() -> None:
    """The shares that were reached say so."""
    made = mix([np.array([10]), np.array([10])], np.array([0.99, 0.01]), total=100, seed=0)
    assert made.reached_S.tolist() == [1.0, 0.0]
