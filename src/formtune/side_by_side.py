"""Jobs that are done at the same time by processes of this machine, each with threads of its own.

A worker is a Python process that reads jobs from its standard input, and writes what happens and what came of them to a
pipe of its own; both are pickled, between processes that trust one another. What libraries print goes to standard error.
It ends where its input ends, in the middle of a job too: whatever ends the process that asked, nothing is left running.

Nothing here is forked, and the program that asked is not run anew: threads, a GPU and a notebook stay as they are.
"""

import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, Protocol

import formtune
from formtune.errors import FormtuneError, SettingError
from formtune.progress import Progress

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
_WORKER = "import sys; from formtune.side_by_side import work; work(int(sys.argv[1]))"
_ERRORS = 2  # the number of standard error


class Action(Protocol):
    """What a job does: a function of a module, or a ``partial`` of one, since it is pickled on its way."""

    def __call__(self, *, progress: Progress) -> Any:
        """Do it, and give what came of it."""


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work.

    Attributes:
        name: what it is called where a worker ends in the middle of it.
        work: what is done.
    """

    name: str
    work: Action


@dataclass(frozen=True, slots=True)
class _Exchange:
    """Jobs that wait, by their places, and what is told of those that are done: lane, place, kind, value.

    In place of a job None says to one worker that there are no more.
    """

    waiting: "SimpleQueue[tuple[int, Job] | None]"
    told: "SimpleQueue[tuple[int, int, str, Any]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """Who does some work.

    Attributes:
        n_workers: processes that work at the same time; 1 for this one alone.
        n_threads: with which each calculates.
        gpus: ``CUDA_VISIBLE_DEVICES`` of each worker; empty where they see what this process sees.
        setting: which says how many workers there are; an error names it.
    """

    n_workers: int
    n_threads: int
    gpus: Sequence[str] = ()
    setting: str = ""

    def environment(self, lane: int) -> dict[str, str]:
        """Give the environment of a worker, by its number from 0."""
        threads = dict.fromkeys(THREADS, str(self.n_threads))
        seen = {"CUDA_VISIBLE_DEVICES": self.gpus[lane]} if self.gpus else {}
        own = Path(formtune.__file__).parent.parent
        found = os.pathsep.join(filter(None, [str(own), os.environ.get("PYTHONPATH", "")]))
        return {**os.environ, **threads, **seen, "PYTHONPATH": found}


def done_side_by_side(jobs: Sequence[Job], crew: Crew, *, progress: Sequence[Progress]) -> list[Any]:
    """Do jobs in the order given, as many at a time as there are workers; each worker ends when none is left.

    Args:
        jobs: what is to be done; who is free takes the next one.
        crew: who does it.
        progress: of each job; told of what goes on, in this thread; an event's lane is the number of its worker.

    Returns:
        What came of each, in the jobs' order.

    Raises:
        FormtuneError: of the first job that has one; the others end in the middle.
        RuntimeError: where a job ends with any other error, with its traceback.
        SettingError: where a worker is ended in the middle of a job.
    """
    with at_work(crew, most=len(jobs)) as workers:
        workers.hand_out(jobs)
        workers.dismiss()
        return workers.outcomes(len(jobs), progress=progress)


class Workers:
    """Processes that are started and wait for jobs, one round after another, until one raises an error."""

    def __init__(self, started: Sequence[subprocess.Popen[bytes]], exchange: _Exchange, setting: str) -> None:
        self._started = started
        self._exchange = exchange
        self._setting = setting
        self._jobs: list[Job] = []

    def done(self, jobs: Sequence[Job], *, progress: Sequence[Progress]) -> list[Any]:
        """Do jobs as :func:`done_side_by_side` does, and wait for further ones."""
        self.hand_out(jobs)
        return self.outcomes(len(jobs), progress=progress)

    def hand_out(self, jobs: Sequence[Job]) -> None:
        """Let workers take jobs; what came of them must be asked for before others are handed out."""
        self._jobs = list(jobs)
        for place, job in enumerate(jobs):
            self._exchange.waiting.put((place, job))

    def dismiss(self) -> None:
        """Let each worker end, and give back its memory, when no job is left."""
        for _ in self._started:
            self._exchange.waiting.put(None)

    def outcomes(self, count: int, *, progress: Sequence[Progress]) -> list[Any]:
        """Wait for what comes of the jobs that were handed out."""
        found: dict[int, Any] = {}
        while len(found) < count:
            lane, place, kind, value = self._exchange.told.get()
            match kind:
                case "event":
                    progress[place](replace(value, lane=lane))
                case "done":
                    found[place] = value
                case "failed":
                    raise value
                case _:
                    raise _ended(self._jobs[place].name, self._started[lane].wait(), setting=self._setting)
        return [found[place] for place in range(count)]


def _ended(name: str, code: int, *, setting: str) -> SettingError:
    """Say that a worker is no more."""
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
    hint = "; memory may have been short" if code == -signal.SIGKILL else ""
    return SettingError(
        f"The process that did {name} was ended {how}{hint}.",
        "Run the same command again to go on, with 1 here where memory is short.",
        at=setting,
    )


@contextmanager
def at_work(crew: Crew, *, most: int | None = None) -> Iterator[Workers]:
    """Start workers that take what is handed out, and end them in any case.

    Args:
        crew: who they are.
        most: how many of them at most.
    """
    exchange = _Exchange(SimpleQueue(), SimpleQueue())
    with ExitStack() as stack:
        count = crew.n_workers if most is None else min(crew.n_workers, most)
        started = [stack.enter_context(_worker(crew.environment(lane), lane, exchange)) for lane in range(count)]
        workers = Workers(started, exchange, crew.setting)
        try:
            yield workers
        finally:
            workers.dismiss()


@contextmanager
def _worker(environment: Mapping[str, str], lane: int, exchange: _Exchange) -> Iterator[subprocess.Popen[bytes]]:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as told:
        try:
            worker = subprocess.Popen(  # noqa: S603 (every argument is ours)
                [sys.executable, "-P", "-c", _WORKER, str(writing)],
                stdin=subprocess.PIPE,
                stdout=_ERRORS,
                pass_fds=[writing],
                env=environment,
                process_group=0,  # Ctrl-C is for the process that asked, which ends them
            )
        finally:
            os.close(writing)  # so that it ends when the worker does
        ends = (worker.stdin, told, exchange)
        overseer = threading.Thread(target=_oversee, args=ends, kwargs={"lane": lane}, daemon=True)
        try:
            overseer.start()
            yield worker
        finally:
            worker.kill()
            overseer.join()  # ends, since the worker writes nothing more
            with suppress(BrokenPipeError):  # of a job that was half sent
                worker.__exit__(None, None, None)


def _oversee(asking: IO[bytes], told: IO[bytes], exchange: _Exchange, *, lane: int) -> None:
    """Hand jobs to a worker as long as there are some, and hand on what it tells."""
    while True:
        taken = exchange.waiting.get()
        if taken is None:
            asking.close()  # it ends, and gives back its memory
            return
        place, job = taken
        try:
            _send(asking, job.work)
            kind = ""
            while kind not in ("done", "failed"):
                kind, value = pickle.load(told)  # noqa: S301 (our own process wrote it)
                exchange.told.put((lane, place, kind, value))
        except (OSError, EOFError, pickle.UnpicklingError):
            exchange.told.put((lane, place, "ended", None))
            return
        except Exception as error:  # noqa: BLE001 (what cannot be pickled, say: nobody else would be told)
            exchange.told.put((lane, place, "failed", error))
            return


def _send(file: IO[bytes], value: object) -> None:
    """Write a value, all of it or nothing: what cannot be pickled leaves no half behind."""
    file.write(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))
    file.flush()


def work(telling: int) -> None:
    """Be a worker: do the jobs that standard input holds, until it ends.

    Args:
        telling: number of the open file that what happens is written to.
    """
    os.set_inheritable(telling, False)  # else a process that a job starts would keep it open
    out = os.fdopen(telling, "wb")
    jobs: SimpleQueue[Action] = SimpleQueue()
    threading.Thread(target=_listen, args=(os.fdopen(os.dup(0), "rb"), jobs), daemon=True).start()
    while True:
        _do(jobs.get(), out)


def _do(job: Action, out: IO[bytes]) -> None:
    """Do a job, and write what happens and what comes of it."""
    try:
        _send(out, ("done", job(progress=lambda event: _send(out, ("event", event)))))
    except FormtuneError as error:
        _send(out, ("failed", error))
    except Exception:  # noqa: BLE001 (whatever it is, the process that asked is told)
        _send(out, ("failed", RuntimeError(traceback.format_exc())))


def _listen(file: IO[bytes], jobs: "SimpleQueue[Action]") -> None:
    """Take in jobs; at the end of the file end the process, whatever it does."""
    code = 1
    try:
        while True:
            jobs.put(pickle.load(file))  # noqa: S301 (the process that started this one wrote it)
    except (EOFError, pickle.UnpicklingError):
        code = 0
    except Exception:  # noqa: BLE001 (the process must end whatever it is)
        traceback.print_exc()
    os._exit(code)
