"""Cards and descriptions: what was measured is in them, and what is not known is not made up."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from formtune.cli import run

CSV = "text,label,stars\n" + "".join(
    f"The film is one of {n} and the best of them all,{'ab'[n % 2]},{n}\n" for n in range(50)
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "train.csv").write_text(CSV)
    (tmp_path / "films" / "test.csv").write_text("text,label,stars\nNot the same <b>film|at all</b>,a,4.5\n")
    return tmp_path / "films"


def described(folder: Path, *arguments: str) -> None:
    files = ("--train", str(folder / "train.csv"), "--test", str(folder / "test.csv"))
    assert run(["check", *files, "--quiet", "--fail-on", "none", *arguments]) == 0


def test_a_card_says_what_was_measured(
    folder: Path, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And lists what is not known."""
    monkeypatch.chdir(folder)
    described(Path(), "--card", "README.md", "--only", "duplicates,balance,turns")
    golden("checks/card.md", (folder / "README.md").read_text())


def test_only_an_older_card_is_written_over(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A README of somebody's own stays."""
    card = folder / "README.md"
    for _ in range(2):
        described(folder, "--card", str(card), "--only", "balance")
    card.write_text("# How to build\n")
    assert run(["check", str(folder / "train.csv"), "--only", "balance", "--card", str(card)]) == 2
    assert capsys.readouterr().err == "--card: Another file stands there. Name a new one, or take that one away.\n"
    assert card.read_text() == "# How to build\n"


def test_the_front_matter_is_what_the_hub_reads(folder: Path) -> None:
    """Paths are seen from the card; the license is not made up."""
    described(folder, "--card", str(folder / "README.md"), "--only", "balance")
    front = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
    assert front == {
        "pretty_name": "films",
        "license": "unknown",
        "language": ["en"],
        "task_categories": ["text-classification"],
        "size_categories": ["n<1K"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": "train.csv"}, {"split": "test", "path": "test.csv"}],
            }
        ],
    }


def croissant(folder: Path) -> dict[str, Any]:
    described(folder, "--croissant", str(folder / "croissant.json"), "--only", "balance")
    found: dict[str, Any] = json.loads((folder / "croissant.json").read_text())
    return found


def test_croissant_names_files_by_their_digests(folder: Path) -> None:
    """As a loader checks them."""
    found = croissant(folder)
    assert (found["@type"], found["conformsTo"]) == ("sc:Dataset", "http://mlcommons.org/croissant/1.1")
    train = found["distribution"][0]
    assert train == {
        "@type": "cr:FileObject",
        "@id": "train.csv",
        "name": "train.csv",
        "contentUrl": "train.csv",
        "contentSize": f"{len(CSV)} B",
        "encodingFormat": "text/csv",
        "sha256": hashlib.sha256(CSV.encode()).hexdigest(),
    }
    assert not {"license", "url", "creator", "datePublished"} & set(found)


def test_croissant_describes_columns(folder: Path) -> None:
    """Every id is unique, and every source is a file that is described."""
    found = croissant(folder)
    fields = [field for record_set in found["recordSet"] for field in record_set["field"]]
    assert [field["name"] for field in fields] == ["text", "label", "stars"] * 2
    ids = [one["@id"] for one in (*found["distribution"], *found["recordSet"], *fields)]
    assert len(ids) == len(set(ids))
    assert {field["source"]["fileObject"]["@id"] for field in fields} == {"train.csv", "test.csv"}


def test_types_are_the_widest_that_stand_in_a_column(tmp_path: Path) -> None:
    """Lists and objects are named and not described."""
    rows: list[dict[str, object]] = [
        {"text": "The end of the film", "label": "a", "n": 1, "x": 1, "ok": True, "mixed": 1, "tags": ["a"]},
        {"text": "The end of the book", "label": "b", "n": None, "x": 1.5, "ok": False, "mixed": "1", "tags": []},
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "c.json"
    assert run(["check", str(path), "--croissant", str(out), "--quiet", "--fail-on", "none"]) == 0
    (one,) = json.loads(out.read_text())["recordSet"]
    assert {field["name"]: field["dataType"] for field in one["field"]} == {
        "text": "sc:Text",
        "label": "sc:Text",
        "n": "sc:Integer",
        "x": "sc:Float",
        "ok": "sc:Boolean",
        "mixed": "sc:Text",
    }
    assert one["description"] == "Columns that hold lists or objects are not described: tags."


def test_what_is_written_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With what its owner has to fill in; a place that cannot be written names its flag."""
    path = str(folder / "train.csv")
    assert run(["check", path, "--json", "--only", "balance", "--croissant", str(folder / "c.json")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["croissant"] == {
        "out": str(folder / "c.json"),
        "unknown": ["license", "url", "creator", "datePublished"],
    }
    (folder / "file").write_text("")
    assert run(["check", path, "--only", "balance", "--card", str(folder / "file" / "README.md")]) == 2
    assert capsys.readouterr().err.startswith("--card: ")
