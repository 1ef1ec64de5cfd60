"""States on disk: whole or absent whatever happens, shared by processes, bounded."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from formtune import state_folder
from formtune.errors import SettingError
from formtune.state_folder import cleared, kept
from formtune.state_store import StateStore

WIDTH = 4
PLENTY = 10**9


def opened(root: Path, name: str = "one", *, limit_bytes: int = PLENTY) -> StateStore:
    return StateStore(
        root / name, {"model": name}, width=WIDTH, dtype=np.dtype(np.float32), limit_bytes=limit_bytes
    )  # fmt: skip


def states_of(numbers: range) -> tuple[np.ndarray, np.ndarray]:
    """Keys, and states that say which they belong to."""
    keys_N2 = np.array([[n * 7919, n] for n in numbers], dtype=np.uint64)
    return keys_N2, np.array([[n + d / 8 for d in range(WIDTH)] for n in numbers], dtype=np.float32)


def put(store: StateStore, numbers: range) -> None:
    store.keep(*states_of(numbers))


def there(store: StateStore, numbers: range) -> list[int]:
    """Which of some states are found, each of them as it was written."""
    keys_N2, states_ND = states_of(numbers)
    rows_N = store.find(keys_N2)
    known = rows_N >= 0
    assert np.array_equal(store.read(rows_N[known]), states_ND[known])
    return np.array(numbers)[known].tolist()


def test_what_is_kept_is_found_by_others_and_later(tmp_path: Path) -> None:
    """By a store that was open before, and by one that is opened afterwards."""
    before, writer = opened(tmp_path), opened(tmp_path)
    put(writer, range(3))
    put(writer, range(2, 5))

    for store in (before, writer, opened(tmp_path)):
        assert there(store, range(7)) == [0, 1, 2, 3, 4]
        assert store.size_bytes == 5 * WIDTH * 4


def test_before_something_is_kept_nothing_is_written(tmp_path: Path) -> None:
    """Neither by opening nor by looking."""
    store = opened(tmp_path / "states")
    assert there(store, range(3)) == []
    assert not (tmp_path / "states").exists()
    store.close()


def test_a_place_in_a_folder_that_is_read_alone_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nothing is written yet."""
    monkeypatch.setattr(os, "access", lambda _path, mode: not mode & os.W_OK)
    with pytest.raises(SettingError, match=r"model\.cache_trunk: .*\(Permission denied\).*FORMTUNE_CACHE"):
        opened(tmp_path / "states")


def test_two_stores_that_write_in_turn_keep_each_state_once(tmp_path: Path) -> None:
    """The second sees what the first has written before it writes."""
    one, other = opened(tmp_path), opened(tmp_path)
    put(one, range(4))
    put(other, range(2, 6))
    put(one, range(4, 8))

    assert there(opened(tmp_path), range(9)) == list(range(8))
    assert one.size_bytes == other.size_bytes + 2 * WIDTH * 4 == 8 * WIDTH * 4


@pytest.mark.parametrize(("name", "n_bytes"), [("states", 21), ("keys", 9), ("commits", 13)])
def test_what_an_ended_process_had_begun_is_absent(name: str, n_bytes: int, tmp_path: Path) -> None:
    """Whatever file it was at; what others write afterwards stands behind it."""
    put(opened(tmp_path), range(3))
    with (tmp_path / "one" / name).open("ab") as file:
        file.write(b"\x55" * n_bytes)
    put(opened(tmp_path), range(3, 6))

    found = opened(tmp_path)
    assert there(found, range(7)) == [0, 1, 2, 3, 4, 5]
    assert found.n_damaged == 0


@pytest.mark.parametrize("name", ["states", "keys"])
def test_a_damaged_piece_is_absent_and_counted_and_can_be_written_again(name: str, tmp_path: Path) -> None:
    """Other pieces stay."""
    writer = opened(tmp_path)
    put(writer, range(3))
    put(writer, range(3, 6))
    path = tmp_path / "one" / name
    raw = bytearray(path.read_bytes())
    raw[5] ^= 1
    path.write_bytes(raw)

    found = opened(tmp_path)
    assert there(found, range(6)) == [3, 4, 5]
    assert found.n_damaged == 3
    put(found, range(3))
    assert there(found, range(6)) == there(opened(tmp_path), range(6)) == [0, 1, 2, 3, 4, 5]


def test_states_that_were_cut_off_are_absent(tmp_path: Path) -> None:
    """Nothing behind the end of a file is read."""
    writer = opened(tmp_path)
    put(writer, range(3))
    put(writer, range(3, 6))
    os.truncate(tmp_path / "one" / "states", 4 * WIDTH * 4)

    found = opened(tmp_path)
    assert there(found, range(6)) == [0, 1, 2]
    assert found.n_damaged == 3


