"""Training by workers of a Ray cluster: Ray Train starts them, and each is a process of one training.

What is told on the way and what comes out goes through a mailbox on the machine that asked. Where the main worker sees
that machine's output folder (one machine, or a shared disk) it writes there; else it writes to its own disk and sends
the files, whose digests are checked before the run takes its place.
"""

import json
import logging
import math
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from formtune import processes
from formtune.errors import FormtuneError, MissingExtra, SettingError
from formtune.progress import Event, Progress
from formtune.results import Result
from formtune.shards import MANIFEST, read_manifest

CHUNK_BYTES = 16 << 20
BETWEEN_S = 0.2  # two looks into the mailbox

Training = Callable[[Path, Progress], Result]


@dataclass(frozen=True, slots=True)
class Job:
    """One training.

    Attributes:
        work: does it in a worker, which has joined the others: into a folder, telling of progress.
        out: folder on this machine that the run goes to.
        n_workers: how many train together.
    """

    work: Training
    out: Path
    n_workers: int


class Mailbox:
    """What workers send to the machine that asked; an actor there.

    Attributes:
        folder: where files that are sent are written.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self._events: list[Event] = []
        self._outcome: Result | FormtuneError | None = None

    def tell(self, event: Event) -> None:
        """Take in what happened."""
        self._events.append(event)

    def taken(self) -> list[Event]:
        """Give what has happened since the last time."""
        events, self._events = self._events, []
        return events

    def write(self, name: str, piece: bytes) -> None:
        """Write the next piece of a file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(piece)

    def end(self, outcome: Result | FormtuneError) -> None:
        """Take in what came out."""
        self._outcome = outcome

    def outcome(self) -> Result | FormtuneError | None:
        """Give what came out."""
        return self._outcome


def run_on_ray(job: Job, *, progress: Progress) -> Result:
    """Train on a Ray cluster: the one that ``RAY_ADDRESS`` names, or one of this machine's own.

    Args:
        job: what to train.
        progress: told of what goes on.

    Raises:
        MissingExtra: where Ray is not installed.
        SettingError: where the cluster has too little for so many workers, and whatever a worker raises for the user.
    """
    if find_spec("ray") is None:
        raise MissingExtra("ray", "ray", at="training.engine")
    with _connected() as ray, TemporaryDirectory(prefix="formtune-ray-") as scratch:
        resources = _resources(ray.nodes(), job.n_workers)
        with _marked(job.out) as marker:
            staging = job.out.parent / f"{marker}.part"
            mailbox = _mailbox(ray, staging)
            settings = {"job": job, "mailbox": mailbox, "marker": marker, "at": str(Path.cwd())}
            settings["on_gpu"] = "GPU" in resources
            with _listening(ray, mailbox, progress):
                _trainer(settings, resources, n_workers=job.n_workers, scratch=scratch).fit()
            return _settled(ray.get(mailbox.outcome.remote()), staging, job.out)


