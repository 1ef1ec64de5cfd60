"""What a comparison writes of itself: what went in, by digest, and the metric that its checkpoints were chosen by."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_folder

from formtune import pipeline
from formtune.provenance import input_digests, split_digests
from formtune.recipe import Recipe, make_recipe
from formtune.records import Plain
from formtune.results import Compared
from formtune.shards import digest_of, read_manifest
from formtune.splits import Splits

ROWS = [
    (f"{word} film number {n}", "fresh" if word == "warm" else "rotten") for word in ("warm", "dull") for n in range(9)
]
TEXT = "text,label\n" + "".join(f"{text},{label}\n" for text, label in ROWS) + ",fresh\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of eighteen short texts, and one row without a text."""
    made = tmp_path_factory.mktemp("written")
    (made / "films.csv").write_text(TEXT)
    return made


def recipe_for(folder: Path) -> Recipe:
    settings: dict[str, Any] = {
        "data": {"paths": [str(folder / "film?.csv")], "n_train": 8, "n_dev": 4, "n_test": 4},
        "formats": "classification,masked_lm",
        "models": tiny_folder("bert"),
        "training": {"steps": 2, "batch_size": 4, "metric": "accuracy"},
        "comparison": {"seeds": 2, "resamples": 100},
        "out": str(folder / "out"),
    }
    return make_recipe(settings)


@pytest.fixture(scope="module")
def compared(folder: Path) -> Compared:
    """A comparison whose checkpoints are chosen by accuracy."""
    return pipeline.compare(recipe_for(folder))


def test_the_manifests_name_what_went_in(compared: Compared, folder: Path) -> None:
    """Files by digest, records of each part by theirs, what was left out: of the comparison and of the run inside."""
    whole = read_manifest(folder / "out", kind="comparison")
    best = read_manifest(folder / "out" / "best", kind="run")

    assert whole["inputs"] == {str(folder / "films.csv"): hashlib.sha256(TEXT.encode()).hexdigest()}
    shown = dict(compared.report.repeat.digests) if compared.report.repeat else {}
    assert {f"{name} records": digest[:16] for name, digest in whole["splits"].items()}.items() <= shown.items()
    assert whole["left_out"] == compared.values["left_out"] != []
    assert whole["models"] == {tiny_folder("bert"): best["spec"]["base_digest"]}
    shared = ("inputs", "splits", "models", "left_out")
    assert {key: best[key] for key in shared} == {key: whole[key] for key in shared}


def test_the_metric_that_checkpoints_are_chosen_by_is_drawn(compared: Compared, folder: Path) -> None:
    """In the report and in the picture of the best run; the values are those of the trace."""
    lines = [json.loads(line) for line in (folder / "out" / "traces.jsonl").read_text().splitlines()]
    seen = [line["look"]["shown"]["accuracy"] for line in lines if line["look"]]

    assert compared.report.dev_metric is not None
    assert compared.report.dev_metric.name == "accuracy"
    assert [p.metric for curve in compared.report.curves for p in curve.points if p.metric is not None] == seen
    assert "accuracy on dev records" in (folder / "out" / "report.html").read_text()
    assert "accuracy on the dev records" in (folder / "out" / "best" / "trace.svg").read_text()


def test_what_is_no_file_has_no_digest(tmp_path: Path) -> None:
    """Standard input, an address on the Hub, the name of a column, a file that has gone."""
    assert input_digests(["-", "hf://me/films", "text", str(tmp_path), str(tmp_path / "gone.csv")]) == {}


def test_the_digest_of_a_part_is_that_of_its_records_ids() -> None:
    """In their order."""
    one, other = Plain(text="a", id="1"), Plain(text="b", id="2")
    found = split_digests(Splits(train=[one, other], dev=[other], test=[], left_out=[]))
    assert found == {"train": digest_of(["1", "2"]), "dev": digest_of(["2"]), "test": digest_of([])}
