"""What a comparison says, and what it must not say."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formtune import verdicts
from formtune.comparison import Arm, Cost, as_builtins, compare_arms
from formtune.errors import SettingError
from formtune.metrics import METRICS, Outcome
from formtune.verdicts import ArmResult, PairResult, Terms

pytest.importorskip("scipy")
ACCURACY = METRICS["accuracy"]


def arm(name, right_SN, **more):
    """Make an arm from what it was right on, by seed."""
    rows = [np.stack([right, np.ones(len(right))], axis=1).astype(float) for right in np.atleast_2d(right_SN)]
    return Arm(name, dict(enumerate(rows)), **more)


def world(seed, *, n_records, n_seeds, shifts, seed_sd=0.1):
    """Draw arms whose ability differs by ``shifts`` over records of varying difficulty and seeds of varying luck."""
    rng = np.random.default_rng(seed)
    records = rng.normal(0, 1, n_records)
    return [
        arm(
            name, shift + records + rng.normal(0, seed_sd, (n_seeds, 1)) + rng.normal(0, 0.5, (n_seeds, n_records)) > -1
        )
        for name, shift in shifts.items()
    ]


def first(count, n=400, n_seeds=3):
    """Be right on the first records, under every seed."""
    return np.tile(np.arange(n) < count, (n_seeds, 1))


# Numbers


def test_means_and_differences_are_in_points():
    comparison = compare_arms([arm("a", first(360)), arm("b", first(300))], metric=ACCURACY)
    assert comparison.formats["a"].mean == 90.0
    assert comparison.formats["b"].by_seed == {0: 75.0, 1: 75.0, 2: 75.0}
    assert comparison.pairs[0].difference == 15.0


def test_the_interval_of_agreeing_seeds_is_that_of_the_records():
    """Disagreement on 60 of 400: standard error 1.79, with two records of doubt 1.82."""
    pair = compare_arms([arm("a", first(360)), arm("b", first(300))], metric=ACCURACY, n_resamples=10_000).pairs[0]
    assert (pair.low, pair.high) == pytest.approx((15 - 3.58, 15 + 3.58), abs=0.1)


def test_seeds_that_disagree_widen_the_interval():
    lucky = np.concatenate([first(340, n_seeds=1), first(360, n_seeds=1), first(380, n_seeds=1)])
    steady = compare_arms([arm("a", first(360)), arm("b", first(300))], metric=ACCURACY).pairs[0]
    shaky = compare_arms([arm("a", lucky), arm("b", first(300))], metric=ACCURACY).pairs[0]
    assert shaky.difference == steady.difference
    assert shaky.high - shaky.low > 3 * (steady.high - steady.low)


def test_intervals_stay_within_what_the_metric_can_be():
    result = compare_arms([arm("a", first(400)), arm("b", first(2))], metric=ACCURACY).formats
    assert result["a"].high == 100.0
    assert 98.5 < result["a"].low < 100.0
    assert result["b"].low == 0.0


def test_groups_are_resampled_whole():
    topics = np.repeat(np.arange(40), 10).tolist()
    arms = [arm("a", first(320)), arm("b", first(240))]
    alone, together = (compare_arms(arms, metric=ACCURACY, groups=g).pairs[0] for g in (None, topics))
    assert together.difference == alone.difference == 20.0
    assert together.high - together.low > 2.5 * (alone.high - alone.low)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), name=st.sampled_from(["accuracy", "macro_f1", "log_loss", "brier", "ece"]))
def test_comparing_b_with_a_mirrors_comparing_a_with_b(seed, name):
    """Exactly: the same numbers with the opposite sign."""
    rng = np.random.default_rng(seed)
    metric, right = METRICS[name], rng.integers(0, 3, 40)

    def answers():
        distributions = rng.dirichlet([1, 1, 1], 40)
        return [
            Outcome(gold=int(g), label=int(p.argmax()), probabilities=p)
            for g, p in zip(right, distributions, strict=True)
        ]

    a, b = (Arm(n, {s: metric.stats(answers()) for s in range(3)}) for n in "ab")
    there = compare_arms([a, b], metric=metric, n_resamples=200)
    back = compare_arms([b, a], metric=metric, n_resamples=200)
    assert back.pairs[0] == there.pairs[0].mirrored()
    assert back.formats == there.formats
    assert (back.verdict, back.winner, back.equivalent) == (there.verdict, there.winner, there.equivalent)


def test_a_third_arm_does_not_change_what_is_known_of_a_pair():
    """Only the correction for the number of pairs becomes stricter."""
    a, b, c = world(0, n_records=200, n_seeds=3, shifts={"a": 0.0, "b": 0.2, "c": 0.9})
    two = compare_arms([a, b], metric=ACCURACY)
    three = compare_arms([c, a, b], metric=ACCURACY)
    after, before = three.pairs[2], two.pairs[0]
    assert (after.a, after.b) == (before.a, before.b) == ("a", "b")
    assert (after.difference, after.low, after.high) == (before.difference, before.low, before.high)
    assert (after.p, after.p_records, after.equivalent) == (before.p, before.p_records, before.equivalent)
    assert after.p_holm >= before.p_holm
    assert three.formats["a"] == two.formats["a"]


def test_the_same_comparison_twice_is_the_same():
    arms = world(1, n_records=150, n_seeds=3, shifts={"a": 0.0, "b": 0.1})
    assert as_builtins(compare_arms(arms, metric=ACCURACY)) == as_builtins(compare_arms(arms, metric=ACCURACY))


def test_lower_is_better_for_losses_and_a_positive_difference_still_means_that_the_first_is_better():
    rng = np.random.default_rng(2)
    losses = rng.gamma(2, 0.2, (3, 300))
    good, bad = arm("good", losses), arm("bad", losses + rng.normal(0.3, 0.1, (3, 300)))
    comparison = compare_arms([bad, good], metric=METRICS["log_loss"])
    assert comparison.winner == "good"
    assert comparison.pairs[0].a == "bad"
    assert comparison.pairs[0].difference == pytest.approx(-0.3, abs=0.02)
    assert comparison.formats["good"].mean < comparison.formats["bad"].mean
    assert "good is better than bad by 0.3" in comparison.verdict
    assert " nats (95 % interval 0." in comparison.verdict


def test_one_seed_is_tested_by_mcnemar_and_several_by_swapping():
    one = compare_arms([arm("a", first(360, n_seeds=1)), arm("b", first(354, n_seeds=1))], metric=ACCURACY).pairs[0]
    assert (one.test, one.p_records) == ("mcnemar", pytest.approx(2 / 64))
    assert compare_arms([arm("a", first(9)), arm("b", first(8))], metric=ACCURACY).pairs[0].test == "swap"


# Chance


def test_one_format_under_two_names_is_seldom_called_different():
    """At most 5 % of the time: 11 of 100 would be a chance of 1 in 250. benchmarks/aa_control.py measures it well."""
    found = [
        compare_arms(
            world(seed, n_records=200, n_seeds=3, shifts={"a": 0.0, "b": 0.0}), metric=ACCURACY, n_resamples=200
        ).pairs[0].different
        for seed in range(100)
    ]  # fmt: skip
    assert sum(found) < 11


def test_a_large_difference_is_found():
    """11 points with five seeds and 300 records."""
    winners = [
        compare_arms(
            world(seed, n_records=300, n_seeds=5, shifts={"a": 0.0, "b": 0.5}), metric=ACCURACY, n_resamples=200
        ).winner
        for seed in range(20)
    ]
    assert winners.count("b") >= 18


def test_shuffled_labels_give_no_winner_and_everything_at_chance():
    rng = np.random.default_rng(11)
    labels = rng.permutation(np.arange(300) % 2).tolist()
    arms = [arm(name, rng.random((3, 300)) < 0.5) for name in ("a", "b", "c", "d")]
    comparison = compare_arms(arms, metric=ACCURACY, labels=labels)
    assert comparison.winner is None
    assert comparison.recommended is None
    assert comparison.baseline == 50.0
    assert all(result.at_chance for result in comparison.formats.values())
    assert comparison.verdict.startswith("No arm is shown to beat always answering the commonest label (50.0 points)")


def test_an_arm_below_the_majority_is_marked_and_the_others_are_not():
    labels = [0] * 280 + [1] * 120
    comparison = compare_arms([arm("good", first(360)), arm("bad", first(200))], metric=ACCURACY, labels=labels)
    assert not comparison.formats["good"].at_chance
    assert comparison.formats["bad"].at_chance
    assert "bad is not shown to beat always answering the commonest label (70.0 points)." in comparison.advice


def test_a_loss_at_the_entropy_of_the_labels_is_at_chance():
    labels = [0, 1] * 100
    sure, unsure = np.full((3, 200), 0.1), np.full((3, 200), np.log(2))
    noise = np.random.default_rng(0).normal(0, 0.01, (3, 200))
    comparison = compare_arms(
        [arm("sure", sure + noise), arm("unsure", unsure + noise)], metric=METRICS["log_loss"], labels=labels
    )
    assert [result.at_chance for result in comparison.formats.values()] == [False, True]


def test_the_best_of_many_equal_arms_is_said_to_be_lucky():
    arms = world(5, n_records=150, n_seeds=3, shifts=dict.fromkeys("abcdef", 0.0))
    comparison = compare_arms(arms, metric=ACCURACY)
    assert comparison.winners_curse > 0.5
    assert any(sentence.startswith("The best of 6 means is partly luck") for sentence in comparison.advice)


# Verdicts


TERMS = Terms(metric=ACCURACY, margin=1.0, confidence=0.95, baseline=None, n_records=300, n_seeds=5)


def result(mean, *, tokens=30, parameters=0, invalid=None, at_chance=False):
    cost = Cost(tokens_per_answer=tokens, parameters=parameters)
    return ArmResult(mean, mean - 2, mean + 2, {0: mean}, invalid, cost, at_chance)


def pair(a, b, difference, half, *, different=False, equivalent=False, p_holm=0.2, more=(None, None, None)):
    return PairResult(
        a, b, difference, difference - half, difference + half, p_holm, p_holm, p_holm, "swap", different, equivalent,
        3.0, *more,
    )  # fmt: skip


def test_a_better_arm_wins_over_the_runner_up():
    arms = {"masked_lm": result(84.1), "seq2seq": result(80.0)}
    pairs = [pair("seq2seq", "masked_lm", -4.1, 2.15, different=True)]
    verdict = verdicts.decide(arms, pairs, terms=TERMS)
    assert verdict.sentence == "masked_lm is better than seq2seq by 4.1 points (95 % interval 1.9 to 6.2)."
    assert verdict.winner == verdict.recommended == "masked_lm"


def test_a_winner_must_be_better_than_every_other():
    arms = {"a": result(84.0), "b": result(80.0), "c": result(70.0)}
    pairs = [
        pair("a", "b", 4, 2, different=True),
        pair("a", "c", 14, 2, different=True),
        pair("b", "c", 10, 2, different=True),
    ]
    verdict = verdicts.decide(arms, pairs, terms=TERMS)
    assert verdict.sentence == "a is better than the runner-up b by 4.0 points (95 % interval 2.0 to 6.0), and than c."


def test_equivalent_arms_leave_the_choice_to_the_cost():
    arms = {"a": result(84.0, tokens=92), "b": result(83.8, tokens=31), "c": result(70.0)}
    pairs = [
        pair("a", "b", 0.2, 0.5, equivalent=True),
        pair("a", "c", 14, 2, different=True),
        pair("b", "c", 13.8, 2, different=True),
    ]
    verdict = verdicts.decide(arms, pairs, terms=TERMS)
    assert verdict.sentence == (
        "a and b are equivalent within ±1 point: take b, the cheapest (31 tokens per answer; a: 92 tokens); c is worse."
    )
    assert (verdict.winner, verdict.recommended, verdict.equivalent) == (None, "b", True)


def test_a_token_of_a_large_model_costs_more():
    arms = {
        "long": result(84.0, tokens=90, parameters=22_000_000),
        "short": result(84.0, tokens=40, parameters=135_000_000),
    }
    verdict = verdicts.decide(arms, [pair("long", "short", 0.0, 0.5, equivalent=True)], terms=TERMS)
    assert verdict.recommended == "long"
    assert "90 tokens through 22M parameters per answer; short: 40 tokens through 135M parameters" in verdict.sentence


def test_a_sure_difference_below_the_margin_does_not_matter():
    arms = {"a": result(84.0), "b": result(83.6)}
    pairs = [pair("a", "b", 0.4, 0.3, different=True, equivalent=True)]
    verdict = verdicts.decide(arms, pairs, terms=TERMS)
    assert verdict.equivalent
    assert verdict.sentence == "a and b are equivalent within ±1 point: take a, as an answer costs the same from each."
    assert verdicts.advice(verdict, arms, pairs, terms=TERMS, optimism=0.0)[1] == (
        "a is better than b by 0.4 points (95 % interval 0.1 to 0.7), which is less than what you asked for (1 point)."
    )


def test_what_is_not_decided_says_what_would_decide():
    pairs = [pair("a", "b", 0.8, 2.4, more=(600, 4, (100, 1)))]
    verdict = verdicts.decide({"a": result(80.8), "b": result(80.0)}, pairs, terms=TERMS)
    assert verdict.sentence == (
        "Not decided between a and b: difference 0.8 points (95 % interval -1.6 to 3.2); "
        "about 600 more test records or 4 more seeds would be needed."
    )
    assert (verdict.winner, verdict.recommended, verdict.equivalent) == (None, None, False)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((None, 1, None), "about 1 more seed would be needed."),
        ((None, None, (200, 6)), "about 200 more test records and 6 more seeds would be needed, both together."),
        ((None, None, None), "a hundred times as many test records and seeds would not be sure to decide."),
    ],
)
def test_what_would_decide_is_said_in_other_words_where_one_thing_is_not_enough(more, words):
    verdict = verdicts.decide(
        {"a": result(80.8), "b": result(80.0)}, [pair("a", "b", 0.8, 2.4, more=more)], terms=TERMS
    )
    assert verdict.sentence.endswith(words)


def test_many_arms_that_may_be_the_best_are_all_named():
    arms = {"a": result(80.0), "b": result(81.0), "c": result(79.0), "d": result(60.0)}
    pairs = [
        pair("a", "b", -1, 2, more=(500, None, None)), pair("a", "c", 1, 2), pair("a", "d", 20, 2, different=True),
        pair("b", "c", 2, 1.9, p_holm=0.06), pair("b", "d", 21, 2, different=True), pair("c", "d", 19, 2, different=True),
    ]  # fmt: skip
    verdict = verdicts.decide(arms, pairs, terms=TERMS)
    assert verdict.leading == ("b", "a", "c")
    assert verdict.sentence == (
        "Not decided among b, a and c: b is ahead of a by 1.0 points (95 % interval -1.0 to 3.0); "
        "about 500 more test records would be needed."
    ).replace("1.0 points", "1 point")


def test_an_interval_that_leaves_out_zero_but_fails_the_correction_is_explained():
    pairs = [pair("a", "b", 2, 1.9, p_holm=0.06, more=(50, None, None)), pair("a", "c", 9, 1, different=True), pair("b", "c", 7, 1, different=True)]  # fmt: skip
    arms = {"a": result(80.0), "b": result(78.0), "c": result(71.0)}
    assert "p = 0.06 after correction for 3 pairs; about 50" in verdicts.decide(arms, pairs, terms=TERMS).sentence


def test_an_arm_that_gives_invalid_answers_is_told():
    arms = {"a": result(80.0, invalid=0.042), "b": result(70.0, invalid=0.001)}
    pairs = [pair("a", "b", 10, 2, different=True)]
    told = verdicts.advice(verdicts.decide(arms, pairs, terms=TERMS), arms, pairs, terms=TERMS, optimism=0.0)
    assert told[-1] == "a, answering freely, gave no valid answer to 4.2 % of the records."


def test_one_seed_is_told_to_say_nothing_about_the_luck_of_training():
    comparison = compare_arms([arm("a", first(390, n_seeds=1)), arm("b", first(300, n_seeds=1))], metric=ACCURACY)
    assert comparison.winner == "a"
    assert comparison.advice[1].startswith("One seed says nothing about the luck of training")


def test_equal_predictions_are_equivalent_when_there_are_enough_of_them():
    assert compare_arms([arm("a", first(350)), arm("b", first(350))], metric=ACCURACY).equivalent
    few = compare_arms([arm("a", first(35, n=40)), arm("b", first(35, n=40))], metric=ACCURACY)
    assert few.verdict.startswith("Not decided between a and b: difference 0.0 points (95 % interval -")


def test_a_time_never_enters_a_verdict():
    slow, fast = Cost(tokens_per_answer=30, ms_per_answer=90.0), Cost(tokens_per_answer=30, ms_per_answer=1.0)
    said = {
        compare_arms([arm("a", first(350), cost=x), arm("b", first(350), cost=y)], metric=ACCURACY).verdict
        for x, y in [(slow, fast), (fast, slow)]
    }
    assert len(said) == 1


@pytest.mark.parametrize(("count", "expected"), [(0, 0), (7, 7), (63, 63), (641, 650), (64_100, 65_000)])
def test_estimated_counts_have_two_digits(count, expected):
    assert verdicts.rounded_up(count) == expected


# Borders


def test_the_keys_of_compare_json_are_there():
    plain = json.loads(json.dumps(as_builtins(compare_arms([arm("a", first(9)), arm("b", first(8))], metric=ACCURACY))))
    assert {"verdict", "winner", "equivalent", "metric", "formats", "pairs", "minimum_detectable", "advice"} <= set(
        plain
    )
    assert {"mean", "low", "high", "by_seed", "invalid", "cost"} <= set(plain["formats"]["a"])
    assert {"a", "b", "difference", "low", "high", "p", "equivalent"} <= set(plain["pairs"][0])


def test_one_arm_cannot_be_compared():
    with pytest.raises(SettingError, match="formats: There is nothing to compare with"):
        compare_arms([arm("a", first(9))], metric=ACCURACY)


def test_two_arms_of_one_name_are_refused():
    with pytest.raises(SettingError, match="An arm stands twice: a, a"):
        compare_arms([arm("a", first(9)), arm("a", first(8))], metric=ACCURACY)


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        (arm("b", first(9, n_seeds=2)), "same seeds"),
        (arm("b", first(9, n=300)), "same records"),
        (arm("b", np.full((3, 400), np.nan)), "finite"),
    ],
)
def test_arms_that_do_not_fit_together_are_a_wrong_call(other, problem):
    with pytest.raises(ValueError, match=problem):
        compare_arms([arm("a", first(9)), other], metric=ACCURACY)


def test_records_of_one_group_decide_nothing():
    """One group is one observation, whatever it holds."""
    stats = {0: np.ones((40, 2))}
    with pytest.raises(SettingError, match="--group: All test records belong together"):
        compare_arms([Arm("a", stats), Arm("b", stats)], metric=METRICS["accuracy"], groups=["film"] * 40)


def test_groups_are_told_where_records_do_not_stand_alone():
    """Sixty questions about five paragraphs are five observations, and whoever reads the interval should know."""
    chance = np.random.default_rng(0)
    arms = [Arm(name, {s: np.stack([chance.integers(0, 2, 60), np.ones(60)], 1) for s in (0, 1, 2)}) for name in "ab"]
    found = compare_arms(arms, metric=METRICS["accuracy"], groups=[i // 12 for i in range(60)], n_resamples=200)
    assert found.advice[0].startswith("With 60 test records in 5 groups and 3 seeds, ")
