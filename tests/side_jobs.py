"""Jobs that the tests of workers hand to processes of their own."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from formtune.errors import DataError
from formtune.progress import Event, Progress


def told(name: str, *, progress: Progress) -> tuple[str, str | None]:
    """Tell of one event, print something, and give the threads that were asked for."""
    progress(Event(f"doing {name}"))
    print("a library says something")
    return name, os.environ.get("OMP_NUM_THREADS")


def named(number: int, *, progress: Progress) -> tuple[int, int]:
    """Give the number back, and the process that did it."""
    return number, os.getpid()


def seen(*, progress: Progress) -> str | None:
    """Give the GPU that is seen."""
    progress(Event("looking"))
    time.sleep(0.3)  # so that the other worker takes the other job
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def wrong(*, progress: Progress) -> NoReturn:
    """End with an error that a user can put right."""
    raise DataError("A row is empty.", "Fill it.", at="rows.csv:3")


def broken(*, progress: Progress) -> NoReturn:
    """End with an error that nobody foresaw."""
    raise KeyError("nobody foresaw this")


def killed(*, progress: Progress) -> NoReturn:
    """End as the kernel ends a process where memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def killed_once(folder: Path, *, progress: Progress) -> str:
    """End so the first time, and well the second."""
    if (folder / "killed").exists():
        return "done"
    (folder / "killed").touch()
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def left(*, progress: Progress) -> NoReturn:
    """End the process."""
    os._exit(3)


def unpicklable(*, progress: Progress) -> object:
    """Give what cannot go from one process to another."""
    return lambda: None


def slow(folder: Path, *, progress: Progress) -> None:
    """Say who works, and work for long."""
    (folder / str(os.getpid())).touch()
    time.sleep(120)


def main(folder: Path) -> None:
    """Let two workers work for long: the program that a test ends in the middle."""
    from functools import partial

    from formtune.side_by_side import Crew, Job, done_side_by_side

    jobs = [Job(name, partial(slow, folder)) for name in ("one", "two")]
    done_side_by_side(jobs, Crew(n_workers=2, n_threads=1), progress=[print] * 2)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background ignores it
    sys.path.insert(0, str(Path(__file__).parent))
    import side_jobs  # by its own name, so that a worker finds what is pickled

    side_jobs.main(Path(sys.argv[1]))
