"""Slices on a Ray cluster: the same step, mapped over a Ray data set of slices.

What the workers read and write must be in the same place for all of them: a shared file system, as a Slurm allocation
and KubeRay have it. Ray does a slice again whose worker or node is lost; shards are whole or absent, so that is safe.
"""

import io
import logging
import os
import pickle
import re
import socket
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from formtune.dialects.streaming import Plan
from formtune.errors import FormtuneError, MissingExtra, SettingError
from formtune.preparing import Order, code_digest
from formtune.progress import Event, Progress
from formtune.side_by_side import Job

SETTING = "preparation.engine"
_THREADS = "RAYON_NUM_THREADS"
_ANSWER_S = 10.0
_MOST_TIMES = 3  # that a slice is begun whose worker or node is lost; Ray's data sets would begin it for ever


@dataclass(frozen=True, slots=True)
class Common:
    """What is the same for all jobs, and is sent to each machine once.

    Attributes:
        at: where names of files are meant from.
        code: digest of the package that asks.
        values: orders and plans, which jobs name by a number.
    """

    at: str
    code: str
    values: dict[int, Order | Plan] = field(default_factory=dict)


class Attempts:
    """Counts how often each job was begun; an actor on the machine that asked."""

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()

    def begin(self, place: int) -> int:
        """Take in that it begins; give how often it has."""
        self._begun[place] += 1
        return self._begun[place]


@contextmanager
def on_ray(
    n_workers: int | None = None, address: str | None = None
) -> Iterator[Callable[[Sequence[Job], Progress], list[Any]]]:
    """Connect to a Ray cluster, or start one of this machine's own; what was not connected before is left again.

    Args:
        n_workers: slices that are done at the same time, a processor each; None for as many as there are processors.
        address: of the cluster (``auto``, ``host:6379``); None for the one that ``RAY_ADDRESS`` names, or an own.

    Raises:
        MissingExtra: where Ray is not installed.
        SettingError: where the address does not answer; and later, where a slice loses its worker three times.
    """
    if find_spec("ray") is None or find_spec("pandas") is None:  # without which Ray's data sets do not start
        raise MissingExtra("ray", "ray", at=SETTING)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing goes over the network that nobody asked for
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    ours = not ray.is_initialized()
    if ours:
        _connect(ray, address)
    try:
        yield partial(_mapped, n_workers)
    finally:
        if ours:
            ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    address = address or os.environ.get("RAY_ADDRESS")
    remedy = "Start one (ray start --head), or leave the address out."
    try:
        if _answers(address):
            remedy = (
                "Somebody listens there: Ray's version must be the same, and its token, with RAY_AUTH_MODE=token set."
            )
        ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        raise SettingError(
            f"No Ray cluster answers at {address!r} ({error}).", remedy, at="preparation.address"
        ) from error


def _answers(address: str | None) -> bool:
    """Look whether a host listens at all: Ray itself tries for minutes, and then ends the process.

    Returns:
        Whether there is a host and a port in the address.

    Raises:
        OSError: where nobody listens there.
    """
    told = re.fullmatch(r"(?:ray://)?([^/]+):(\d+)", address or "")
    if told:
        socket.create_connection((told[1].strip("[]"), int(told[2])), timeout=_ANSWER_S).close()
    return told is not None


def _mapped(n_workers: int | None, jobs: Sequence[Job], progress: Progress) -> list[Any]:
    """Do jobs as a map over a data set, a row a job; what comes of them is taken as it comes."""
    import ray
    from ray.exceptions import RayError

    found: dict[int, Any] = {}
    try:
        for row in _rows(ray, jobs, n_workers):
            outcome, events = pickle.loads(row["told"])  # noqa: S301 (our own workers wrote it)
            if isinstance(outcome, FormtuneError | RuntimeError):
                raise outcome
            for event in events:
                progress(event)
            found[row["place"]] = outcome
    except RayError as error:
        raise SettingError(
            f"Ray has given up ({str(error).strip().splitlines()[-1].strip()}).",
            "Run the same command again to go on, with fewer workers where memory is short.",
            at=SETTING,
        ) from error
    return [found[place] for place in range(len(jobs))]


