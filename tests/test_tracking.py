"""Trackers by name: told of every update, closed whatever happens, and kept from the network."""

from pathlib import Path
from typing import Any

import pytest
from accelerate.tracking import LOGGER_TYPE_TO_CLASS

from formtune import tracking
from formtune.errors import MissingExtra, SettingError
from formtune.tracking import KINDS, check_trackers, flat, tracked
from formtune.training import Look, TracePoint
from formtune.work import Work

FIRST = TracePoint(step=1, loss=2.0, learning_rate=0.1, n_learned=30, n_tokens=90, seconds=0.5, work=Work())
SECOND = TracePoint(
    step=2,
    loss=1.0,
    learning_rate=0.05,
    n_learned=10,
    n_tokens=40,
    seconds=0.5,
    work=Work(),
    look=Look(score=0.8, shown={"accuracy": 80.0}),
)


class Notebook:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.config: dict[str, Any] = {}
        self.told: list[tuple[int | None, dict[str, Any]]] = []
        self.closed = False

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.config = values

    def log(self, values: dict[str, Any], step: int | None = None) -> None:
        self.told.append((step, values))

    def finish(self) -> None:
        self.closed = True


def test_a_tracker_is_told_of_every_update_and_of_the_test(tmp_path: Path) -> None:
    """Loss, step size, learned tokens per second, looks; the settings once; the test records at the last update."""
    notebook = Notebook()
    with tracked([notebook], run="a", folder=tmp_path, config={"training": {"clip": 1.0}}) as course:
        course.point(FIRST)
        course.point(SECOND)
        course.scores({"accuracy": 75.0}, step=2)

    assert notebook.config == {"training.clip": 1.0}
    assert notebook.told == [
        (1, {"train/loss": 2.0, "train/learning_rate": 0.1, "train/learned_tokens_per_second": 60.0}),
        (
            2,
            {
                "train/loss": 1.0,
                "train/learning_rate": 0.05,
                "train/learned_tokens_per_second": 20.0,
                "dev/accuracy": 80.0,
            },
        ),
        (2, {"test/accuracy": 75.0}),
    ]
    assert notebook.closed


def test_a_tracker_is_closed_where_training_ends_badly(tmp_path: Path) -> None:
    """So that what it was told is kept."""
    notebook = Notebook()
    with pytest.raises(SettingError), tracked([notebook], run="a", folder=tmp_path, config={}):
        raise SettingError("The loss is nan.", "Lower the learning rate.")

    assert notebook.closed


@pytest.mark.filterwarnings("ignore")  # of libraries that TensorBoard imports
def test_tensorboard_reads_back_what_was_tracked(tmp_path: Path) -> None:
    """One folder a run."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = {"training": {"clip": 1.0, "patience": None}, "models": ["a"]}
    with tracked(["tensorboard"], run="first", folder=tmp_path, config=config) as course:
        course.point(FIRST)
        course.point(SECOND)
        course.scores({"accuracy": 75.0}, step=2)

    events = EventAccumulator(str(tmp_path / "first")).Reload()
    losses = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert losses == [(1, 2.0), (2, 1.0)]
    assert [event.value for event in events.Scalars("test/accuracy")] == [75.0]


def test_every_tracker_of_accelerate_can_be_named() -> None:
    """And no other."""
    assert set(KINDS) == set(LOGGER_TYPE_TO_CLASS)


def test_an_unknown_tracker_is_refused() -> None:
    """With the nearest known one."""
    with pytest.raises(SettingError, match=r"training\.trackers: There is no tracker 'wandbb'; the nearest is 'wandb'"):
        check_trackers(["wandbb"])


def test_a_tracker_that_is_not_installed_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the line that installs it: ours for the one of the extra, its own for the others."""
    monkeypatch.setattr(tracking, "find_spec", lambda _package: None)

    with pytest.raises(MissingExtra, match=r"pip install 'formtune\[track\]'"):
        check_trackers(["tensorboard"])
    with pytest.raises(SettingError, match=r"needs the package 'comet_ml'.* Run: pip install comet_ml\."):
        check_trackers(["comet_ml"])


def test_settings_are_laid_out_as_every_tracker_takes_them() -> None:
    """Text for what is neither a number nor a boolean."""
    assert flat({"a": {"b": True, "c": [1, 2]}, "d": None}) == {"a.b": True, "a.c": "1,2", "d": ""}
