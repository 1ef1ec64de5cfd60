"""Engines: whoever does the slices, the same comes out, and what goes wrong is told alike."""

import json
import os
import pickle
import socket
import subprocess
import sys
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import side_jobs
from tiny_models import tiny_folder

from formtune import engines, pipeline, preparation
from formtune.engines import ray as ray_engine
from formtune.engines.ray import Attempts, Common, done, on_ray, received, sent, take_place
from formtune.errors import MissingExtra, SettingError
from formtune.examples import Task
from formtune.preparing import Order, code_digest, make_slice
from formtune.recipe import make_recipe
from formtune.side_by_side import Job
from formtune.sources import Slice
from formtune.template_options import TemplateOptions

HERE = Path(__file__).parent
DIGESTS = HERE.parent / "benchmarks" / "preparation_digests.py"
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")


def an_order(folder: Path, **changed: Any) -> Order:
    """Give an order of a thousand files."""
    order = Order(
        format="chat",
        template=None,
        place=None,
        model="none",
        model_files=(),
        task=Task(kind="conversation"),
        max_length=None,
        pack_tokens=None,
        template_options=TemplateOptions(),
        reading="",
        files=tuple(f"part-{number:04}.jsonl" for number in range(1000)),
        folder=folder,
        plan=None,
        sample=(),
    )
    return replace(order, **changed)


def run_with(program: Path, *arguments: str) -> dict[str, Any]:
    """Run a program in a process of its own, since Ray leaves threads and warnings behind; give its last line."""
    path = {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(program), *arguments]
    ended = subprocess.run(
        command, check=False, env={**os.environ, **path}, capture_output=True, text=True, timeout=400
    )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def test_what_jobs_share_is_sent_once(tmp_path: Path) -> None:
    """A job is small however many files there are, and has the order again where it arrives."""
    order, common = an_order(tmp_path), Common(str(tmp_path), code_digest())
    parts = [Slice("a.jsonl", start=n, end=n + 1) for n in range(3)]
    jobs = [Job(f"a.jsonl:{n}", partial(make_slice, order, part, 0)) for n, part in enumerate(parts)]
    messages = [sent(job, common) for job in jobs]

    assert max(map(len, messages)) < 400 < len(pickle.dumps(order)) / 10
    assert list(common.values.values()) == [order]
    arrived = pickle.loads(pickle.dumps(common))
    found = [received(message, arrived) for message in messages]
    assert [job.name for job in found] == [job.name for job in jobs]
    assert [job.work.args[0] for job in found] == [order] * 3  # type: ignore[attr-defined]
    assert [job.work.args[1] for job in found] == parts  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("code", "folder", "problem"),
    [
        ("another", ".", r"^preparation\.engine: A machine of the cluster has another version of formtune\."),
        (None, "nowhere", r"nowhere: A machine of the cluster does not see this folder\. Give an --out on a disk"),
    ],
)
def test_a_machine_that_would_do_otherwise_is_refused(
    code: str | None, folder: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other code would make other bytes; a shard on a disk of its own would be found by nobody."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError, match=problem):
        take_place(Common(str(tmp_path), code or code_digest(), {1: an_order(tmp_path / folder)}))


@pytest.mark.parametrize("lacking", ["ray", "pandas"])
def test_without_ray_the_extra_is_named(lacking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its data sets need pandas, too."""
    monkeypatch.setattr(ray_engine, "find_spec", lambda package: None if package == lacking else package)

    with pytest.raises(MissingExtra, match=r"preparation\.engine: .*pip install 'formtune\[ray\]'"), on_ray():
        raise AssertionError


@needs_ray
def test_an_address_at_which_nobody_listens_is_told_at_once() -> None:
    """Ray itself would try for minutes."""
    problem = r"preparation\.address: No Ray cluster answers at '127\.0\.0\.1:1'"
    with pytest.raises(SettingError, match=problem), on_ray(address="127.0.0.1:1"):
        raise AssertionError


def test_a_cluster_that_refuses_us_is_told_from_one_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a token that is lacking Ray says no more than that it has failed to connect."""

    def refuse(*_arguments: object, **_options: object) -> None:
        raise ConnectionError("Failed to connect")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False, init=refuse))
    monkeypatch.setattr(ray_engine, "find_spec", lambda package: package)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with (
            pytest.raises(SettingError, match=r"\(Failed to connect\)\. Somebody listens there: .* token"),
            on_ray(address=address),
        ):
            raise AssertionError
    with pytest.raises(SettingError, match=r"at 'auto' .*Start one \(ray start --head\)"), on_ray(address="auto"):
        raise AssertionError


