"""Label words as token ids: each token is asked for once, collisions are refused, written answers are read back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formtune.errors import SettingError
from formtune.label_words import Plan, normalized, plan_words, read_back

STOP = 1


def ids(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int32)


def plan_of(*candidates: np.ndarray, stop_id: int | None = STOP) -> Plan:
    return plan_words(candidates, [f"word{n}" for n in range(len(candidates))], stop_id=stop_id)


def test_words_of_one_token_need_nothing_but_the_prompt():
    plan = plan_of(ids(10), ids(11), ids(12))

    assert plan.bodies == ()
    assert plan.ids_N.tolist() == [10, 11, 12]
    assert plan.depth_N.tolist() == [0, 0, 0]


def test_the_last_token_of_a_word_is_asked_for_and_never_read():
    plan = plan_of(ids(10, 20), ids(11, 21, 31))

    assert [body.tolist() for body in plan.bodies] == [[10], [11, 21]]
    assert plan.n_read == 3


def test_a_beginning_that_words_share_is_read_once():
    """very good, very bad, very very: the first word is run once, or not at all where a longer run holds it."""
    plan = plan_of(ids(7, 1), ids(7, 2), ids(7, 7, 3))

    assert [body.tolist() for body in plan.bodies] == [[7, 7]]
    assert list(zip(plan.candidate_N, plan.body_N, plan.depth_N, plan.ids_N, strict=True)) == [
        (0, 0, 0, 7),
        (0, 0, 1, 1),
        (1, 0, 0, 7),
        (1, 0, 1, 2),
        (2, 0, 0, 7),
        (2, 0, 1, 7),
        (2, 0, 2, 3),
    ]


def test_a_word_that_begins_another_is_scored_with_its_stop_and_so_is_every_word():
    plan = plan_of(ids(5), ids(5, 6), ids(8))

    assert plan.ids_N.tolist() == [5, STOP, 5, 6, STOP, 8, STOP]


def test_no_stop_is_scored_where_no_word_begins_another():
    assert STOP not in plan_of(ids(5, 6), ids(5, 7)).ids_N


def test_a_model_without_a_stop_cannot_part_a_word_from_its_beginning():
    with pytest.raises(SettingError, match="'word0' is the beginning of 'word1'"):
        plan_of(ids(5), ids(5, 6), stop_id=None)


def test_two_words_of_the_same_tokens_are_refused_by_name():
    with pytest.raises(SettingError) as error:
        plan_words([ids(5), ids(6), ids(5)], [" Good", " bad", " good"], stop_id=STOP)

    assert str(error.value) == (
        "task.words: The label words ' Good' and ' good' are the same tokens to this model. "
        "Give one of them another word."
    )


def test_a_word_without_tokens_is_refused():
    with pytest.raises(SettingError, match="'word1' has no tokens"):
        plan_of(ids(5), ids())


def test_totals_add_up_the_tokens_of_each_word():
    plan = plan_of(ids(10, 20), ids(11), ids(12, 22))

    assert plan.totals(np.array([1.0, 2.0, 4.0, 8.0, 16.0])).tolist() == [3.0, 4.0, 24.0]


words = st.lists(st.lists(st.integers(2, 4), min_size=1, max_size=4).map(tuple), min_size=1, max_size=6, unique=True)


@given(words)
def test_what_was_read_before_a_token_is_what_stands_before_it_in_its_word(candidates):
    """Whatever words share: the state that is asked for a token has read exactly the tokens before it."""
    plan = plan_of(*(ids(*c) for c in candidates))
    rebuilt = {k: [] for k in range(len(candidates))}
    for k, body, depth, token in zip(plan.candidate_N, plan.body_N, plan.depth_N, plan.ids_N, strict=True):
        read = plan.bodies[body][:depth].tolist() if depth else []
        assert read == rebuilt[k]
        rebuilt[k].append(token)
    assert [tuple(t for t in rebuilt[k] if t != STOP) for k in rebuilt] == candidates


@given(words)
def test_nothing_is_read_twice(candidates):
    """No body is the beginning of another one."""
    bodies = [body.tolist() for body in plan_of(*(ids(*c) for c in candidates)).bodies]

    assert not any(a is not b and b[: len(a)] == a for a in bodies for b in bodies)


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("positive", 1),
        ("  Positive.\n", 1),
        ("“NEGATIVE”", 0),
        ("ｐｏｓｉｔｉｖｅ", 1),
        ("positive film", None),
        ("not negative", None),
        ("", None),
    ],
)
def test_case_and_outer_punctuation_do_not_count_and_everything_else_does(text, index):
    assert read_back(text, [" negative", " positive"]) == index


def test_words_that_differ_only_by_case_are_told_apart_when_written_exactly():
    assert read_back("May", ["may", "May"]) == 1
    assert read_back("MAY", ["may", "May"]) is None


def test_a_label_that_is_nothing_but_punctuation_stays_itself():
    assert normalized(" - ") == "-"
    assert read_back("+", ["-", "+"]) == 1


def test_chinese_punctuation_is_outer_punctuation():
    assert read_back("好评。", ["差评", "好评"]) == 1
