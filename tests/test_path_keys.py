"""Keys of what states depend on: equal for equal paths, whatever stands beside them."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from token_examples import tokens

from formtune.batches import Batch, branched, collate
from formtune.path_keys import place_keys, segment_keys

TEXTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=6)


def row(*texts: list[int]) -> Batch:
    """Texts side by side."""
    return collate([tokens(text) for text in texts], causal=True)


def split(keys: np.ndarray, batch: Batch) -> list[list[tuple[int, ...]]]:
    """The keys of each segment, as values that can be compared."""
    return [[tuple(key) for key in part.tolist()] for part in np.split(keys, batch.ends_S[:-1])]


@given(TEXTS)
def test_in_a_causal_model_places_agree_exactly_where_their_beginnings_do(texts: list[list[int]]) -> None:
    """The key at a place stands for the tokens up to it."""
    batch = row(*texts)
    known: dict[tuple[int, ...], tuple[int, ...]] = {}
    for text, keys in zip(texts, split(place_keys(batch, causal=True), batch), strict=True):
        for end, key in enumerate(keys, 1):
            assert known.setdefault(key, tuple(text[:end])) == tuple(text[:end])
    assert len(known) == len({tuple(text[:end]) for text in texts for end in range(1, len(text) + 1)})


@given(TEXTS)
def test_where_both_ways_are_seen_places_agree_exactly_where_whole_texts_do(texts: list[list[int]]) -> None:
    """No two places of one text agree."""
    batch = row(*texts)
    keys = split(place_keys(batch, causal=False), batch)

    assert len({key for part in keys for key in part}) == sum(len(text) for text in set(map(tuple, texts)))
    assert all(keys[i] == keys[texts.index(text)] for i, text in enumerate(texts))


def test_a_path_is_the_same_however_it_is_cut() -> None:
    """A prompt with its answer in one segment, in two, and in three."""
    whole = row([1, 2, 3, 4])
    halves = branched([np.array([1, 2])], [[np.array([3, 4])]])
    parts = replace(
        halves, starts_S=np.array([0, 2, 3]), ends_S=np.array([2, 3, 4]), parents_S=np.array([-1, 0, 1]),
        golds_S=np.full(3, -1),
    )  # fmt: skip
    keys = [place_keys(batch, causal=True).tolist() for batch in (whole, halves, parts)]

    assert keys[0] == keys[1] == keys[2]


def test_where_both_ways_are_seen_a_cut_changes_what_follows() -> None:
    """Behind a cut the states are others, since what stands before it does not see them."""
    whole, halves = row([1, 2, 3, 4]), branched([np.array([1, 2])], [[np.array([3, 4])]])
    one, other = (place_keys(batch, causal=False).tolist() for batch in (whole, halves))

    assert not {tuple(key) for key in one} & {tuple(key) for key in other}


def test_types_and_positions_count() -> None:
    """As they do for a model that reads them."""
    batch = row([1, 2, 3])
    typed = replace(batch, types_T=np.array([0, 0, 1]))
    moved = replace(batch, positions_T=batch.positions_T + 1)
    keys = [place_keys(one, causal=True).tolist() for one in (batch, typed, moved)]

    assert [a == b for a, b in zip(keys[0], keys[1], strict=True)] == [True, True, False]
    assert [a == b for a, b in zip(keys[0], keys[2], strict=True)] == [False] * 3


@given(TEXTS)
def test_segments_agree_exactly_where_whole_texts_do(texts: list[list[int]]) -> None:
    """One key for a pooled state."""
    keys = [tuple(key) for key in segment_keys(row(*texts)).tolist()]
    assert len(set(keys)) == len(set(map(tuple, texts)))
    assert all(keys[i] == keys[texts.index(text)] for i, text in enumerate(texts))
