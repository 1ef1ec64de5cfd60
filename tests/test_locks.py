"""A file that is held is held by one."""

import errno
import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from formtune import locks
from formtune.errors import SettingError
from formtune.locks import held_folder, hold_alone, passing_folder


def test_who_comes_second_is_told_until_the_first_is_done(tmp_path: Path) -> None:
    """Closing the file gives it free."""
    place = tmp_path / "lock"
    with place.open("a") as first, place.open("a") as second:
        hold_alone(first, at=place, busy="It is taken.", remedy="Wait.")
        with pytest.raises(SettingError, match=r"lock: It is taken\. Wait\."):
            hold_alone(second, at=place, busy="It is taken.", remedy="Wait.")
        first.close()
        hold_alone(second, at=place, busy="It is taken.", remedy="Wait.")


def test_a_file_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what helps, not as a traceback."""

    def refuse(*_args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        (tmp_path / "lock").open("a") as file,
        pytest.raises(SettingError, match=r"\(No locks available\). Give an --out"),
    ):
        hold_alone(file, at=tmp_path, busy="It is taken.", remedy="Wait.")


def test_a_folder_that_is_removed_while_it_is_opened_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever held it before removes it in the end; a lock on what is gone would hold nobody off."""
    folder, ends = tmp_path / "work", [lambda: shutil.rmtree(folder)]

    def late(*given: object, **told: object) -> None:
        if ends:
            ends.pop()()
        hold_alone(*given, **told)  # type: ignore[arg-type]

    monkeypatch.setattr(locks, "hold_alone", late)
    with held_folder(folder, "lock", keeps="shard", busy="It is taken."):
        assert (folder / "lock").is_file()
        with (
            pytest.raises(SettingError, match="It is taken"),
            held_folder(folder, "lock", keeps="shard", busy="It is taken."),
        ):
            pass


def test_a_passing_folder_goes_with_its_block(tmp_path: Path) -> None:
    """With all that is in it, however the block ends."""
    with pytest.raises(RuntimeError), passing_folder(tmp_path, "a[1].jsonl") as folder:
        (folder / "half").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_nothing_that_lives(tmp_path: Path) -> None:
    """A process that is ended by SIGKILL holds nothing any more."""
    program = (
        "import sys; from pathlib import Path; from formtune.locks import passing_folder\n"
        "with passing_folder(Path(sys.argv[1]), 'a[1].jsonl') as folder:\n"
        "    (folder / 'half').write_text('x'); print(folder, flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        theirs = Path(process.stdout.readline().strip())
        with passing_folder(tmp_path, "a[1].jsonl"):
            assert (theirs / "half").is_file()
        process.kill()
    with passing_folder(tmp_path, "other.jsonl"):
        assert (theirs / "half").is_file()
    with passing_folder(tmp_path, "a[1].jsonl") as ours:
        assert not theirs.parent.exists()
        assert ours.is_dir()