@contextmanager
def _connected() -> Iterator[Any]:
    """Give Ray, connected; what was not before is left again."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing goes over the network that nobody asked for
    os.environ.setdefault("RAY_TRAIN_ENABLE_STATE_TRACKING", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    ours = not ray.is_initialized()
    if ours:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()


def _resources(nodes: list[dict[str, Any]], n_workers: int) -> dict[str, int]:
    """Say what each worker gets: a graphics processor where there are enough, and its share of the processors.

    >>> _resources([{"Alive": True, "Resources": {"CPU": 4.0}}, {"Alive": True, "Resources": {"CPU": 8.0}}], 4)
    {'CPU': 2}
    """
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    n_cpus, n_gpus = (sum(int(one.get(kind, 0)) for one in alive) for kind in ("CPU", "GPU"))
    if n_cpus < n_workers:
        raise SettingError(
            f"The cluster has {n_cpus} processors for {n_workers} workers.",
            "Ask for fewer, or add machines.",
            at="training.workers",
        )
    if n_gpus >= n_workers:
        return {"GPU": 1, "CPU": 1}
    least = min(int(one["CPU"]) for one in alive if one.get("CPU"))
    return {"CPU": max(1, least // math.ceil(n_workers / len(alive)))}


@contextmanager
def _marked(out: Path) -> Iterator[str]:
    """Lay a file beside the output folder, by which a worker knows whether it sees the same disk."""
    path = out.parent / f".{out.name}.{uuid4().hex}"
    path.touch()
    try:
        yield path.name
    finally:
        path.unlink(missing_ok=True)
        shutil.rmtree(path.with_name(f"{path.name}.part"), ignore_errors=True)


def _mailbox(ray: Any, folder: Path) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here).remote(str(folder))


@contextmanager
def _listening(ray: Any, mailbox: Any, progress: Progress) -> Iterator[None]:
    """Hand on what the workers tell, for a while."""
    done = threading.Event()

    def listen() -> None:
        while not done.wait(BETWEEN_S):
            for event in ray.get(mailbox.taken.remote()):
                progress(event)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield
    finally:
        done.set()
        listener.join()
    for event in ray.get(mailbox.taken.remote()):
        progress(event)


def _trainer(settings: Mapping[str, Any], resources: dict[str, int], *, n_workers: int, scratch: str) -> Any:
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    scaling = ScalingConfig(
        num_workers=n_workers,
        use_gpu="GPU" in resources,
        resources_per_worker=resources,
        placement_strategy="SPREAD",
    )
    return TorchTrainer(
        work_in_worker,
        train_loop_config=dict(settings),
        scaling_config=scaling,
        run_config=RunConfig(storage_path=scratch),
    )


def work_in_worker(settings: Mapping[str, Any]) -> None:
    """Do one worker's part, and let the main one send what came out."""
    import ray

    job: Job = settings["job"]
    mailbox = settings["mailbox"]
    if not settings["on_gpu"]:  # Ray leaves a worker that got none the sight of all
        os.environ["ACCELERATE_USE_CPU"] = "true"
    if Path(settings["at"]).is_dir():  # where names of files are meant from, if this machine has it
        os.chdir(settings["at"])
    shared = (job.out.parent / settings["marker"]).exists()

    def send(method: Any, *values: object) -> None:
        ray.get(method.remote(*values))

    with TemporaryDirectory(prefix="formtune-") as own:
        place = job.out if shared else Path(own) / job.out.name
        try:
            outcome: Result | FormtuneError = job.work(place, mailbox.tell.remote)
        except FormtuneError as error:
            outcome = error
        if processes.is_main():
            for name, piece in () if shared or isinstance(outcome, FormtuneError) else pieces(Path(own)):
                send(mailbox.write, name, piece)
            send(mailbox.end, outcome)


def pieces(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Take the files of a folder apart, by name within it: what :meth:`Mailbox.write` puts together again."""
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        with path.open("rb") as file:
            for _ in range(path.stat().st_size // CHUNK_BYTES + 1):  # an empty file is a piece as well
                yield str(path.relative_to(folder)), file.read(CHUNK_BYTES)


def _settled(outcome: Result | FormtuneError | None, staging: Path, out: Path) -> Result:
    if isinstance(outcome, FormtuneError):
        raise outcome
    assert outcome is not None
    if staging.exists():
        settle(staging, out)
    return Result({**outcome.values, "run": str(out)})


def settle(staging: Path, out: Path) -> None:
    """Put a run that was sent in its place, and beside it what was sent with it (what trackers wrote).

    Args:
        staging: folder of what was sent, the run under its own name.
        out: where the run goes; an older one there is replaced.

    Raises:
        DataError: where a file is not what its digest says.
    """
    run = staging / out.name
    manifest = read_manifest(run, kind="run")
    there = {**manifest, "run": str(out), "recipe": {**manifest["recipe"], "out": str(out)}}
    (run / MANIFEST).write_text(json.dumps(there, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    run.rename(out)
    shutil.copytree(staging, out.parent, dirs_exist_ok=True)
