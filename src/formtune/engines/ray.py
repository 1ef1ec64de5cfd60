"""Slices on a Ray cluster: the same step, mapped over a Ray data set of slices.

What the workers read and write must be in the same place for all of them: a shared file system, as a Slurm allocation
and KubeRay have it. Ray does a slice again whose worker or node is lost; shards are whole or absent, so that is safe.
"""

import logging
import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from formtune.errors import FormtuneError, MissingExtra, SettingError
from formtune.progress import Event, Progress
from formtune.side_by_side import Job

SETTING = "preparation.engine"
_THREADS = "RAYON_NUM_THREADS"


@contextmanager
def on_ray(
    n_workers: int | None = None, address: str | None = None
) -> Iterator[Callable[[Sequence[Job], Progress], list[Any]]]:
    """Connect to a Ray cluster, or start one of this machine's own; what was not connected before is left again.

    Args:
        n_workers: slices that are done at the same time, a processor each; None for as many as there are processors.
        address: of the cluster (``auto``, ``ray://host:10001``); None for the one that ``RAY_ADDRESS`` names, or an own.

    Raises:
        MissingExtra: where Ray is not installed.
        SettingError: where the address does not answer.
    """
    if find_spec("ray") is None:
        raise MissingExtra("ray", "ray", at=SETTING)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing goes over the network that nobody asked for
    import ray

    ours = not ray.is_initialized()
    if ours:
        try:
            ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
        except (ConnectionError, ValueError) as error:
            raise SettingError(
                f"No Ray cluster answers at {address!r} ({error}).",
                "Start one (ray start --head), or leave the address out.",
                at="preparation.address",
            ) from error
    try:
        yield partial(_mapped, n_workers)
    finally:
        if ours:
            ray.shutdown()


def _mapped(n_workers: int | None, jobs: Sequence[Job], progress: Progress) -> list[Any]:
    """Do jobs as a map over a data set, a row a job; what comes of them is taken as it comes."""
    import ray

    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = [{"place": place, "job": pickle.dumps(job)} for place, job in enumerate(jobs)]
    work = partial(_done, str(Path.cwd()))
    done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(work, num_cpus=1, concurrency=n_workers)
    found: dict[int, Any] = {}
    for row in done.iter_rows():
        outcome, events = pickle.loads(row["outcome"])  # noqa: S301 (our own workers wrote it)
        if isinstance(outcome, FormtuneError):
            raise outcome
        for event in events:
            progress(event)
        found[row["place"]] = outcome
    return [found[place] for place in range(len(jobs))]


def _done(folder: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Do one job in a worker, where file names mean what they mean on the machine that asked."""
    os.environ.setdefault(_THREADS, "1")
    if Path(folder).is_dir():
        os.chdir(folder)
    job: Job = pickle.loads(row["job"])  # noqa: S301 (the process that asked wrote it)
    events: list[Event] = []
    try:
        outcome = job.work(progress=events.append)
    except FormtuneError as error:
        outcome = error
    return {"place": row["place"], "outcome": pickle.dumps((outcome, events))}
