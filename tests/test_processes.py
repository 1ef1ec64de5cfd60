"""Several processes: the same training as one, and all of them agree on what happens."""

import json
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paired_processes import CASES, COPIES_ALONE
from tiny_models import tiny_folder
from token_examples import tokens

from formtune import processes
from formtune.errors import DataError, MissingExtra, SettingError
from formtune.shards import read_manifest
from formtune.training import dropout_seed
from formtune.updates import dealt

HERE = Path(__file__).parent
LAUNCHER = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
EVERY_CASE = [*(("copies", name) for name in {**CASES, **COPIES_ALONE}), *(("parts", name) for name in CASES)]


@pytest.fixture(scope="session")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do every training in two processes, once."""
    folder = tmp_path_factory.mktemp("two")
    environments = [environment(rank, port=free_port()) for rank in range(2)]
    environments[1]["MASTER_PORT"] = environments[0]["MASTER_PORT"]
    command = [sys.executable, str(HERE / "paired_processes.py"), str(folder)]
    running = [subprocess.Popen(command, env=one, stderr=subprocess.PIPE, text=True) for one in environments]
    for one in running:
        _, told = one.communicate(timeout=300)
        assert one.returncode == 0, told
    return folder


def environment(rank: int, *, port: int, of: int = 2) -> dict[str, str]:
    """Say what a launcher says to one of its processes."""
    mine = dict(zip(LAUNCHER, (str(of), str(rank), str(rank), str(of), "127.0.0.1", str(port)), strict=True))
    paths = os.pathsep.join([str(HERE), *sys.path])
    return {**os.environ, **mine, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}


def free_port() -> int:
    """Find a port of this machine that nobody listens to."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="session")
def alone() -> dict[str, Any]:
    """Remember what each training came to in this process, so that it is done once."""
    return {}


@pytest.mark.parametrize(("held", "name"), EVERY_CASE)
def test_two_processes_train_like_one(held: str, name: str, two: Path, alone: dict[str, Any]) -> None:
    """Losses and weights within rounding, and the same decisions, whether each holds a copy or a part of the weights."""
    if name not in alone:
        alone[name] = {**CASES, **COPIES_ALONE}[name]()
    told, weights = alone[name]
    found = json.loads((two / held / f"{name}.json").read_text())
    tolerance = 2e-2 if name == "bfloat16" else 1e-4

    assert found["counts"] == told["counts"]
    assert found["losses"] == pytest.approx(told["losses"], rel=tolerance)
    with np.load(two / held / f"{name}.npz") as arrays:
        assert set(arrays) == set(weights)
        for parameter, values in weights.items():
            assert np.abs(arrays[parameter] - values.float().numpy()).max() <= tolerance, parameter


def test_training_in_two_processes_stops_early_as_in_one(two: Path) -> None:
    """The best look is not the last, and fewer updates are done than were asked for."""
    n_updates, best, *_ = json.loads((two / "copies" / "looks.json").read_text())["counts"]

    assert best + 2 == n_updates < 12


def test_a_training_in_two_processes_goes_on_where_it_was_stopped(two: Path) -> None:
    """Bit by bit, dropout of both included, whether they hold copies or parts; a signal to one of them stops both."""
    for rank in range(2):
        assert json.loads((two / f"goes-on-{rank}.json").read_text()) == {"copies": True, "parts": True}


@pytest.fixture(scope="session")
def agreed(two: Path) -> list[dict[str, Any]]:
    """What each of the two processes got where they agree on something."""
    return [json.loads((two / f"agreements-{rank}.json").read_text()) for rank in range(2)]


def test_what_is_agreed_on_is_the_same_in_both(agreed: list[dict[str, Any]]) -> None:
    """Values of the main process, of all, and results of work that was dealt out."""
    for one in agreed:
        assert (one["from main"], one["gathered"], one["spread"]) == (7, [0, 1], [10, 20, 30, 40, 50])
    assert [one["alike"] for one in agreed] == [0, 1]


def test_an_error_in_one_process_ends_both(agreed: list[dict[str, Any]]) -> None:
    """With the same words, so that none waits for another."""
    for one in agreed:
        assert one["wrong in the second"] == "DataError train.jsonl:3: This cannot be read. Mend it."
        assert one["wrong in the main"] == "DataError train.jsonl:3: This cannot be read. Mend it."
        assert one["other records"].startswith("SettingError DATA: The processes do not have the same records.")


def test_training_that_diverges_in_one_process_ends_both(agreed: list[dict[str, Any]]) -> None:
    """Its loss is part of the update's."""
    assert [one["diverged"] for one in agreed] == [True, True]


def test_dropout_differs_between_processes(agreed: list[dict[str, Any]]) -> None:
    """After a training with the same seed."""
    first, second = (one["chance"] for one in agreed)

    assert first != second
    assert dropout_seed(3, 0) == 3
    assert len({dropout_seed(seed, rank) for seed in (3, 4) for rank in range(4)}) == 8


def test_what_is_not_done_in_parts_is_refused(agreed: list[dict[str, Any]]) -> None:
    """By the place of the setting, or the launcher's own name of it."""
    one = agreed[0]

    assert "training.optimizer: The optimizer adafactor needs whole matrices" in one["adafactor in parts"]
    assert "training.unfreeze_every: What is sharded cannot join later" in one["joining in parts"]
    assert "FSDP_VERSION: Of the two versions of FSDP the second is used here." in one["first version"]
    assert "ACCELERATE_MIXED_PRECISION: model.precision says it" in one["precision of the launcher"]


