"""Prepared folders for other trainers: every sequence as often as it is met, or the rows of the packs."""

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prepared_folders import conversations, model_folder, prepared, three

from formtune import pipeline, prepared_export
from formtune.errors import DataError, SettingError
from formtune.exported_rows import IGNORED
from formtune.prepared import open_prepared
from formtune.recipe import make_recipe


def rows_in(folder: Path) -> list[dict[str, list[int]]]:
    """Read what was written for a trainer."""
    if (folder / "train.parquet").is_file():
        return pq.read_table(folder / "train.parquet").to_pylist()
    with pa.memory_map(str(folder / "data-00000-of-00001.arrow")) as source:
        return pa.ipc.open_stream(source).read_all().to_pylist()


def test_sequences_go_over_as_they_are(tmp_path: Path) -> None:
    """In the order of the data; a label is the id where it is learned."""
    folder, *_ = three(tmp_path)
    found = pipeline.export(str(folder), to="axolotl", out=str(tmp_path / "out"))
    opened, rows = open_prepared(folder), rows_in(tmp_path / "out")

    assert [row["input_ids"] for row in rows] == [opened.tokens(n).ids_T.tolist() for n in range(40)]
    for number, row in enumerate(rows):
        one = opened.tokens(number)
        labels = [id_ if weight else IGNORED for id_, weight in zip(one.ids_T, one.weights_T, strict=True)]
        assert row["labels"] == labels
    assert (found["rows"], found["sequences"]) == (40, 40)
    assert found["use"].startswith(f"sequence_len: {max(len(row['input_ids']) for row in rows)}")