def test_beyond_the_limit_nothing_more_is_kept(tmp_path: Path) -> None:
    """What is there stays."""
    store = opened(tmp_path, limit_bytes=500)
    put(store, range(4))
    put(store, range(4, 40))

    assert there(store, range(40)) == [0, 1, 2, 3]
    assert "model.cache_gb" in store.full


def test_what_was_not_used_for_longest_makes_room(tmp_path: Path) -> None:
    """Whole folders of others go, the oldest first, and none that is in use."""
    for age, name in enumerate(("new", "old", "oldest")):
        store = opened(tmp_path, name)
        put(store, range(4))
        store.close()
        os.utime(tmp_path / name / state_folder.IN_USE, (1000 - age, 1000 - age))
    used = opened(tmp_path, "oldest")
    os.utime(tmp_path / "oldest" / state_folder.IN_USE, (1, 1))
    total = sum(one.size_bytes for one in kept(tmp_path))

    put(opened(tmp_path, "mine", limit_bytes=total + 100), range(4))

    assert sorted(one.folder.name for one in kept(tmp_path)) == ["mine", "new", "oldest"]
    assert there(used, range(4)) == [0, 1, 2, 3]


def test_the_disk_is_not_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of it is left to everything else."""
    almost = shutil.disk_usage(tmp_path)._replace(free=state_folder.FREE_BYTES + 100)
    monkeypatch.setattr(state_folder.shutil, "disk_usage", lambda _path: almost)
    store = opened(tmp_path)
    put(store, range(40))

    assert there(store, range(40)) == []
    assert store.full


def test_a_full_disk_ends_keeping_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written before is whole, and the next process can go on."""
    store = opened(tmp_path)
    put(store, range(3))
    write = os.pwrite

    def full(descriptor: int, data: memoryview, offset: int) -> int:
        if offset:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        put(store, range(3, 6))
    assert store.full == "writing failed (No space left on device)"
    assert there(store, range(6)) == [0, 1, 2]

    put(opened(tmp_path), range(3, 6))
    assert there(opened(tmp_path), range(6)) == [0, 1, 2, 3, 4, 5]


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """With the setting, and what to do."""
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match=r"model\.cache_trunk: .*FORMTUNE_CACHE"):
        opened(tmp_path / "file")


def test_clearing_removes_what_nobody_uses(tmp_path: Path) -> None:
    """And says what it was."""
    store = opened(tmp_path, "unused")
    put(store, range(4))
    store.close()
    used = opened(tmp_path, "used")
    put(used, range(4))

    removed, stays = cleared(tmp_path)

    assert [one.folder.name for one in removed] == ["unused"]
    assert [one.about["model"] for one in stays] == ["used"]
    assert not (tmp_path / "unused").exists()
    assert there(used, range(4)) == [0, 1, 2, 3]
    assert cleared(tmp_path / "nothing") == ([], [])


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_state_store import opened, put
store = opened(Path({root!r}))
print("ready", flush=True)
for start in range({first}, {last}, 5):
    put(store, range(start, start + 7))
"""


def writing(root: Path, first: int, last: int) -> "subprocess.Popen[str]":
    """Start a process that writes states, overlapping ones."""
    code = WRITER.format(tests=str(Path(__file__).parent), root=str(root), first=first, last=last)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def finished(process: "subprocess.Popen[str]") -> int:
    process.communicate()
    return process.returncode


def test_two_processes_at_once_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    """Each state is there once, as it was written."""
    both = [writing(tmp_path, first, first + 300) for first in (0, 150)]
    assert [finished(process) for process in both] == [0, 0]

    found = opened(tmp_path)
    assert there(found, range(460)) == list(range(452))
    assert found.size_bytes == 452 * WIDTH * 4
    assert found.n_damaged == 0


def test_a_process_that_is_killed_leaves_pieces_whole_or_absent(tmp_path: Path) -> None:
    """At five moments, each behind the wreck of the last; then everything is written, and read."""
    for moment in range(5):
        process = writing(tmp_path, moment * 1000, 10**6)
        time.sleep(0.02 * (moment + 1))
        process.send_signal(signal.SIGKILL)
        assert finished(process) == -signal.SIGKILL
        assert there(opened(tmp_path), range(8000))
    put(opened(tmp_path), range(8000))

    found = opened(tmp_path)
    assert there(found, range(8000)) == list(range(8000))
    assert found.n_damaged == 0
