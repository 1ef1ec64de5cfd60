"""Which row holds the state of a key."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from formtune.row_index import RowIndex


def as_keys(keys: list[tuple[int, int]]) -> np.ndarray:
    return np.array(keys, dtype=np.uint64).reshape(-1, 2)


@given(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=9), max_size=12))
def test_it_is_a_dictionary_of_many_keys_at_once(pieces: list[list[int]]) -> None:
    """Added piece by piece, looked up after each; a key that comes again has its last row."""
    index, wanted, row = RowIndex(), {}, 0
    asked = as_keys([(key, 7) for key in range(42)])
    for piece in pieces:
        piece = list(dict.fromkeys(piece))
        index.add(as_keys([(key, 7) for key in piece]), np.arange(row, row + len(piece)))
        wanted |= {key: row + place for place, key in enumerate(piece)}
        row += len(piece)
        assert index.find(asked).tolist() == [wanted.get(key, -1) for key in range(42)]
    for _ in range(12):  # the index tidies itself up meanwhile
        assert index.find(asked).tolist() == [wanted.get(key, -1) for key in range(42)]


def test_half_a_key_is_not_enough() -> None:
    """Both numbers must agree."""
    index = RowIndex()
    index.add(as_keys([(3, 1)]), np.array([0]))
    assert index.find(as_keys([(3, 1), (3, 2), (4, 1)])).tolist() == [0, -1, -1]
