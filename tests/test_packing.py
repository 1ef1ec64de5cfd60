"""Packing: every sequence once, no pack over its capacity, and the packs of the textbook's algorithms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formtune.packing import Packs, best_fit, in_order, of_similar_length

# Few capacities and many equal lengths, so that ties are met all the time.
SETS = st.integers(1, 40).flatmap(
    lambda capacity: st.tuples(st.lists(st.integers(1, capacity), max_size=80), st.just(capacity))
)
TWO_SIDED = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 20)), min_size=1, max_size=60)


def listed(packs: Packs) -> list[list[int]]:
    """Give the packs as lists."""
    return [packs[n].tolist() for n in range(len(packs))]


def textbook_best_fit(lengths: list[int], capacity: int) -> list[list[int]]:
    """Best-fit decreasing as it is told: sequence by sequence, pack by pack."""
    packs: list[list[int]] = []
    rooms: list[int] = []
    for number in sorted(range(len(lengths)), key=lambda n: -lengths[n]):
        enough = [pack for pack, room in enumerate(rooms) if room >= lengths[number]]
        if not enough:
            enough = [len(packs)]
            packs.append([])
            rooms.append(capacity)
        best = min(enough, key=lambda pack: rooms[pack])
        packs[best].append(number)
        rooms[best] -= lengths[number]
    return [sorted(pack) for pack in packs]


def textbook_next_fit(lengths: list[int], capacity: int) -> list[list[int]]:
    """Next-fit: only the last pack is looked at."""
    packs: list[list[int]] = []
    room = 0
    for number, length in enumerate(lengths):
        if length > room:
            packs.append([])
            room = capacity
        packs[-1].append(number)
        room -= length
    return packs


@given(SETS)
def test_best_fit_gives_the_packs_of_the_textbook(drawn):
    """The same packs in the same order, with the same sequences in each."""
    lengths, capacity = drawn

    assert listed(best_fit(np.array(lengths, dtype=np.int32), capacity)) == textbook_best_fit(lengths, capacity)


def test_many_sequences_of_a_length_are_the_packs_of_the_textbook():
    """What is placed in bulk is what would be placed one by one: 5,000 sequences, lengths as of conversations."""
    draw = np.random.default_rng(0)
    lengths = np.minimum(draw.lognormal(4.0, 1.0, 5000).astype(int) + 1, 512)

    assert listed(best_fit(lengths, 512)) == textbook_best_fit(lengths.tolist(), 512)


@given(SETS)
def test_packing_in_order_keeps_the_order(drawn):
    """The packs of next-fit, whose sequences read in a row are those of the set."""
    lengths, capacity = drawn
    packs = in_order(np.array(lengths, dtype=np.int64), capacity)

    assert packs.sequences_N.tolist() == list(range(len(lengths)))
    assert listed(packs) == textbook_next_fit(lengths, capacity)


@given(TWO_SIDED, st.integers(1, 20))
def test_batches_of_similar_length_fit_on_both_sides(drawn, window):
    """Every sequence once and in its window; no batch is over a capacity, padding counted, nor closed too early."""
    sides = np.array(drawn).T
    packs = of_similar_length(list(sides), [40, 25], window=window)
    batches = listed(packs)

    assert sorted(packs.sequences_N.tolist()) == list(range(len(drawn)))
    assert [n // window for n in packs.sequences_N] == sorted(n // window for n in range(len(drawn)))
    for batch, following in zip(batches, [*batches[1:], None], strict=True):
        assert fits(sides, batch)
        if following and following[0] // window == batch[0] // window:
            assert not fits(sides, [*batch, following[0]])


def fits(sides: np.ndarray, batch: list[int]) -> bool:
    """Tell whether a padded batch keeps to 40 tokens of the text and 25 of the answer."""
    return all(len(batch) * side[batch].max() <= most for side, most in zip(sides, (40, 25), strict=True))


def test_two_sides_are_both_of_similar_length():
    """Though they are independent, four fifths of what is computed is real; sorted by the first alone, 57 % is."""
    draw = np.random.default_rng(0)
    sides = [np.minimum(draw.lognormal(4.0, 0.7, 8192).astype(int) + 1, 512) for _ in range(2)]
    batches = listed(of_similar_length(sides, [8192, 8192]))

    computed = sum(len(batch) * side[batch].max() for batch in batches for side in sides)
    assert sum(map(np.sum, sides)) / computed > 0.8


def test_one_side_is_sorted_longest_first_in_each_window():
    """Two windows of three; each batch holds at most six tokens."""
    packs = of_similar_length([np.array([1, 6, 2, 3, 3, 1])], [6], window=3)

    assert listed(packs) == [[1], [2, 0], [3, 4], [5]]


def test_equal_lengths_stand_in_the_order_of_their_numbers():
    """A tie is never left to chance, whatever the way."""
    lengths = np.full(7, 3)
    together = [[0, 1, 2], [3, 4, 5], [6]]

    assert listed(best_fit(lengths, 10)) == listed(in_order(lengths, 10)) == together
    assert listed(of_similar_length([lengths, lengths], [10, 10])) == together


def test_nothing_packs_into_nothing():
    """No sequences, no packs."""
    nothing = np.array([], dtype=np.int64)

    assert [
        len(packs) for packs in (best_fit(nothing, 8), in_order(nothing, 8), of_similar_length([nothing], [8]))
    ] == [
        0,
        0,
        0,
    ]


@pytest.mark.parametrize("lengths", [[1, 9], [0, 3]])
def test_a_length_outside_the_capacity_is_the_callers_mistake(lengths):
    """Cutting comes before packing, and an empty sequence is none."""
    for pack in (best_fit, in_order, lambda lengths, capacity: of_similar_length([lengths], [capacity])):
        with pytest.raises(ValueError, match=r"Lengths must be from 1 to the capacity 8, and are from \d to \d\."):
            pack(np.array(lengths), 8)


def test_sides_must_have_equally_many_sequences():
    """A text without an answer is the caller's mistake."""
    with pytest.raises(ValueError, match="they have 2 and 1"):
        of_similar_length([np.array([1, 2]), np.array([1])], [4, 4])
