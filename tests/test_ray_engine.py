"""Ray's workers train like this process, and what they wrote comes back."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny_models import tiny_folder

from formtune import pipeline, ray_engine
from formtune.errors import DataError, MissingExtra, SettingError
from formtune.ray_engine import Mailbox, pieces, settle
from formtune.recipe import make_recipe
from formtune.shards import read_manifest, staged

HERE = Path(__file__).parent


def settings(tmp_path: Path) -> dict[str, Any]:
    """A training of four updates on records that are easily told apart."""
    data = tmp_path / "films.csv"
    rows = [f"film {i} was {'good' if i % 2 else 'bad'},{'yes' if i % 2 else 'no'}" for i in range(40)]
    data.write_text("text,label\n" + "\n".join(rows) + "\n")
    return {
        "data": {"paths": str(data)},
        "formats": "seq2seq",
        "models": tiny_folder("llama"),
        "training": {"steps": 4, "batch_size": 5, "learning_rate": 1e-3},
    }


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_two_workers_on_two_nodes_train_like_this_process(tmp_path: Path) -> None:
    """On a disk that all see, and on disks of their own; errors of a worker come back as they are."""
    asked = settings(tmp_path)
    pipeline.train(make_recipe({**asked, "out": str(tmp_path / "here")}))
    on_ray = {**asked, "training": {**asked["training"], "engine": "ray", "workers": 2}}
    command = [sys.executable, str(HERE / "two_nodes.py"), json.dumps(on_ray), str(tmp_path)]
    path = {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=False, env={**os.environ, **path}, capture_output=True, text=True, timeout=400)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    wanted = load_file(tmp_path / "here" / "weights.safetensors")
    for name in ("shared", "apart"):
        assert (found[name]["steps told"], found[name]["nodes"]) == ([1, 2, 3, 4], 2)
        manifest = read_manifest(tmp_path / name, kind="run")
        assert manifest["run"] == manifest["recipe"]["out"] == found[name]["run"] == str(tmp_path / name)
        weights = load_file(tmp_path / name / "weights.safetensors")
        assert all(np.abs(weights[n] - values).max() < 1e-4 for n, values in wanted.items())
    assert any((tmp_path / "tracks" / "apart").iterdir())
    assert found["missing"]["error"].startswith("DataError")
    assert found["too many"]["error"].startswith("SettingError training.workers: The cluster has 2 processors for 9")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_what_is_sent_in_pieces_is_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty file, and one of more than a piece; an older run is replaced, neighbors stay."""
    monkeypatch.setattr(ray_engine, "CHUNK_BYTES", 4)
    own, out, staging = tmp_path / "own", tmp_path / "out" / "run", tmp_path / "out" / "part"
    for place, text in ((own / "run", "new weights"), (out, "old")):
        with staged(place, {"kind": "run", "recipe": {"out": str(place)}, "run": str(place)}) as folder:
            (folder / "weights").write_text(text)
            (folder / "empty").touch()
    (own / "tracks" / "run").mkdir(parents=True)
    (own / "tracks" / "run" / "events").write_text("told")
    (tmp_path / "out" / "tracks").mkdir()
    (tmp_path / "out" / "tracks" / "other").touch()

    mailbox = Mailbox(str(staging))
    for name, piece in pieces(own):
        mailbox.write(name, piece)
    settle(staging, out)

    assert (out / "weights").read_text() == "new weights"
    assert read_manifest(out, kind="run")["run"] == str(out)
    assert (tmp_path / "out" / "tracks" / "run" / "events").read_text() == "told"
    assert (tmp_path / "out" / "tracks" / "other").exists()


def test_what_was_damaged_on_the_way_takes_no_place(tmp_path: Path) -> None:
    """Its digest differs."""
    with staged(tmp_path / "part" / "run", {"kind": "run"}) as folder:
        (folder / "weights").write_text("whole")
    (tmp_path / "part" / "run" / "weights").write_text("half")

    with pytest.raises(DataError, match="digest differs"):
        settle(tmp_path / "part", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the pip line."""
    monkeypatch.setattr(ray_engine, "find_spec", lambda _package: None)
    asked = settings(tmp_path)
    recipe = make_recipe({**asked, "training": {"engine": "ray"}, "out": str(tmp_path / "run")})

    with pytest.raises(MissingExtra, match=r"training\.engine: .*pip install 'formtune\[ray\]'"):
        pipeline.train(recipe)


def test_workers_without_ray_are_refused(tmp_path: Path) -> None:
    """Since nothing would start them."""
    recipe = make_recipe({**settings(tmp_path), "training": {"workers": 2}})

    with pytest.raises(SettingError, match=r"training\.workers: .*torchrun"):
        pipeline.train(recipe)


@pytest.mark.parametrize(("name", "value"), [("trackers", "wandb"), ("engine", "ray")])
def test_a_comparison_has_one_process_and_no_trackers(name: str, value: str, tmp_path: Path) -> None:
    """It trains many times."""
    recipe = make_recipe({**settings(tmp_path), "training": {name: value}})

    with pytest.raises(SettingError, match=rf"training\.{name}: A comparison trains many times"):
        pipeline.compare(recipe)
