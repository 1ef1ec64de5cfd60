"""What holds for every metric of the table."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formtune.metrics import DEFAULT_METRICS, METRICS, Outcome

pytest.importorskip("sacrebleu")
ALL = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())

WORDS = st.lists(st.sampled_from(["a", "cat", "sat", "on", "the", "mat", "北京", "大学", "3.5", "."]), max_size=8).map(
    " ".join
)


@st.composite
def outcome(draw):
    weights = np.array(draw(st.lists(st.integers(0, 9), min_size=3, max_size=3))) + 0.01
    return Outcome(
        gold=draw(st.integers(0, 2)),
        label=draw(st.one_of(st.none(), st.integers(0, 2))),
        probabilities=weights / weights.sum(),
        valid=draw(st.booleans()),
        references=tuple(draw(st.lists(WORDS, min_size=1, max_size=3))),
        answer=draw(WORDS),
        language=draw(st.sampled_from(["en", "zh"])),
        nll=draw(st.floats(0, 100)),
        n_tokens=draw(st.integers(1, 50)),
        n_bytes=draw(st.integers(1, 200)),
    )


def perfect(n):
    """Answer ``n`` records in the best possible way."""
    text = "one two three four five six"
    return [
        Outcome(
            gold=i % 3, label=i % 3, probabilities=np.eye(3)[i % 3], references=(text,), answer=text,
            nll=0.0, n_tokens=6, n_bytes=27,
        )
        for i in range(n)
    ]  # fmt: skip


@ALL
@settings(max_examples=25, deadline=None)
@given(outcomes=st.lists(outcome(), min_size=1, max_size=12))
def test_it_stays_within_its_bounds(metric, outcomes):
    value = metric.score(outcomes)
    assert metric.low - 1e-9 <= value <= metric.high + 1e-9


@ALL
@settings(max_examples=15, deadline=None)
@given(outcomes=st.lists(outcome(), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_the_order_of_records_does_not_matter(metric, outcomes, seed):
    shuffled = [outcomes[i] for i in np.random.default_rng(seed).permutation(len(outcomes))]
    assert metric.score(shuffled) == pytest.approx(metric.score(outcomes), abs=1e-9)


@pytest.mark.parametrize("metric", [m for m in METRICS.values() if m.name != "ece"], ids=lambda m: m.name)
@settings(max_examples=15, deadline=None)
@given(outcomes=st.lists(outcome(), min_size=2, max_size=8), seed=st.integers(0, 99))
def test_weighted_sums_of_statistics_are_the_metric_of_the_resampled_records(metric, outcomes, seed):
    """This is what makes the bootstrap exact. Only ece departs: it keeps the bins of the full sample."""
    drawn = np.random.default_rng(seed).integers(0, len(outcomes), len(outcomes))
    weights = np.bincount(drawn, minlength=len(outcomes))
    reduced = metric.reduce(weights[None, :] @ metric.stats(outcomes))
    assert reduced.shape == (1,)
    assert float(reduced[0]) == pytest.approx(metric.score([outcomes[i] for i in drawn]), abs=1e-9)


@ALL
def test_perfect_answers_get_the_best_value(metric):
    best = metric.high if metric.higher_is_better else metric.low
    assert metric.score(perfect(6)) == pytest.approx(best, abs=1e-9)


@ALL
def test_statistics_are_one_finite_row_per_record(metric):
    rows = metric.stats(perfect(5))
    assert rows.shape[0] == 5
    assert rows.dtype == np.float64
    assert np.isfinite(rows).all()


@ALL
def test_it_says_what_it_is(metric):
    assert METRICS[metric.name] is metric
    assert metric.summary.endswith(".")
    assert len(metric.definition) > 20
    assert metric.source
    assert set(metric.kinds) <= set(DEFAULT_METRICS)
    assert metric.margin > 0