def typed(*arguments: str, command: str = "train") -> list[tuple[int, str, str]]:
    """Type a command in two processes, and give exit code, output and errors of each."""
    port = free_port()
    line = [sys.executable, "-m", "formtune", command, *arguments]
    running = [
        subprocess.Popen(line, env=environment(rank, port=port), stdout=-1, stderr=-1, text=True) for rank in range(2)
    ]
    told = [one.communicate(timeout=300) for one in running]
    return [(one.returncode, *texts) for one, texts in zip(running, told, strict=True)]


@pytest.mark.slow
def test_only_the_main_process_writes_and_speaks(tmp_path: Path) -> None:
    """Both end alike, with one run; the other process prints nothing."""
    data, out = tmp_path / "films.csv", tmp_path / "run"
    rows = [f"film {i} was {'good' if i % 2 else 'bad'},{'yes' if i % 2 else 'no'}" for i in range(40)]
    data.write_text("text,label\n" + "\n".join(rows) + "\n")
    asked = ("--format", "classification", "--model", tiny_folder("bert"), "--steps", "2", "--out", str(out))
    main, other = typed(str(data), *asked, "--json")

    assert (main[0], *other) == (0, 0, "", "")
    assert json.loads(main[1])["run"] == str(out)
    assert read_manifest(out, kind="run")["steps"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["films.csv", "run"]


@pytest.mark.slow
def test_what_is_wrong_is_told_once_and_ends_both(tmp_path: Path) -> None:
    """A file that is not there, standard input, and a command that runs in one process."""
    asked = ("--format", "classification", "--model", tiny_folder("bert"), "--out", str(tmp_path / "run"))
    main, other = typed(str(tmp_path / "nothing.csv"), *asked)
    assert (main[0], *other) == (2, 2, "", "")
    assert "nothing.csv" in main[2]

    main, other = typed("-", *asked)
    assert (main[0], *other) == (2, 2, "", "")
    assert "DATA: Of several processes only one can read standard input." in main[2]

    main, other = typed(str(tmp_path / "nothing.csv"), *asked, command="compare")
    assert (main[0], *other) == (2, 2, "", "")
    assert main[2].startswith("WORLD_SIZE: compare runs in one process, and 2 were started.")


def test_a_launcher_that_started_one_process_instead_of_several_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """What accelerate launch --cpu --num_processes 2 sets where it has no MPI."""
    for name in LAUNCHER:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")

    with pytest.raises(SettingError, match=r"--num_processes: .* started one.*torchrun"):
        processes.start()


@pytest.mark.parametrize(
    "error",
    [
        DataError("This cannot be read.", "Mend it.", at="a.csv:2"),
        MissingExtra("ray", "ray", at="--engine"),
    ],
)
def test_errors_pass_from_one_process_to_another(error: Exception) -> None:
    """With their kind, text and place."""
    again = pickle.loads(pickle.dumps(error))

    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def lengths_dealt(lengths: list[int], n_processes: int) -> list[int]:
    """Deal examples of some lengths out, and give what each process has to compute."""
    found = [tokens([20 + i] * (length - 1), [3]) for i, length in enumerate(lengths)]
    return [sum(lengths[i] for i in hand) for hand in dealt(found, n_processes, shares=False)]


def test_examples_are_dealt_out_by_what_they_cost() -> None:
    """The longest first; a process gets nothing where there are fewer examples than processes."""
    assert lengths_dealt([9, 2, 3, 4], 2) == [9, 9]
    assert lengths_dealt([7], 3) == [7, 0, 0]


@given(st.lists(st.integers(2, 40), min_size=1, max_size=12), st.integers(1, 5), st.booleans())
def test_every_example_is_dealt_to_one_process(lengths: list[int], n_processes: int, shares: bool) -> None:
    """And nobody has more than a fair share and the longest example together."""
    found = [tokens([7] * 18 + [20 + i] * (length - 1), [3]) for i, length in enumerate(lengths)]
    hands = dealt(found, n_processes, shares=shares)
    loads = [sum(len(found[i].ids_T) for i in hand) for hand in hands]

    assert sorted(i for hand in hands for i in hand) == list(range(len(lengths)))
    assert len(hands) == n_processes
    if not shares:
        assert max(loads) <= sum(loads) / n_processes + max(len(t.ids_T) for t in found)


def test_examples_that_begin_alike_stay_with_one_process() -> None:
    """Two paragraphs of 20 tokens with three questions each: a paragraph for each process."""
    found = [tokens([paragraph] * 20 + [30 + i], [3, 4]) for i in range(3) for paragraph in (5, 6)]

    assert sorted(map(sorted, dealt(found, 2, shares=True))) == [[0, 2, 4], [1, 3, 5]]


def test_a_family_of_all_examples_is_cut() -> None:
    """What everybody shares keeps nobody from helping."""
    found = [tokens([5] * 20 + [30 + i], [3, 4]) for i in range(6)]

    assert sorted(map(len, dealt(found, 2, shares=True))) == [3, 3]