def test_an_engine_that_does_not_exist_is_refused() -> None:
    """With the names of those that do."""
    with pytest.raises(SettingError, match=r"preparation\.engine.*local.*ray"):
        make_recipe({"preparation": {"engine": "spark"}})
    assert list(engines.ENGINES) == ["local", "ray"]


@pytest.mark.slow
@needs_ray
def test_what_came_of_jobs_is_told_alike_on_ray(tmp_path: Path) -> None:
    """In order, with events, errors whole; a worker that dies is tried again, some times."""
    found = run_with(HERE / "jobs_on_ray.py", str(tmp_path))

    assert [name for name, _ in found["in order"]] == list("abcde")
    assert found["events"] == [f"doing {name}" for name in "abcde"]
    assert found["none"] == []
    assert found["killed once"] == ["done"]
    assert found["wrong"] == "DataError rows.csv:3: A row is empty. Fill it."
    assert found["broken"].startswith("RuntimeError Traceback")
    assert "in broken" in found["broken"]
    assert found["unpicklable"].startswith("RuntimeError Traceback")
    assert found["killed"].startswith(
        "SettingError preparation.engine: The process or the machine that did one was lost 3"
    )


@pytest.mark.slow
@needs_ray
@pytest.mark.parametrize(("n_nodes", "is_one_killed"), [(1, False), (3, True)])
def test_a_cluster_makes_the_same_bytes(
    n_nodes: int, is_one_killed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one node, and of three of which one is killed half-way."""
    rows = [
        {"messages": [{"role": "user", "content": f"Say {n}."}, {"role": "assistant", "content": f"{n} " * 50}]}
        for n in range(3000)
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"data": {"paths": [str(tmp_path / "a.jsonl")]}, "formats": "chat", "models": tiny_folder("llama")}
    monkeypatch.setattr(preparation, "SLICE_BYTES", 20_000)
    alone = pipeline.prepare(make_recipe({**settings, "out": str(tmp_path / "alone")}))
    asked = {**settings, "preparation": {"engine": "ray"}, "out": str(tmp_path / "cluster")}
    own = {"settings": asked, "n_nodes": n_nodes, "is_one_killed": is_one_killed}
    found = run_with(DIGESTS, "--own", json.dumps(own))

    assert found == {"digest": alone["digest"], "nodes_left": n_nodes - is_one_killed}


def test_a_worker_tells_what_came_of_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The events with it; an error of the user's as it is, any other with its traceback."""
    common = Common(str(tmp_path), code_digest())
    monkeypatch.setattr(ray_engine, "_common", lambda reference: reference)
    monkeypatch.setattr(ray_engine, "_begin", lambda attempts, place, name: attempts.begin(place))
    monkeypatch.setenv("RAYON_NUM_THREADS", "1")
    actions = [partial(side_jobs.told, "a"), side_jobs.wrong, side_jobs.broken, side_jobs.unpicklable]
    rows = [{"place": place, "job": sent(Job("one", action), common)} for place, action in enumerate(actions)]
    attempts = Attempts()
    came = [done(common, attempts, row) for row in rows]

    assert [row["place"] for row in came] == [0, 1, 2, 3]
    (first, events), (second, _), (third, _), (fourth, _) = (pickle.loads(row["told"]) for row in came)
    assert first[0] == "a"
    assert [event.stage for event in events] == ["doing a"]
    assert str(second) == "rows.csv:3: A row is empty. Fill it."
    assert "nobody foresaw this" in str(third)
    assert isinstance(fourth, RuntimeError)
    assert [attempts.begin(place) for place in (3, 4, 3)] == [2, 1, 3]
