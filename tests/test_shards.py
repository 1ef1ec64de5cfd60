"""Artefacts: whole or absent, and checked when they are read."""

import errno
import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from formtune.errors import DataError, SettingError
from formtune.shards import check_place, discard, read_manifest, staged, sweep


def test_a_folder_appears_whole_with_its_manifest(tmp_path: Path) -> None:
    """The manifest names every file by its digest."""
    place = tmp_path / "run"
    with staged(place, {"kind": "run", "rows": 3}) as staging:
        (staging / "a.txt").write_text("hello")
        assert not place.exists()

    manifest = read_manifest(place, kind="run")
    assert manifest["rows"] == 3
    assert manifest["files"] == {"a.txt": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"}
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_digests_that_are_known_are_not_made_again(tmp_path: Path) -> None:
    """Whoever says a wrong one has the file refused when it is read."""
    with staged(tmp_path / "run", {"kind": "run"}, known={"a.txt": "0" * 64}) as staging:
        (staging / "a.txt").write_text("hello")
        (staging / "b.txt").write_text("there")

    with pytest.raises(DataError, match=r"a\.txt"):
        read_manifest(tmp_path / "run", kind="run")


def test_nothing_appears_when_writing_fails(tmp_path: Path) -> None:
    """Neither the folder nor its staging place."""
    with pytest.raises(RuntimeError), staged(tmp_path / "run", {"kind": "run"}) as staging:
        (staging / "a.txt").write_text("half")
        raise RuntimeError

    assert list(tmp_path.iterdir()) == []


def test_an_artefact_is_replaced_and_a_stranger_is_not(tmp_path: Path) -> None:
    """A user's folder is never removed."""
    for text in ("old", "new"):
        with staged(tmp_path / "run", {"kind": "run"}) as staging:
            (staging / "a.txt").write_text(text)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")

    assert (tmp_path / "run" / "a.txt").read_text() == "new"
    with pytest.raises(SettingError, match="was not written by formtune"), staged(tmp_path / "mine", {"kind": "run"}):
        pass
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_link_stays_one(tmp_path: Path) -> None:
    """What it leads to is written, beside which there is room; it need not be there yet."""
    disk, link = tmp_path / "disk", tmp_path / "run"
    disk.mkdir()
    link.symlink_to(disk / "run")
    for text in ("old", "new"):
        assert check_place(link, kind="run") == disk / "run"
        with staged(link, {"kind": "run"}) as staging:
            assert staging.parent == disk
            (staging / "a.txt").write_text(text)

    assert link.is_symlink()
    assert (link / "a.txt").read_text() == "new"
    assert sorted(p.name for p in (*tmp_path.iterdir(), *disk.iterdir())) == ["disk", "run", "run"]


@pytest.mark.parametrize(
    ("there", "new", "problem"),
    [
        ("run", "exported", "holds a run, which would be lost"),
        ("exported", "run", "holds an export, which would be lost"),
        ("mixture", "prepared", "holds a mixture, which would be lost"),
        ("study", "tuning", None),
    ],
)
def test_an_artefact_of_another_kind_is_not_replaced(there: str, new: str, problem: str | None, tmp_path: Path) -> None:
    """A slip in --out costs no model; what a search began it may conclude."""
    for kind in (there, new):
        expected = nullcontext() if kind == there or problem is None else pytest.raises(SettingError, match=problem)
        with expected, staged(tmp_path / "out", {"kind": kind}) as staging:
            (staging / "a.txt").write_text(kind)
        with expected:
            check_place(tmp_path / "out", kind=kind)

    assert (tmp_path / "out" / "a.txt").read_text() == (there if problem else new)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("text", ['{"name": "my extension", "manifest_version": 3}', "{", '{"kind": 1, "files": {}}'])
def test_a_manifest_of_somebody_else_is_a_stranger(text: str, tmp_path: Path) -> None:
    """Others name files so, too."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "manifest.json").write_text(text)

    with pytest.raises(SettingError, match="was not written by formtune"):
        check_place(tmp_path / "mine")
    assert (tmp_path / "mine" / "manifest.json").read_text() == text


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """A file stands where a folder is needed."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match=r"--out: .* cannot be written"), staged(tmp_path / "file" / "run", {}):
        pass


def test_a_changed_file_is_found_when_read(tmp_path: Path) -> None:
    """One flipped byte is enough."""
    with staged(tmp_path / "run", {"kind": "run"}) as staging:
        (staging / "a.txt").write_text("hello")
    (tmp_path / "run" / "a.txt").write_text("hellp")

    with pytest.raises(DataError, match="its digest differs"):
        read_manifest(tmp_path / "run", kind="run")


def test_a_folder_without_manifest_is_no_artefact(tmp_path: Path) -> None:
    """Nor is one of another kind the one that was asked for; a mixture is read as what it is made of."""
    with pytest.raises(DataError, match=r"There is no run here: manifest\.json is missing"):
        read_manifest(tmp_path, kind="run")
    (tmp_path / "manifest.json").write_text(json.dumps({"kind": "split"}))
    with pytest.raises(DataError, match="This is a split, not a run"):
        read_manifest(tmp_path, kind="run")
    (tmp_path / "manifest.json").write_text(json.dumps({"kind": "exported"}))
    with pytest.raises(DataError, match=r"This is an export, not a preparation\. Give the folder of a preparation\."):
        read_manifest(tmp_path, kind="prepared")
    (tmp_path / "manifest.json").write_text(json.dumps({"kind": "mixture", "files": {}}))
    assert read_manifest(tmp_path, kind="prepared")["kind"] == "mixture"
    with pytest.raises(DataError, match="nowhere: There is no such folder"):
        read_manifest(tmp_path / "nowhere", kind="run")
    with pytest.raises(DataError, match=r"json: This is a file\. Give the folder of a finished run\."):
        read_manifest(tmp_path / "manifest.json", kind="run")


def test_what_is_removed_is_absent_at_once(tmp_path: Path) -> None:
    """One rename, then its files; nothing is left."""
    with staged(tmp_path / "run", {"kind": "run"}) as staging:
        (staging / "a.txt").write_text("hello")
    discard(tmp_path / "run")

    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    """Of one artefact, or of all; a name that begins alike is another's."""
    left = [".run.71.part", ".run.72.gone", ".run.v2.73.part"]
    for name in (*left, ".cache", "run.part", "run"):
        (tmp_path / name).mkdir()

    sweep(tmp_path, name="run")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".cache", ".run.v2.73.part", "run", "run.part"]
    sweep(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".cache", "run", "run.part"]


def test_a_place_without_room_is_told_and_the_old_artefact_stays(tmp_path: Path) -> None:
    """Another fault of the system is not taken for that."""
    with staged(tmp_path / "run", {"kind": "run"}) as staging:
        (staging / "a.txt").write_text("old")
    problem = r"run: It cannot be written \(No space left on device\)\. Make room there, or give a folder elsewhere\."
    with pytest.raises(SettingError, match=problem), staged(tmp_path / "run", {"kind": "run"}):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(FileNotFoundError), staged(tmp_path / "run", {"kind": "run"}):
        (tmp_path / "nowhere").read_text()

    assert (tmp_path / "run" / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
