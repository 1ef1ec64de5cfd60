"""Predictions on disk: what is read is what was written, and equal predictions are equal files."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formtune.answers import Prediction, read_predictions, write_predictions
from formtune.errors import DataError, SettingError

CHOSEN = Prediction(
    id="a",
    answer="positive",
    confidence=0.75,
    label=1,
    probabilities=(0.25, 0.75),
    generated="Positive.",
    generated_label=1,
    n_tokens_in=12,
    n_tokens_out=2,
)
FREE = Prediction(
    id="b", answer="", valid=False, generated="", n_tokens_in=7, nll=3.5, n_target_tokens=2, n_target_bytes=9
)


def test_what_is_read_is_what_was_written(tmp_path):
    runs = {("masked_lm", 1): [CHOSEN, FREE], ("chat@smollm2-135m", 0): [FREE], ("masked_lm", 0): [CHOSEN]}
    write_predictions(tmp_path / "p.parquet", runs)

    found = read_predictions(tmp_path / "p.parquet")
    assert found == runs
    assert list(found) == list(runs)


predictions = st.builds(
    Prediction,
    id=st.text(),
    answer=st.text(),
    confidence=st.none() | st.floats(0, 1),
    valid=st.booleans(),
    label=st.none() | st.integers(0, 1000),
    probabilities=st.lists(st.floats(0, 1), max_size=3).map(tuple),
    generated=st.none() | st.text(),
    nll=st.none() | st.floats(0, 1e9),
)


@given(st.lists(predictions, min_size=1, max_size=4))
def test_any_prediction_survives(tmp_path_factory, some):
    path = tmp_path_factory.mktemp("any") / "p.parquet"
    write_predictions(path, {("arm", 0): some})

    assert read_predictions(path) == {("arm", 0): some}


def test_equal_predictions_are_equal_bytes(tmp_path):
    for name in ("one", "two"):
        write_predictions(tmp_path / name, {("arm", 0): [CHOSEN, FREE]})

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_no_predictions_are_a_file_too(tmp_path):
    write_predictions(tmp_path / "p.parquet", {})

    assert read_predictions(tmp_path / "p.parquet") == {}


def test_an_older_file_is_replaced_and_nothing_else_is_left(tmp_path):
    for predictions in ([CHOSEN], [FREE]):
        write_predictions(tmp_path / "p.parquet", {("arm", 0): predictions})

    assert read_predictions(tmp_path / "p.parquet") == {("arm", 0): [FREE]}
    assert [p.name for p in tmp_path.iterdir()] == ["p.parquet"]


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(SettingError, match=r"p\.parquet: The file cannot be written"):
        write_predictions(tmp_path / "missing" / "p.parquet", {("arm", 0): [CHOSEN]})


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "p.parquet").write_text("not parquet")

    with pytest.raises(DataError, match=r"p\.parquet: The file cannot be read"):
        read_predictions(tmp_path / "p.parquet")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_predictions(tmp_path / "p.parquet")


def test_a_file_of_something_else_is_refused(tmp_path):
    pq.write_table(pa.table({"arm": ["a"], "seed": [0]}), tmp_path / "p.parquet")

    with pytest.raises(DataError, match="it has no column 'id'"):
        read_predictions(tmp_path / "p.parquet")