@pytest.mark.parametrize("block", [7, 4096])
def test_a_mixture_goes_over_as_it_is_met(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sequence that is drawn three times stands there three times, at its places; blocks leave no trace."""
    monkeypatch.setattr(prepared_export, "BLOCK", block)
    folders = [str(folder) for folder in three(tmp_path)]
    asked = {"data": {"paths": folders}, "mixing": {"temperature": 1e6}, "out": str(tmp_path / "m")}
    pipeline.mix(make_recipe(asked))
    pipeline.export(str(tmp_path / "m"), to="trl", out=str(tmp_path / "out"))
    opened = open_prepared(tmp_path / "m")
    assert [row["input_ids"] for row in rows_in(tmp_path / "out")] == [
        opened.tokens(n).ids_T.tolist() for n in opened.drawn_D.tolist()
    ]


@pytest.mark.parametrize("to", ["trl", "llamafactory"])
def test_rows_are_those_of_the_packs(to: str, tmp_path: Path) -> None:
    """Each with what tells the trainer where a sequence ends, and none learned from the one before."""
    model = model_folder(tmp_path / "model")
    data = conversations(tmp_path / "a.jsonl", ["why " * n for n in range(1, 9)])
    folder = prepared(tmp_path / "a", data, model=model, pack_tokens=100)
    found = pipeline.export(str(folder), to=to, packed=True, out=str(tmp_path / "out"))
    opened, rows = open_prepared(folder), rows_in(tmp_path / "out")

    assert len(rows) == found["rows"] == len(opened.packs) < 8
    assert found["sequences"] == 8
    for number, row in enumerate(rows):
        ids = [opened.tokens(n).ids_T.tolist() for n in opened.packs[number].tolist()]
        lengths = list(map(len, ids))
        n_tokens = sum(lengths)
        assert row["input_ids"][:n_tokens] == [id_ for one in ids for id_ in one]
        if to == "trl":
            assert row["seq_lengths"] == lengths
            assert len(row["input_ids"]) == n_tokens
        else:
            assert row["position_ids"][:n_tokens] == [place for n in lengths for place in range(n)]
            assert row["attention_mask"][:n_tokens] == [k + 1 for k, n in enumerate(lengths) for _ in range(n)]
            n_more = 104 - n_tokens
            assert [row[name][n_tokens:] for name in row] == [
                [IGNORED if name == "labels" else 0] * n_more for name in row
            ]


def test_axolotl_packs_itself(tmp_path: Path) -> None:
    """It would count positions through a row, and let one sequence see the other."""
    folder, *_ = three(tmp_path)
    with pytest.raises(
        SettingError, match=r"--packed: .* Export without --packed, and let it pack: sample_packing: true"
    ):
        pipeline.export(str(folder), to="axolotl", packed=True, out=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("packed", [False, True])
def test_a_weight_that_labels_cannot_hold_is_told_with_its_place(packed: bool, tmp_path: Path) -> None:
    """The line of the data, whatever the order in which sequences are written."""
    data = conversations(tmp_path / "a.jsonl", ["why?", "how so, and since when?"])
    turns = [{"role": "user", "content": "and?"}, {"role": "assistant", "content": "no", "weight": 0.5}]
    data.write_text(data.read_text() + json.dumps({"messages": turns}) + "\n")
    folder = prepared(tmp_path / "a", data, model=model_folder(tmp_path / "model"), packing="similar-length")

    with pytest.raises(DataError, match=r"a\.jsonl:3: A loss weight is 0\.5, .* in 1 of 3 sequences"):
        pipeline.export(str(folder), to="trl", packed=packed, out=str(tmp_path / "e"))
    assert not (tmp_path / "e").exists()


def test_the_folder_itself_is_not_written_over(tmp_path: Path) -> None:
    """Nor is any other that is no export; what a killed export left is removed."""
    folder, *_ = three(tmp_path)
    with pytest.raises(SettingError, match=r"--out: .*a' holds a preparation, which would be lost"):
        pipeline.export(str(folder), to="trl", out=str(folder))
    (tmp_path / ".e.71.part").mkdir()
    for to in ("trl", "axolotl"):
        pipeline.export(str(folder), to=to, out=str(tmp_path / "e"))

    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".e", "e."))]


def test_a_trainer_is_named(tmp_path: Path) -> None:
    """Before the folder is read."""
    with pytest.raises(SettingError, match=r"--to: Nothing says for which trainer\. Choose from: trl, axolotl"):
        pipeline.export(str(tmp_path / "nowhere"), to=None, out=str(tmp_path / "out"))
    with pytest.raises(SettingError, match="--to: There is no trainer 'trll'; the nearest is 'trl'"):
        pipeline.export(str(tmp_path / "nowhere"), to="trll", out=str(tmp_path / "out"))
    with pytest.raises(DataError, match="There is no such folder"):
        pipeline.export(str(tmp_path / "nowhere"), to="trl", out=str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("kind", "format_", "problem"),
    [
        ("t5", "seq2seq", "Its sequences are those of an encoder-decoder"),
        ("bert", "classification", "Its answers are read off a class head"),
        ("bert", "masked_lm", "Its answers fill mask slots"),
    ],
)
def test_what_is_no_text_of_a_decoder_is_refused(kind: str, format_: str, problem: str, tmp_path: Path) -> None:
    """Those trainers know no other loss."""
    data = tmp_path / "labels.csv"
    data.write_text("text,label\nlovely,good\ndull,bad\n")
    folder = prepared(tmp_path / "it", data, model=model_folder(tmp_path / "model", kind=kind), format_=format_)
    with pytest.raises(DataError, match=problem):
        pipeline.export(str(folder), to="trl", out=str(tmp_path / "out"))


def test_places_that_are_drawn_anew_are_refused(tmp_path: Path) -> None:
    """They are no fixed labels."""
    data = tmp_path / "plain.jsonl"
    data.write_text("".join(json.dumps({"text": f"a text {n}"}) + "\n" for n in range(4)))
    model = model_folder(tmp_path / "model", kind="bert")
    folder = prepared(tmp_path / "it", data, model=model, format_="masked_lm")
    with pytest.raises(DataError, match="Places are drawn anew in each epoch"):
        pipeline.export(str(folder), to="trl", out=str(tmp_path / "out"))


def test_the_counts_are_those_of_the_folder(tmp_path: Path) -> None:
    """As prepared, so exported: in rows or not."""
    folder, *_ = three(tmp_path)
    told = [
        pipeline.export(str(folder), to="trl", packed=packed, out=str(tmp_path / "out")) for packed in (False, True)
    ]
    manifest = open_prepared(folder).manifest
    assert Counter((one["tokens"], one["learned_tokens"]) for one in told) == {
        (manifest["tokens"], manifest["learned_tokens"]): 2
    }
