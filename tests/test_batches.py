"""Batches: what is cut, what is laid side by side, and that nothing is lost on the way."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from token_examples import answering, tokens

from formtune.batches import branched, by_budget, collate, select
from formtune.fitting import CUT_START, TOO_LONG, fit, truncate


def test_a_causal_batch_asks_each_place_for_its_successor() -> None:
    """Labels and weights stand one place to the left; no example asks for the next one's first token."""
    batch = collate([tokens([5, 6], [7, 8]), tokens([9], [10])], causal=True)

    assert batch.ids_T.tolist() == [5, 6, 7, 8, 9, 10]
    assert batch.positions_T.tolist() == [0, 1, 2, 3, 0, 1]
    assert batch.weights_T.tolist() == [0, 1, 1, 0, 1, 0]
    assert batch.labels_T[batch.weights_T > 0].tolist() == [7, 8, 10]
    assert list(zip(batch.starts_S, batch.ends_S, strict=True)) == [(0, 4), (4, 6)]


def test_other_batches_ask_for_what_stands_there() -> None:
    """A mask slot asks for its own filling."""
    batch = collate([tokens([5, 6], [7])], causal=False)

    assert batch.labels_T.tolist() == [5, 6, 7]
    assert batch.weights_T.tolist() == [0, 0, 1]


def test_the_target_side_is_a_causal_batch_of_its_own() -> None:
    """The decoder start token asks for the first target token."""
    batch = collate([answering([5, 6], [7, 8]), answering([9], [10])], causal=True)

    assert batch.decoder is not None
    assert batch.decoder.ids_T.tolist() == [2, 7, 8, 2, 10]
    assert batch.decoder.labels_T[batch.decoder.weights_T > 0].tolist() == [7, 8, 10]
    assert batch.n_tokens == 8


def test_a_forest_lays_a_prompt_once_for_all_its_continuations() -> None:
    """Positions of a continuation go on where the prompt ends."""
    batch = branched([np.array([5, 6]), np.array([7])], [[np.array([8, 9]), np.array([10])], []])

    assert batch.ids_T.tolist() == [5, 6, 8, 9, 10, 7]
    assert batch.positions_T.tolist() == [0, 1, 2, 3, 2, 0]
    assert batch.parents_S.tolist() == [-1, 0, 0, -1]
    assert batch.path(2) == [0, 2]


def test_selected_segments_bring_their_ancestors() -> None:
    """A continuation without its prompt would see nothing."""
    batch = select(branched([np.array([5, 6]), np.array([7])], [[np.array([8])], [np.array([9])]]), [3])

    assert batch.ids_T.tolist() == [7, 9]
    assert batch.parents_S.tolist() == [-1, 0]


def test_an_empty_continuation_is_refused() -> None:
    """It would ask for nothing."""
    with pytest.raises(ValueError, match="at least one token"):
        branched([np.array([1])], [[np.array([])]])


def test_content_is_cut_from_the_side_that_the_format_names() -> None:
    """The target stays whole."""
    from_end = truncate(tokens([1, 2, 3, 4], [9]), 3)
    from_start = truncate(tokens([1, 2, 3, 4], [9], cut=CUT_START), 3)

    assert from_end is not None and from_end.ids_T.tolist() == [1, 2, 9]
    assert from_start is not None and from_start.ids_T.tolist() == [3, 4, 9]


def test_what_does_not_fit_without_content_is_left_out_with_its_reason() -> None:
    """A target is never cut."""
    kept, left_out, n_truncated = fit([tokens([1, 2], [7, 8, 9], id="a"), tokens([1, 2], [9], id="b")], 2)

    assert [t.id for t in kept] == ["b"]
    assert [(one.id, one.reason) for one in left_out] == [("a", TOO_LONG)]
    assert n_truncated == 1


def test_the_longest_field_is_cut_first() -> None:
    """Two fields that are cut end equally long (or one apart)."""
    one = tokens(list(range(12)), [99])
    cuts_T = one.cuts_T.copy()
    cuts_T[8] = 0  # scaffold between a field of eight tokens and one of three
    cut = truncate(replace(one, cuts_T=cuts_T), 9)

    assert cut is not None
    assert cut.ids_T.tolist() == [0, 1, 2, 3, 8, 9, 10, 11, 99]


@given(st.lists(st.integers(1, 30), max_size=40), st.integers(1, 40), st.booleans())
def test_a_budget_keeps_every_example_once(lengths: list[int], budget: int, sort: bool) -> None:
    """No batch is over the budget unless one example alone is."""
    groups = by_budget(lengths, budget, sort=sort)

    assert sorted(i for g in groups for i in g) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in g) <= budget or len(g) == 1 for g in groups)
    assert sort or [i for g in groups for i in g] == list(range(len(lengths)))


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 5), st.integers(1, 50))
def test_cutting_gives_exactly_the_capacity_and_keeps_order(
    first: int, second: int, target: int, capacity: int
) -> None:
    """Whatever is cut, what is left stands in its old order and ends with the whole target."""
    one = tokens(list(range(first + 1 + second)), list(range(100, 100 + target)))
    cuts_T = one.cuts_T.copy()
    cuts_T[first] = 0
    cut = truncate(replace(one, cuts_T=cuts_T), capacity)

    if cut is None:
        assert 1 + target > capacity
        return
    ids = cut.ids_T.tolist()
    assert len(ids) == min(capacity, len(one.ids_T))
    assert ids == sorted(ids)
    assert ids[-target:] == list(range(100, 100 + target))
    assert first in ids


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 120), st.booleans())
def test_a_padded_batch_stays_within_its_budget(lengths, budget, sort):
    """The longest of a batch counts as often as there are rows; a longer example stands alone."""
    groups = by_budget(lengths, budget, sort=sort, padded=True)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    assert all(len(g) == 1 or len(g) * max(lengths[i] for i in g) <= budget for g in groups)
