"""What this machine lets the process use: processors, and memory, also where a container grants less than there is.

Control groups (cgroups) come in two versions. Version 2 has one tree, version 1 one for each kind of thing; in both a
group can have no more than the groups above it, so the least of the path counts.
"""

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
MEMORY = Path("/proc/meminfo")
STATUS = Path("/proc/self/status")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h
_RETURNED_BYTES = 4 << 20  # tensors of a block are larger, and what is kept in numbers is smaller
_SIZES_BYTES = (1 << 30, 32 << 20)  # below which memory is not mapped anew: as good as never, or what glibc 2.34 grants


def processors(*, root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """Count the processors that the process may keep busy, a fraction not counted; at least one.

    Args:
        root: where control groups are.
        membership: the file that names those of the process.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([float(allowed), *_quotas(root, membership)])))


def _quotas(root: Path, membership: Path) -> Iterator[float]:
    """Give the processors that each control group grants."""
    for folder in _groups(root, membership, "cpu"):
        both = _words(folder / "cpu.max") or [
            *_words(folder / "cpu.cfs_quota_us"),
            *_words(folder / "cpu.cfs_period_us"),
        ]
        if len(both) == 2 and both[0] not in ("max", "-1"):
            yield int(both[0]) / int(both[1])


def available_bytes(*, root: Path = CGROUPS, membership: Path = MEMBERSHIP, memory: Path = MEMORY) -> int:
    """Tell how much memory can still be taken without swapping, and without the kernel ending the process.

    Args:
        root: where control groups are.
        membership: the file that names those of the process.
        memory: the kernel's account of the whole machine; half of its memory is taken where there is none.
    """
    whole = _named(memory).get("MemAvailable:")
    if whole is None:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return max(0, min([whole, *_left(root, membership)]))


def _left(root: Path, membership: Path) -> Iterator[int]:
    """Give what each control group has left; cached files are given back when memory is asked for."""
    for folder in _groups(root, membership, "memory"):
        stat = _named(folder / "memory.stat")
        cached = stat.get("total_inactive_file", stat.get("inactive_file", 0))
        for limit, usage in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            numbers = [*_words(folder / limit), *_words(folder / usage)]
            if len(numbers) == 2 and "max" not in numbers:
                yield int(numbers[0]) - int(numbers[1]) + cached


def _groups(root: Path, membership: Path, kind: str) -> Iterator[Path]:
    """List the folders of the process's control group and of those above it; inside a container the root is its own."""
    for line in _lines(membership):
        _, kinds, path = line.split(":", 2)
        if kind not in kinds.split(",") and kinds:
            continue
        top = root / kind if kinds else root
        inner = Path(path.strip().lstrip("/"))
        yield from (top / part for part in (inner, *inner.parents))


def resident_bytes(*, status: Path = STATUS) -> int:
    """Tell how much memory of the machine the process holds; 0 where the kernel does not say."""
    return _named(status).get("VmRSS:", 0)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:  # no such kernel, or not ours to read: then it limits nothing
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _named(path: Path) -> dict[str, int]:
    """Read a kernel's table of names and numbers; what is counted in kB comes as bytes."""
    rows = [line.split() for line in _lines(path)]
    return {row[0]: int(row[1]) * (1024 if row[-1] == "kB" else 1) for row in rows if len(row) > 1 and row[1].isdigit()}


def keep_memory() -> None:
    """Let glibc keep freed memory: tensors of every step are as large as the last step's, and pages cost to map anew.

    What the environment says (``MALLOC_*``, ``GLIBC_TUNABLES``) goes first; other C libraries are left alone.
    """
    mallopt = _mallopt()
    if mallopt is not None:
        raise_thresholds(mallopt)


def return_memory() -> None:
    """Let glibc give large tensors back at once, where memory is short: kept ones leave holes that nothing fits into.

    Blocks that are computed twice took 4.3 GB with kept memory and 1.9 GB without (SmolLM2-135M, 2,151 tokens).
    """
    mallopt = _mallopt()
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _RETURNED_BYTES)


def _mallopt() -> Callable[[int, int], int] | None:
    """Find glibc's function, unless the environment has set what it sets."""
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return None
    return getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None


def raise_thresholds(mallopt: Callable[[int, int], int]) -> None:
    """Set the higher threshold that is granted; where none is, nothing, since any setting ends glibc's own tuning."""
    if any(mallopt(_M_MMAP_THRESHOLD, size_bytes) for size_bytes in _SIZES_BYTES):
        mallopt(_M_TRIM_THRESHOLD, _SIZES_BYTES[0])
