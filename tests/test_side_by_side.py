"""Jobs in processes of their own: what comes back, and what is left when something ends in the middle."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import side_jobs

from formtune.errors import DataError, SettingError
from formtune.progress import Event
from formtune.side_by_side import Crew, Job, at_work, done_side_by_side

TWO = Crew(n_workers=2, n_threads=3, setting="comparison.arms_at_once")
WAIT_S = 60.0


@pytest.fixture(autouse=True)
def known_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers find the jobs."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def test_what_came_of_each_is_in_the_order_of_the_jobs() -> None:
    """More jobs than workers; each has its threads, events name their worker, and what is printed disturbs nothing."""
    events: list[Event] = []
    jobs = [Job(name, partial(side_jobs.told, name)) for name in "abcde"]
    assert done_side_by_side(jobs, TWO, progress=[events.append] * 5) == [(name, "3") for name in "abcde"]
    assert sorted(event.stage for event in events) == [f"doing {name}" for name in "abcde"]
    assert {event.lane for event in events} <= {0, 1}


def test_each_worker_has_its_gpu() -> None:
    """The others are not seen, so the first that is seen is its own."""
    crew = Crew(n_workers=2, n_threads=1, gpus=("4", "7"))
    jobs = [Job(name, side_jobs.seen) for name in "ab"]
    assert sorted(done_side_by_side(jobs, crew, progress=[print] * 2)) == ["4", "7"]


def test_an_error_for_the_user_comes_back_whole(tmp_path: Path) -> None:
    """And ends the job beside it."""
    with pytest.raises(DataError, match=r"^rows\.csv:3: A row is empty\. Fill it\.$"):
        done_side_by_side(
            [Job("bad", side_jobs.wrong), Job("long", partial(side_jobs.slow, tmp_path))], TWO, progress=[print] * 2
        )


@pytest.mark.parametrize(
    ("job", "told"), [(side_jobs.broken, "in broken\n.*nobody foresaw this"), (side_jobs.unpicklable, "pickle")]
)
def test_any_other_error_comes_back_with_its_traceback(job: object, told: str) -> None:
    """So that a bug of ours can be found."""
    with pytest.raises(RuntimeError, match=rf"(?s){told}"):
        done_side_by_side([Job("bad", job)], TWO, progress=[print] * 2)  # type: ignore[arg-type]


def test_a_job_that_cannot_be_sent_is_no_silence() -> None:
    """A function without a name, say."""
    with pytest.raises(Exception, match="pickle"):
        done_side_by_side([Job("bad", lambda *, progress: None)], TWO, progress=[print] * 2)


@pytest.mark.parametrize(
    ("job", "how"),
    [(side_jobs.killed, r"by SIGKILL; memory may have been short"), (side_jobs.left, r"with code 3")],
)
def test_a_worker_that_is_ended_is_told_with_what_it_did(job: object, how: str) -> None:
    """As the kernel does where memory is short."""
    told = rf"^comparison\.arms_at_once: The process that did chat was ended {how}\. Run the same command again"
    with pytest.raises(SettingError, match=told):
        done_side_by_side([Job("chat", job)], TWO, progress=[print] * 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_whatever_ends_the_process_that_asked_ends_its_workers(ending: signal.Signals, tmp_path: Path) -> None:
    """In the middle of their jobs."""
    program = subprocess.Popen([sys.executable, side_jobs.__file__, str(tmp_path)], stderr=subprocess.PIPE)
    _until(lambda: len(list(tmp_path.iterdir())) == 2)
    workers = [int(path.name) for path in tmp_path.iterdir()]
    assert all(map(_runs, workers))
    program.send_signal(ending)
    program.communicate(timeout=WAIT_S)
    _until(lambda: not any(map(_runs, workers)))


def test_workers_that_stay_take_jobs_round_after_round() -> None:
    """The same processes each time, and what came of a round is of that round alone; a round may be empty."""
    two = Crew(n_workers=2, n_threads=1)
    with at_work(two) as workers:
        rounds = [
            workers.done([Job(str(n), partial(side_jobs.named, n)) for n in numbers], progress=[print] * len(numbers))
            for numbers in ([1, 2, 3, 4, 5], [], [6], [7, 8, 9])
        ]
    assert [[n for n, _ in found] for found in rounds] == [[1, 2, 3, 4, 5], [], [6], [7, 8, 9]]
    pids = {pid for found in rounds for _, pid in found}
    assert 1 <= len(pids) <= 2
    assert not any(map(_runs, pids))


def test_a_worker_that_was_ended_between_rounds_is_told() -> None:
    """By the next job that falls to it."""
    with at_work(Crew(n_workers=1, n_threads=1, setting="preparation.workers")) as workers:
        [(_, pid)] = workers.done([Job("first", partial(side_jobs.named, 1))], progress=[print])
        os.kill(pid, signal.SIGKILL)
        _until(lambda: not _runs(pid))
        with pytest.raises(
            SettingError, match=r"^preparation\.workers: The process that did second was ended by SIGKILL"
        ):
            workers.done([Job("second", partial(side_jobs.named, 2))], progress=[print])


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_of_who_asked_ends_the_jobs_that_wait(error: type[BaseException], tmp_path: Path) -> None:
    """As Ctrl-C does, in the middle of a round of many jobs."""

    def stop(event: Event) -> None:
        _until(lambda: bool(list(tmp_path.iterdir())))
        raise error

    jobs = [Job("told", partial(side_jobs.told, "a")), *[Job("slow", partial(side_jobs.slow, tmp_path))] * 50]
    begun_s = time.monotonic()
    with pytest.raises(error), at_work(TWO) as workers:
        workers.done(jobs, progress=[stop] * len(jobs))
    assert time.monotonic() - begun_s < WAIT_S
    assert not any(_runs(int(path.name)) for path in tmp_path.iterdir())


def test_what_is_printed_as_python_starts_disturbs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a module that the machine's owner has every Python import, say."""
    (tmp_path / "sitecustomize.py").write_text("print('welcome to this cluster')\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{Path(__file__).parent}")
    [(name, _)] = done_side_by_side([Job("a", partial(side_jobs.told, "a"))], TWO, progress=[print])
    assert name == "a"


def _until(is_so: "partial[bool] | object") -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not is_so():  # type: ignore[operator]
        assert time.monotonic() < deadline_s, "it did not come to this"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    """Tell whether a process works; one that has ended and that nobody has waited for does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
