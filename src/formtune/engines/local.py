"""Slices on this machine: in this process, or in several that are started for it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from formtune.errors import SettingError
from formtune.machine import processors
from formtune.progress import Progress
from formtune.side_by_side import Crew, Job, at_work

SETTING = "preparation.workers"


@contextmanager
def local(
    n_workers: int | None = None, address: str | None = None
) -> Iterator[Callable[[Sequence[Job], Progress], list[Any]]]:
    """Start processes that do slices.

    Each has its share of the processors; one alone is this process, with all of them.

    Args:
        n_workers: how many; None for one.
        address: of a cluster, which this is not.

    Raises:
        SettingError: where an address is given; and later, where a process is ended in the middle of a slice.
    """
    if address is not None:
        raise SettingError("The local engine has no address.", "Set the engine to ray.", at="preparation.address")
    if n_workers is None or n_workers == 1:
        yield _here
        return
    crew = Crew(n_workers=n_workers, n_threads=max(1, processors() // n_workers), setting=SETTING)
    with at_work(crew) as workers:
        yield lambda jobs, progress: workers.done(jobs, progress=[progress] * len(jobs))


def _here(jobs: Sequence[Job], progress: Progress) -> list[Any]:
    return [job.work(progress=progress) for job in jobs]
