"""Rows that stay in memory between two readings: the last ones, and never those of a file that has changed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_models import tiny_folder

from formtune import pipeline, preparation, preparing
from formtune.dialects.streaming import Plan, records_of
from formtune.kept_rows import KeptRows
from formtune.prepared import open_prepared
from formtune.recipe import Recipe, make_recipe
from formtune.records import LeftOut, Record
from formtune.sources import Slice

ROWS = [[LeftOut("no answer")]]


def reviews(path: Path, word: str = "fine", n_rows: int = 60) -> Path:
    """Write labelled texts; nothing but the word tells two files of them apart."""
    rows = [{"text": f"a {word} film, {n:03}", "label": ("good", "bad")[n % 2]} for n in range(n_rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_oldest_make_room() -> None:
    """What does not fit at all is not kept."""
    kept = KeptRows(most_bytes=10)
    kept.put("a", ROWS, 4)
    kept.put("b", ROWS, 6)
    kept.put("c", ROWS, 1)
    kept.put("d", ROWS, 11)
    assert [kept.take(key) for key in "abcd"] == [None, None, None, None]
    kept.put("a", ROWS, 10)
    assert (kept.take("a"), kept.take("a")) == (ROWS, None)


def test_rows_are_read_once_where_labels_are_looked_for_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """But for the first ones, which say what the data are."""
    read: list[int] = []

    def seen(plan: Plan, part: Slice) -> Iterator[list[Record | LeftOut]]:
        read.append(part.first_line)
        return records_of(plan, part)

    monkeypatch.setattr(preparation, "SLICE_BYTES", 1000)
    monkeypatch.setattr(preparing, "records_of", seen)
    pipeline.prepare(recipe(reviews(tmp_path / "a.jsonl"), tmp_path / "out"))
    assert len(read) > 2
    assert len(read) == len(set(read))


def test_a_file_that_changes_in_between_is_read_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """So that what is prepared is what its digest says."""
    path = reviews(tmp_path / "a.jsonl")
    task_of = preparation.task_of

    def changing(*given: object) -> object:
        reviews(path, "poor")
        return task_of(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(preparation, "task_of", changing)
    pipeline.prepare(recipe(path, tmp_path / "changed"))
    monkeypatch.undo()
    pipeline.prepare(recipe(path, tmp_path / "again"))

    changed, again = open_prepared(tmp_path / "changed"), open_prepared(tmp_path / "again")
    assert [changed.tokens(n).ids_T.tolist() for n in range(60)] == [again.tokens(n).ids_T.tolist() for n in range(60)]


def recipe(path: Path, out: Path) -> Recipe:
    """Ask for a class head on a tiny Llama."""
    settings = {"data": {"paths": [str(path)]}, "formats": "classification", "models": tiny_folder("llama")}
    return make_recipe({**settings, "out": str(out)})
