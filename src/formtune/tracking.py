"""Experiment trackers by name: all that accelerate knows, kept from the network unless the environment says otherwise."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from formtune.errors import MissingExtra, SettingError, unknown
from formtune.training import TracePoint

PROJECT = "formtune"
PLACE = "training.trackers"


class Tracker(Protocol):
    """What a tracker of accelerate does; one's own may do the same."""

    def store_init_configuration(self, values: dict[str, Any]) -> object:
        """Take the settings of a run, once."""

    def log(self, values: dict[str, Any], step: int | None = None) -> object:
        """Take numbers by name."""

    def finish(self) -> object:
        """Close the run."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a tracker needs.

    Attributes:
        package: that is imported.
        offline: what keeps it from the network, as its own environment variables say it.
        named: the argument that takes the name of a run, where the tracker has one beside the project's.
        folder: the argument that takes the folder it writes to, where it has one.
    """

    package: str
    offline: Mapping[str, str] = field(default_factory=dict)
    named: str | None = None
    folder: str | None = None


KINDS: Mapping[str, _Kind] = {
    "aim": _Kind("aim"),
    "clearml": _Kind("clearml", {"CLEARML_OFFLINE_MODE": "1"}, named="task_name"),
    "comet_ml": _Kind("comet_ml", {"COMET_START_ONLINE": "0"}),
    "dvclive": _Kind("dvclive", folder="dir"),
    "mlflow": _Kind("mlflow", named="run_name"),
    "swanlab": _Kind("swanlab", {"SWANLAB_MODE": "offline"}, named="experiment_name", folder="logdir"),
    "tensorboard": _Kind("tensorboard"),
    "trackio": _Kind("trackio", named="name"),
    "wandb": _Kind("wandb", {"WANDB_MODE": "offline"}, named="name", folder="dir"),
}


def check_trackers(names: Sequence[str]) -> None:
    """Refuse names that are not known and packages that are not there, before the work whose course is to be tracked.

    Raises:
        SettingError: where a name is not known, or its package is not installed.
    """
    for name in names:
        if name not in KINDS:
            raise unknown("tracker", name, list(KINDS), at=PLACE)
        package = KINDS[name].package
        if find_spec(package) is None:
            if name == "tensorboard":
                raise MissingExtra(package, "track", at=PLACE)
            raise SettingError(
                f"The tracker {name!r} needs the package {package!r}, which is not installed.",
                f"Run: pip install {package}.",
                at=PLACE,
            )


class Tracking:
    """The trackers of a run; without any it does nothing."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = trackers

    def point(self, point: TracePoint) -> None:
        """Tell of an update, and of the look after it."""
        values = {
            "train/loss": point.loss,
            "train/learning_rate": point.learning_rate,
            "train/learned_tokens_per_second": point.n_learned / max(point.seconds, 1e-9),
        }
        self._log({**values, **_under("dev", point.look.shown if point.look else {})}, step=point.step)

    def scores(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Tell how the test records were answered, after so many updates."""
        self._log(_under("test", metrics), step=step)

    def _log(self, values: dict[str, float], *, step: int) -> None:
        if values:
            for tracker in self._trackers:
                tracker.log(values, step=step)


def _under(part: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{part}/{name}": value for name, value in values.items()}


@contextmanager
def tracked(
    names: Sequence[str | Tracker], *, run: str, folder: Path, config: Mapping[str, object]
) -> Iterator[Tracking]:
    """Follow a run with trackers, closed at the end whatever happens.

    Args:
        names: of trackers, or trackers of one's own.
        run: what it is called; the project is ``formtune``.
        folder: where trackers that write files put them, each run in a folder of its own.
        config: every setting; nested sections become dotted names.
    """
    trackers: list[Tracker] = []
    with ExitStack() as begun:
        for one in names:
            tracker = _begun(one, run=run, folder=folder) if isinstance(one, str) else one
            begun.callback(tracker.finish)
            tracker.store_init_configuration(flat(config))
            trackers.append(tracker)
        yield Tracking(trackers)


def _begun(name: str, *, run: str, folder: Path) -> Tracker:
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    kind, made = KINDS[name], LOGGER_TYPE_TO_CLASS[name]
    for variable, value in kind.offline.items():
        os.environ.setdefault(variable, value)
    own = ((kind.named, run), (kind.folder, str(folder / run)))
    arguments = {argument: value for argument, value in own if argument}
    if kind.folder or made.requires_logging_directory:
        (folder / run).mkdir(parents=True, exist_ok=True)
    # TensorBoard and aim know no projects: what they show as one run has the name that they are given.
    titles = [run, str(folder)] if made.requires_logging_directory else [PROJECT]
    tracker: Any = made(*titles, **arguments)
    tracker.start()
    ready: Tracker = tracker
    return ready


def flat(values: Mapping[str, object], *, under: str = "") -> dict[str, str | float | bool]:
    """Lay nested settings out by dotted names, as numbers, booleans and text: what every tracker takes.

    >>> flat({"training": {"clip": 1.0, "patience": None}, "models": ["a", "b"]})
    {'training.clip': 1.0, 'training.patience': '', 'models': 'a,b'}
    """
    found: dict[str, str | float | bool] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, under=f"{under}{name}.")
        elif isinstance(value, bool | int | float | str):
            found[under + name] = value
        else:
            found[under + name] = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value or "")
    return found
