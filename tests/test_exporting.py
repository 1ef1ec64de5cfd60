"""Prepared sequences as other trainers read them."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from formtune import exported_rows
from formtune.errors import DataError, SettingError
from formtune.exported_rows import IGNORED, Prepared
from formtune.exporting import PACKED, TRAINERS, export_packed, export_sequences
from formtune.shards import read_manifest

LEARNED = {(5, 6, 7, 8): (0, 0, 1, 1), (9,): (0,), (5, 9, 5): (0, 1, 0)}  # weights by ids


def sequence(ids: tuple[int, ...], weights: tuple[float, ...]) -> Prepared:
    """Make a sequence whose parts are all alike."""
    return np.array(ids, np.int32), np.array(weights, np.float32), np.zeros(len(ids), np.uint8)


def rows_in(folder: Path) -> list[dict[str, list[int]]]:
    """Read what was written, whatever its layout."""
    if (folder / "train.parquet").is_file():
        return pq.read_table(folder / "train.parquet").to_pylist()
    files = json.loads((folder / "state.json").read_text())["_data_files"]
    with pa.memory_map(str(folder / files[0]["filename"])) as source:
        return pa.ipc.open_stream(source).read_all().to_pylist()


@pytest.mark.parametrize("to", TRAINERS)
def test_every_trainer_gets_the_same_ids_and_what_is_learned(to, tmp_path, monkeypatch):
    """A label is the id where the weight is 1, and -100 elsewhere; slices leave no trace."""
    monkeypatch.setattr(exported_rows, "SLICE_TOKENS", 4)
    exported = export_sequences((sequence(*one) for one in LEARNED.items()), to=to, out=tmp_path / "out")
    rows = rows_in(tmp_path / "out")

    assert [row["input_ids"] for row in rows] == [list(ids) for ids in LEARNED]
    assert [row["labels"] for row in rows] == [[IGNORED, IGNORED, 7, 8], [IGNORED], [IGNORED, 9, IGNORED]]
    assert set(rows[0]) == set(TRAINERS[to].columns)
    assert all(row.get("attention_mask", [1] * len(row["input_ids"])) == [1] * len(row["input_ids"]) for row in rows)
    assert (exported.n_sequences, exported.n_tokens, exported.n_learned, exported.n_unlearned) == (3, 8, 3, 1)
    assert exported.longest == 4
    assert str(tmp_path / "out") in exported.use


def test_what_is_told_can_be_pasted_into_settings_in_yaml():
    """LLaMA-Factory's and axolotl's: a setting to a line."""
    for trainer in (TRAINERS["llamafactory"], TRAINERS["axolotl"]):
        assert "out" in str(yaml.safe_load(trainer.use.format(out="out", longest=8)))
    packed = yaml.safe_load(PACKED["llamafactory"].use.format(out="out"))
    assert packed == {"tokenized_path": "out", "neat_packing": True}


def test_limits_of_the_trainers_own_are_told_where_rows_would_be_cut(tmp_path):
    """TRL cuts at 1,024 tokens by default, axolotl drops what is longer than it is told."""
    for to, told in (("trl", "max_length=4,"), ("axolotl", "sequence_len: 4\n")):
        assert told in export_sequences([sequence((5, 6, 7, 8), (0, 0, 1, 1))], to=to, out=tmp_path / to).use


def test_the_folder_says_what_it_holds(tmp_path):
    """A manifest with counts and digests; the same sequences give the same files."""
    for name in ("one", "two"):
        export_sequences([sequence(*one) for one in LEARNED.items()], to="llamafactory", out=tmp_path / name)
    one, two = (read_manifest(tmp_path / name, kind="exported") for name in ("one", "two"))

    assert one == two
    counts = {"sequences": 3, "tokens": 8, "learned_tokens": 3, "unlearned_sequences": 1, "longest": 4}
    assert {key: one[key] for key in counts} == counts


def test_other_rows_have_another_fingerprint(tmp_path):
    """`datasets` keeps what it makes of a data set under it."""
    found = set()
    for ids in ((5, 6), (5, 7)):
        export_sequences([sequence(ids, (0, 1))], to="llamafactory", out=tmp_path / "out")
        found.add(json.loads((tmp_path / "out" / "state.json").read_text())["_fingerprint"])

    assert len(found) == 2


def test_weights_between_are_refused_and_nothing_is_written(tmp_path):
    """Labels cannot hold them. All sequences are looked at, so that the number told is the whole one."""
    weights = [(0, 1), (0, 0.5), (1, 1), (0.25, 0)]
    problem = (
        r"^sequence 2: A loss weight is 0\.5, and labels can only say whether a token is learned; "
        r"it is so in 2 of 4 sequences\. Prepare with weights of 0 and 1"
    )
    with pytest.raises(DataError, match=problem):
        export_sequences([sequence((5, 6), pair) for pair in weights], to="trl", out=tmp_path / "out")

    assert list(tmp_path.iterdir()) == []


def test_an_unknown_trainer_is_told_with_the_nearest(tmp_path):
    """Before anything is written."""
    with pytest.raises(SettingError, match=r"--to: There is no trainer 'axolotel'; the nearest is 'axolotl'"):
        export_sequences([], to="axolotel", out=tmp_path / "out")


def test_a_sequence_without_tokens_is_the_callers_mistake(tmp_path):
    """So are ids and weights of different lengths."""
    for ids, weights in (((), ()), ((5, 6), (1,))):
        with pytest.raises(ValueError, match="A sequence has"):
            export_sequences([sequence(ids, weights)], to="trl", out=tmp_path / "out")


@pytest.mark.parametrize("to", PACKED)
def test_a_row_of_several_says_where_each_ends(to, tmp_path, monkeypatch):
    """Its first tokens are not learned, since another sequence stands before; slices leave no trace."""
    monkeypatch.setattr(exported_rows, "SLICE_TOKENS", 4)
    first, second, third = (sequence(ids, (1,) * len(ids)) for ids in ((5, 6, 7), (8, 9), (5, 5)))
    exported = export_packed([[first, second], [third]], to=to, out=tmp_path / "out", capacity=5)
    one, two = rows_in(tmp_path / "out")

    told = {
        "trl": {
            "input_ids": ([5, 6, 7, 8, 9], [5, 5]),
            "labels": ([IGNORED, 6, 7, IGNORED, 9], [IGNORED, 5]),
            "seq_lengths": ([3, 2], [2]),
        },
        "llamafactory": {
            "input_ids": ([5, 6, 7, 8, 9, 0, 0, 0], [5, 5, 0, 0, 0, 0, 0, 0]),
            "attention_mask": ([1, 1, 1, 2, 2, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0]),
            "position_ids": ([0, 1, 2, 0, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0]),
            "labels": ([IGNORED, 6, 7, IGNORED, 9] + [IGNORED] * 3, [IGNORED, 5] + [IGNORED] * 6),
        },
    }[to]
    assert {name: (one[name], two[name]) for name in one} == told
    counts = (exported.n_rows, exported.n_sequences, exported.n_tokens, exported.n_learned, exported.n_unlearned)
    assert counts == (2, 3, 7, 4, 0)


def test_rows_of_more_sequences_than_a_byte_counts(tmp_path):
    """Each keeps its own number."""
    many = [sequence((5,), (0,)) for _ in range(300)]
    export_packed([many], to="llamafactory", out=tmp_path / "out", capacity=300)
    (row,) = rows_in(tmp_path / "out")
    assert row["attention_mask"] == [*range(1, 301), 0, 0, 0, 0]


def test_a_trainer_that_would_mix_sequences_is_refused(tmp_path):
    """With what to do instead."""
    with pytest.raises(SettingError, match=r"^--packed: In axolotl .* sample_packing: true\."):
        export_packed([], to="axolotl", out=tmp_path / "out", capacity=8)