def _rows(ray: Any, jobs: Sequence[Job], n_workers: int | None) -> Iterator[Mapping[str, Any]]:
    if not jobs:
        return
    common = Common(str(Path.cwd()), code_digest())
    rows = [{"place": place, "job": sent(job, common)} for place, job in enumerate(jobs)]
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = context.print_on_execution_start = False
    with ray.data.DataContext.current(context), _quiet(logging.getLogger("ray.data")):
        data = ray.data.from_items(rows, override_num_blocks=len(rows))
        work = partial(done, ray.put(common), _attempts(ray))
        workers = ray.data.TaskPoolStrategy(size=n_workers and min(n_workers, len(jobs)))
        yield from data.map(work, num_cpus=1, compute=workers).iter_rows()


def _attempts(ray: Any) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(Attempts).options(num_cpus=0, scheduling_strategy=here).remote()


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Let Ray say of its data sets what has gone wrong, and nothing else: what goes on is told as progress."""
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


class _Sender(pickle.Pickler):
    """Puts what jobs share among what is common to them, and a number in its place."""

    def __init__(self, file: IO[bytes], common: Common) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._values = common.values

    def persistent_id(self, value: object) -> int | None:
        if not isinstance(value, Order | Plan):
            return None
        self._values[id(value)] = value
        return id(value)


class _Receiver(pickle.Unpickler):  # noqa: S301 (the process that asked wrote what it reads)
    def __init__(self, file: IO[bytes], common: Common) -> None:
        super().__init__(file)
        self._values = common.values

    def persistent_load(self, number: int) -> Order | Plan:
        return self._values[number]


def sent(job: Job, common: Common) -> bytes:
    """Pickle a job, of a few hundred bytes, without what it shares with others, which is added to what is common."""
    file = io.BytesIO()
    _Sender(file, common).dump(job)
    return file.getvalue()


def received(job: bytes, common: Common) -> Job:
    """Undo :func:`sent`."""
    found: Job = _Receiver(io.BytesIO(job), common).load()
    return found


@lru_cache(maxsize=1)
def _common(reference: Any) -> Common:
    """Take what is common to jobs, once in a process."""
    import ray

    common: Common = ray.get(reference)
    take_place(common)
    return common


def take_place(common: Common) -> None:
    """Let this process do jobs as the one that asked would.

    Raises:
        SettingError: where the package is another, or the folder of shards is not seen.
    """
    if common.code != code_digest():
        raise SettingError(
            "A machine of the cluster has another version of formtune.", "Install the same on all of them.", at=SETTING
        )
    if Path(common.at).is_dir():
        os.chdir(common.at)
    for one in common.values.values():
        if isinstance(one, Order) and not one.folder.is_dir():
            raise SettingError(
                "A machine of the cluster does not see this folder.",
                "Give an --out on a disk that all of them share.",
                at=one.folder,
            )


def done(reference: Any, attempts: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    """Do one job in a worker, where file names mean what they mean on the machine that asked."""
    os.environ.setdefault(_THREADS, "1")
    events: list[Event] = []
    try:
        job = received(row["job"], _common(reference))
        _begin(attempts, row["place"], job.name)
        told = pickle.dumps((job.work(progress=events.append), events))
    except FormtuneError as error:
        told = pickle.dumps((error, events))
    except Exception:  # noqa: BLE001 (whatever it is, the process that asked is told)
        told = pickle.dumps((RuntimeError(traceback.format_exc()), events))
    return {"place": row["place"], "told": told}


def _begin(attempts: Any, place: int, name: str) -> None:
    import ray

    if ray.get(attempts.begin.remote(place)) > _MOST_TIMES:
        raise SettingError(
            f"The process or the machine that did {name} was lost {_MOST_TIMES} times; memory may have been short.",
            "Run the same command again to go on, with fewer workers on each machine.",
            at=SETTING,
        )
