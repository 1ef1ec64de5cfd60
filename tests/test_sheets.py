"""Sheets: sequences put together from pieces, taken apart, joined, and the same as tokens one by one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from formtune.assembly import Bearing
from formtune.columnar import COLUMNS
from formtune.sheets import Group, Piece, Pool, assemble, joined, sheet_of, spread, take
from formtune.tokens import Tokens

BEARINGS = [Bearing(0, 0.0, 0, 0), Bearing(1, 0.0, 2, 1), Bearing(2, 0.5, 0, 0), Bearing(2, 1.0, 0, 0)]


@st.composite
def sequences(draw: st.DrawFn) -> Tokens:
    """Draw a sequence, perhaps empty, whose tokens carry this and that."""
    ids = draw(st.lists(st.integers(0, 99), max_size=12))
    masked = draw(st.lists(st.integers(0, 99), min_size=len(ids), max_size=len(ids)))
    carried = draw(st.lists(st.sampled_from(BEARINGS), min_size=len(ids), max_size=len(ids)))
    return Tokens(
        "",
        ids_T=np.array(ids, dtype=np.int32),
        labels_T=np.array(masked if draw(st.booleans()) else ids, dtype=np.int32),
        weights_T=np.array([b.weight for b in carried], dtype=np.float32),
        parts_T=np.array([b.part for b in carried], dtype=np.uint8),
        types_T=np.array([b.type for b in carried], dtype=np.uint8),
        cuts_T=np.array([b.cut for b in carried], dtype=np.uint8),
    )


def same(one: Tokens, other: Tokens) -> bool:
    """Tell whether two sequences are the same in every column."""
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in COLUMNS)


@given(st.lists(sequences(), max_size=6))
def test_a_sheet_gives_back_what_was_laid_out(tokens: list[Tokens]) -> None:
    """Ids, labels, weights, parts, types and cuts, and the number of tokens that are learned."""
    sheet = sheet_of(tokens)

    assert len(sheet) == len(tokens)
    assert all(same(sheet.tokens(n), one) for n, one in enumerate(tokens))
    assert sheet.n_learned().tolist() == [int((one.weights_T > 0).sum()) for one in tokens]
    weights_T, parts_T = sheet.carried()
    assert weights_T.tolist() == [weight for one in tokens for weight in one.weights_T.tolist()]
    assert parts_T.tolist() == [part for one in tokens for part in one.parts_T.tolist()]
    assert list(sheet.bearings) == sorted(set(sheet.bearings))


@given(st.lists(sequences(), min_size=1, max_size=6), st.data())
def test_any_sequences_can_be_taken_in_any_order(tokens: list[Tokens], data: st.DataObject) -> None:
    """Also one twice; bearings that are no longer used are gone."""
    places = data.draw(st.lists(st.integers(0, len(tokens) - 1), max_size=8))
    sheet = take(sheet_of(tokens), np.array(places, dtype=np.int64))

    assert all(same(sheet.tokens(n), tokens[place]) for n, place in enumerate(places))
    assert set(sheet.bearings_R.tolist()) == set(range(len(sheet.bearings)))


@given(st.lists(sequences(), max_size=4), st.lists(sequences(), max_size=4))
def test_joined_sheets_are_those_of_all_sequences(first: list[Tokens], second: list[Tokens]) -> None:
    """Whether labels differ in one of them only, or bearings are others."""
    sheet = joined([sheet_of(first), sheet_of(second)])

    assert len(sheet) == len(first) + len(second)
    assert all(same(sheet.tokens(n), one) for n, one in enumerate([*first, *second]))


def test_groups_are_woven_together_by_their_numbers() -> None:
    """A piece that is the same in all sequences is told by one number; empty pieces leave no run."""
    pool = Pool(np.arange(10, dtype=np.int32))
    scaffold, content = BEARINGS[0], BEARINGS[1]
    pieces = [Piece(0, 2, scaffold), Piece(np.array([5, 7]), np.array([2, 0]), content), Piece(2, 1, scaffold)]
    groups = [Group(np.array([0, 2]), pieces), Group(np.array([1]), [Piece(9, 1, content)])]

    sheet = assemble(groups, pool, n_sequences=3)

    assert [sheet.tokens(n).ids_T.tolist() for n in range(3)] == [[0, 1, 5, 6, 2], [9], [0, 1, 2]]
    assert sheet.runs_N.tolist() == [3, 4, 5]
    assert sheet.run_ends_R.tolist() == [2, 4, 5, 1, 3]


def test_stretches_are_listed_place_by_place() -> None:
    """None at all is an empty list."""
    assert spread(np.array([], dtype=np.int64), np.array([], dtype=np.int64)).tolist() == []
    assert spread(np.array([4, 0]), np.array([1, 2])).tolist() == [4, 0, 1]
