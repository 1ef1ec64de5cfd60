"""A file that is held is held by one."""

import errno
import fcntl
from pathlib import Path

import pytest

from formtune.errors import SettingError
from formtune.locks import hold_alone


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
