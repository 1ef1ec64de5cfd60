"""What a container grants is less than what the machine has, and the least of all limits counts."""

from pathlib import Path
from typing import Any

import pytest

from formtune.machine import available_bytes, peak_resident_bytes, processors, raise_thresholds, resident_bytes


def written(root: Path, files: dict[str, str]) -> Path:
    """Lay files down as a kernel would."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def membership(folder: Path, text: str) -> Path:
    """Say in which groups the process is."""
    path = folder / "cgroup"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_quota_of_the_group_above_counts(tmp_path: Path) -> None:
    """Version 2: the group itself may use all, the one above it one and a half processors."""
    root = written(tmp_path / "fs", {"a/cpu.max": "150000 100000\n", "a/b/cpu.max": "max 100000\n"})

    assert processors(root=root, membership=membership(tmp_path, "0::/a/b\n")) == 1


def test_a_quota_of_version_1_counts(tmp_path: Path) -> None:
    """Quota and period stand in files of their own; -1 is no quota."""
    files = {"cpu/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_quota_us": "50000", "cpu/x/cpu.cfs_period_us": "100000"}
    root = written(tmp_path / "fs", files)

    assert processors(root=root, membership=membership(tmp_path, "5:cpu,cpuacct:/x\n4:memory:/\n")) == 1


def test_without_control_groups_every_allowed_processor_counts(tmp_path: Path) -> None:
    """As on a system that has none."""
    assert processors(root=tmp_path / "none", membership=tmp_path / "none") >= 1


def test_what_a_group_has_left_counts_its_cached_files_as_free(tmp_path: Path) -> None:
    """4000 bytes granted, 3000 used, 500 of them files that can be read again; the machine has 8 kB."""
    files = {"memory.max": "4000", "memory.current": "3000", "memory.stat": "anon 2500\ninactive_file 500\n"}
    root = written(tmp_path / "fs", files)
    memory = written(tmp_path, {"meminfo": "MemTotal: 9 kB\nMemAvailable: 8 kB\n"}) / "meminfo"
    mine = membership(tmp_path, "0::/\n")

    assert available_bytes(root=root, membership=mine, memory=memory) == 1500
    assert available_bytes(root=tmp_path / "none", membership=mine, memory=memory) == 8192


def test_memory_of_version_1_counts(tmp_path: Path) -> None:
    """The same under other names."""
    files = {"memory/memory.limit_in_bytes": "4000", "memory/memory.usage_in_bytes": "3500"}
    root = written(tmp_path / "fs", files)
    memory = written(tmp_path, {"meminfo": "MemAvailable: 8 kB\n"}) / "meminfo"

    assert available_bytes(root=root, membership=membership(tmp_path, "4:memory:/\n"), memory=memory) == 500


def test_what_the_process_holds_is_told() -> None:
    """Python alone takes megabytes, and what it held at most is no less."""
    assert 2**20 < resident_bytes() <= peak_resident_bytes() < 2**40


def test_where_the_kernel_says_nothing_of_memory_none_is_told(tmp_path: Path) -> None:
    """So that nothing is shown instead of a wrong number."""
    written(tmp_path, {"status": "Name:\tpython\n"})
    assert resident_bytes(status=tmp_path / "status") == peak_resident_bytes(status=tmp_path / "none") == 0


def granting(limit_bytes: int, asked: list[tuple[int, int]]) -> Any:
    """Stand in for a C library that refuses thresholds of mapping above a limit."""

    def mallopt(option: int, value: int) -> int:
        asked.append((option, value))
        return int(option != -3 or value <= limit_bytes)

    return mallopt


@pytest.mark.parametrize(
    ("limit_bytes", "asked"),
    [
        (1 << 40, [(-3, 1 << 30), (-1, 1 << 30)]),
        (32 << 20, [(-3, 1 << 30), (-3, 32 << 20), (-1, 1 << 30)]),
        (0, [(-3, 1 << 30), (-3, 32 << 20)]),
    ],
)
def test_memory_is_kept_as_far_as_the_c_library_allows(limit_bytes: int, asked: list[tuple[int, int]]) -> None:
    """Up to glibc 2.34 a threshold has a limit; where none is granted, its own tuning stays."""
    done: list[tuple[int, int]] = []
    raise_thresholds(granting(limit_bytes, done))

    assert done == asked
