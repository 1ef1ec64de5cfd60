"""Texts that are nearly the same are found without comparing each with each."""

import random

import numpy as np
import pytest

from formtune.checks.sketches import (
    ALIKE,
    N_BANDS,
    N_HASHES,
    _jaccard,
    pairs_across,
    pairs_within,
    similarity,
    sketches_of,
)
from formtune.records import Conversation, Labelled, Message, Question


def texts(n: int, seed: int = 0) -> list[str]:
    """Make texts of which every other one is an earlier one with words changed."""
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefghijklmnop", k=draw.randint(3, 8))) for _ in range(400)]
    made = [" ".join(draw.choices(words, k=draw.randint(8, 25))) for _ in range(n // 2)]
    for text in made.copy():
        changed = text.split()
        for _ in range(draw.randint(1, 3)):
            changed[draw.randrange(len(changed))] = draw.choice(words)
        made.append(" ".join(changed))
    return made


def test_every_pair_that_is_alike_is_a_candidate() -> None:
    """Held against comparing each with each."""
    made = texts(300)
    alike = {(a, b) for b in range(len(made)) for a in range(b) if _jaccard(made[a], made[b]) >= ALIKE}
    assert len(alike) > 30
    found = {(min(pair), max(pair)) for pair in pairs_within(sketches_of(made)).tolist()}
    assert alike <= found
    assert len(found) < 3 * len(alike)


def test_pairs_across_two_lists_are_those_within_both_together() -> None:
    """Where buckets are small."""
    made = texts(200, seed=1)
    ours, theirs = made[:100], made[100:]
    across = {(a, b + 100) for a, b in pairs_across(sketches_of(ours), sketches_of(theirs)).tolist()}
    within = {(min(pair), max(pair)) for pair in pairs_within(sketches_of(made)).tolist()}
    assert across == {(a, b) for a, b in within if a < 100 <= b}


def test_the_sketch_of_a_text_does_not_depend_on_its_neighbors() -> None:
    """No shingle reaches from one text into the next; texts shorter than a shingle have a sketch as well."""
    made = ["a", "", "the same text twice", "日本語", "\ud800 lone"]
    together = sketches_of(made)
    assert together.bands_NB.shape == (5, N_BANDS)
    assert together.bytes_NH.shape == (5, N_HASHES)
    for n, text in enumerate(made):
        alone = sketches_of([text])
        assert np.array_equal(alone.bands_NB[0], together.bands_NB[n])
        assert np.array_equal(alone.bytes_NH[0], together.bytes_NH[n])


def test_sketches_estimate_the_similarity() -> None:
    """The share of minima that agree, within five standard errors."""
    a, b = texts(2, seed=4)
    sketches = sketches_of([a, b])
    share = (sketches.bytes_NH[0] == sketches.bytes_NH[1]).mean()
    exact = _jaccard(a, b)
    assert abs(share - exact) < 5 * np.sqrt(exact * (1 - exact) / N_HASHES) + 1 / 256


def test_no_text_has_no_pairs() -> None:
    """Nor has one text."""
    assert pairs_within(sketches_of([])).shape == (0, 2)
    assert pairs_within(sketches_of(["one text"])).shape == (0, 2)
    assert pairs_across(sketches_of(["one text"]), sketches_of([])).shape == (0, 2)


PASSAGE = "The river rises in the hills and flows north through four towns before it reaches the sea. " * 3


@pytest.mark.parametrize(
    ("a", "b", "alike"),
    [
        (Labelled(inputs={"text": "one two three"}), Labelled(inputs={"text": "One, two: THREE!"}), True),
        (Question(question="Where does it rise?", context=PASSAGE), Question(question="How many towns?", context=PASSAGE), False),
        (Question(question="Where does it rise?", context=PASSAGE), Question(question="where does it rise", context=PASSAGE + "It is cold."), True),
        (
            Conversation(messages=(Message("system", PASSAGE), Message("user", "Say hello."))),
            Conversation(messages=(Message("system", PASSAGE), Message("user", "What is the time?"))),
            False,
        ),
        (Labelled(inputs={"text": "one"}), Labelled(inputs={"a": "one", "b": "two"}), False),
    ],
)  # fmt: skip
def test_records_are_as_alike_as_what_differs_in_them(a: Labelled, b: Labelled, alike: bool) -> None:
    """A passage or a system prompt that many share makes no duplicates."""
    assert (similarity(a, b) >= ALIKE) is alike
