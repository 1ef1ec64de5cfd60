"""Checkpoints of a training: whole or absent, in safetensors and JSON, with everything that the next update depends on.

A checkpoint is a folder ``step-00000037``: the trained weights, what the optimizer keeps of each, the states of the random
generators, and ``state.json`` (the trace, the best look, how long patience has waited, what is trained on and how). The
weights of the best look stand beside it in ``best-00000030``: written once, and kept as long as a checkpoint needs them.
"""

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from formtune import processes
from formtune.errors import DataError, SettingError, Stopped
from formtune.interrupts import Asked, Heed, unheeded
from formtune.locks import held_folder
from formtune.shards import digest_of, discard, read_manifest, staged, sweep
from formtune.training_state import State

PAUSE_S = 300.0  # the most that a killed training loses, where writing is quick
SHARE = 0.05  # of the time at most goes into writing, where it is not
_STATE = "state.json"
_WEIGHTS, _OPTIMIZER, _RANDOM = (f"{name}.safetensors" for name in ("weights", "optimizer", "random"))
ARM = "arm"  # of a comparison: see formtune.kept_arms
_STEP, _BEST, _LOCK = "step", "best", "lock"
_KINDS = {_STEP: "checkpoint", _BEST: "best weights"}


# --- tensors in files ------------------------------------------------------------------------------------------------


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors.

    Raises:
        OSError: where there is no room, as from any other writer; safetensors has an error of its own for it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({name: one.detach().cpu().contiguous() for name, one in tensors.items()}, path)
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        code = int(number.group(1))
        raise OSError(code, os.strerror(code), str(path)) from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read what :func:`write_tensors` wrote."""
    from safetensors.torch import load_file

    return load_file(path)


class OnDisk(Mapping[str, Tensor]):
    """Tensors that stay in their file until one is asked for; the file must last as long."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __getitem__(self, name: str) -> Tensor:
        """Read one tensor."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self._path, "pt") as file:
                found: Tensor = file.get_tensor(name)
        except SafetensorError as error:
            raise KeyError(name) from error
        return found

    def __iter__(self) -> Iterator[str]:
        """Name them, in the order of the file."""
        from safetensors import safe_open

        with safe_open(self._path, "pt") as file:
            names: list[str] = list(file.keys())
        return iter(names)

    def __len__(self) -> int:
        """Count them."""
        return sum(1 for _ in self)


# --- keeping them ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointPlan:
    """Where the checkpoints of a training are kept, and when.

    Attributes:
        folder: holds the checkpoints of one training and nothing else.
        every: updates between two; None for once in five minutes, or more seldom where writing would take more than a
            twentieth of the time.
        n_kept: how many of the newest stay.
        heed: tells, while the training goes on, whether it was asked to stop.
    """

    folder: Path
    every: int | None = None
    n_kept: int = 2
    heed: Heed = field(default=unheeded)


@contextmanager
def claimed(folder: Path, *, fresh: bool = False) -> Iterator[None]:
    """Hold a folder of checkpoints for this process alone; the claim ends with the process, however that ends.

    What a killed process left half written there is removed; so is the folder itself in the end, if nothing is in it.

    Args:
        folder: made where it is not there.
        fresh: remove its checkpoints as well.

    Raises:
        SettingError: where another process holds it, or it cannot be written.
    """
    with held_folder(folder, _LOCK, keeps="checkpoint", busy="Another process trains here."):
        sweep(folder)
        if fresh:
            remove(folder)
        try:
            yield
        finally:
            if [place.name for place in folder.iterdir()] == [_LOCK]:
                (folder / _LOCK).unlink()
                folder.rmdir()


class Keeper:
    """Keeps the checkpoints of one training, and finds the one from which it goes on."""

    def __init__(
        self,
        keeping: CheckpointPlan,
        *,
        facts: Mapping[str, Any] | None = None,
        tell: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Take a folder.

        Args:
            keeping: where and when.
            facts: what must be equal for a training to go on, beside what the loop knows of it.
            tell: told in a sentence what is taken up, and what is damaged.
        """
        self.keeping = keeping
        self.folder = keeping.folder
        self.facts = facts or {}
        self.tell = tell
        self._asked: Asked = lambda: None
        self._job: dict[str, Any] = {}
        self._best_step = 0  # whose weights stand there whole
        self._last: int | None = None
        self._since_s = time.monotonic()
        self._took_s = 0.0

    def take_up(self, job: Mapping[str, Any]) -> State | None:
        """Give the newest whole checkpoint; None where there is none.

        Args:
            job: what the training is of; must be equal to what the checkpoint says.

        Raises:
            SettingError: where the checkpoint is of another training.
        """
        self._job = json.loads(json.dumps({**job, **self.facts}))
        return processes.from_main(self._taken_up)

    def _taken_up(self) -> State | None:
        places = _places(self.folder, _STEP)
        for place in reversed(places):
            try:
                state, kept = self._read(place)
            except DataError as error:
                self.tell(f"the checkpoint of update {_number(place)} is damaged ({error.at}: {error.problem})")
                continue
            _check_same(kept, self._job, at=place)
            self._last, self._best_step = state.step, state.best_step
            return state
        if places:
            self.tell("no checkpoint is whole, so training begins anew")
        return None

    @contextmanager
    def heeding(self) -> Iterator[None]:
        """While the block runs, be ready to be asked to stop."""
        self._since_s = time.monotonic()
        with self.keeping.heed() as self._asked:
            yield

    def after(self, step: int, state: Callable[[], State]) -> None:
        """Write a checkpoint where one is due or a signal asks to stop.

        Args:
            step: updates done.
            state: gives where the training stands.

        Raises:
            Stopped: where a signal asked to stop; the checkpoint is written.
            SettingError: where it cannot be written; those before it are whole.
        """
        told = processes.gathered((self._asked(), self._due(step)))
        signal, due = next((one for one, _ in told if one is not None), None), told[0][1]
        if signal is None and not due:
            return
        reached = state()
        processes.from_main(lambda: self._write(reached))
        if signal is not None:
            raise Stopped(
                f"Stopped after update {step}, which is kept.",
                "Give the same command again to go on.",
                at=self.folder,
                signal=signal,
            )

    def advice(self) -> str:
        """Say, for a training that cannot go on, what there is to begin from."""
        kept = "No update is kept." if self._last is None else f"Update {self._last} is kept in {str(self.folder)!r}."
        return f"{kept} Other settings begin anew, with --fresh."

    def _due(self, step: int) -> bool:
        if self.keeping.every is not None:
            return step % self.keeping.every == 0
        return time.monotonic() - self._since_s >= max(PAUSE_S, self._took_s / SHARE)

    def _write(self, state: State) -> None:
        begun_s = time.monotonic()
        try:
            self._stage(state)
        except SettingError as error:
            last = "the beginning" if self._last is None else f"update {self._last}"
            remedy = f"Make room there, or let it be written, then give the same command again: it goes on from {last}."
            raise SettingError(error.problem, remedy, at=error.at) from error
        self._last = state.step
        self._rotate(state.step)
        self._since_s = time.monotonic()
        self._took_s = self._since_s - begun_s

    def _stage(self, state: State) -> None:
        if state.best_step and state.best_step != self._best_step:
            with self._placed(_BEST, state.best_step) as staging:
                write_tensors(staging / _WEIGHTS, state.best)
            self._best_step = state.best_step
        tensors, numbers = _parted(state.optimizer)
        text = {"job": self._job, "best_step": state.best_step, "optimizer": numbers, "notes": state.notes}
        with self._placed(_STEP, state.step) as staging:
            write_tensors(staging / _WEIGHTS, state.weights)
            write_tensors(staging / _OPTIMIZER, tensors)
            write_tensors(staging / _RANDOM, state.random)
            (staging / _STATE).write_text(json.dumps(text), encoding="utf-8")

    def _placed(self, kind: str, step: int) -> AbstractContextManager[Path]:
        """Give a temporary folder that takes its place in the end; what stands there now was damaged."""
        place = self.folder / f"{kind}-{step:08d}"
        if place.exists():
            discard(place)
        return staged(place, {"kind": _KINDS[kind], "step": step, "job": digest_of(self._job)})

    def _rotate(self, step: int) -> None:
        """Keep the newest few; what is newer than the one just written was damaged, or left by it."""
        places = _places(self.folder, _STEP)
        kept = [place for place in places if _number(place) <= step][-self.keeping.n_kept :]
        for place in places:
            if place not in kept:
                discard(place)
        bests = _places(self.folder, _BEST)
        needed = {max((b for b in bests if _number(b) <= _number(place)), default=None) for place in kept}
        for place in bests:
            if place not in needed:
                discard(place)

    def _read(self, place: Path) -> tuple[State, dict[str, Any]]:
        job = _job_in(place)
        read_manifest(place, kind=_KINDS[_STEP])
        text = json.loads((place / _STATE).read_text(encoding="utf-8"))
        state = State(
            step=_number(place),
            weights=read_tensors(place / _WEIGHTS),
            optimizer=_joined(read_tensors(place / _OPTIMIZER), text["optimizer"]),
            random=read_tensors(place / _RANDOM),
            best_step=text["best_step"],
            best=self._best(text["best_step"], job=digest_of(job)),
            notes=text["notes"],
        )
        return state, job

    def _best(self, step: int, *, job: str) -> dict[str, Tensor]:
        if not step:
            return {}
        place = self.folder / f"{_BEST}-{step:08d}"
        if read_manifest(place, kind=_KINDS[_BEST]).get("job") != job:
            raise DataError("The best weights are of another training.", "Begin anew with --fresh.", at=place)
        return read_tensors(place / _WEIGHTS)


def noted(folder: Path) -> Mapping[str, Any] | None:
    """Give what the newest checkpoint that can be read says of its training, without looking at its tensors."""
    for place in reversed(_places(folder, _STEP)):
        try:
            return _job_in(place)
        except DataError:  # told when it is to be taken up
            continue
    return None


def remove(folder: Path) -> None:
    """Remove all that is kept: the training or comparison is finished, or begins anew."""
    for place in (*_places(folder, _STEP), *_places(folder, _BEST), *folder.glob(f"{ARM}-" + "[0-9a-f]" * 16)):
        discard(place)


def _places(folder: Path, kind: str) -> list[Path]:
    """List the folders of a kind, oldest first."""
    return sorted(folder.glob(f"{kind}-" + "[0-9]" * 8))


def _job_in(place: Path) -> dict[str, Any]:
    """Read what a checkpoint is of, checked by its digest."""
    try:
        job = json.loads((place / _STATE).read_text(encoding="utf-8"))["job"]
        wanted = json.loads((place / "manifest.json").read_text(encoding="utf-8"))["job"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError("It cannot be read.", "Take another.", at=place) from error
    if digest_of(job) != wanted:
        raise DataError("It is not what was written (its digest differs).", "Take another.", at=place / _STATE)
    return dict(job)


def _number(place: Path) -> int:
    return int(place.name.rpartition("-")[2])


def _parted(kept: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    """Part an optimizer's state into tensors, by ``name/key``, and everything else, by name and key."""
    tensors = {f"{n}/{k}": v for n, own in kept.items() for k, v in own.items() if isinstance(v, Tensor)}
    others = {n: {k: v for k, v in own.items() if not isinstance(v, Tensor)} for n, own in kept.items()}
    return tensors, others


def _joined(tensors: Mapping[str, Tensor], others: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Undo :func:`_parted`."""
    kept = {name: dict(own) for name, own in others.items()}
    for place, tensor in tensors.items():
        name, _, key = place.rpartition("/")
        kept[name][key] = tensor
    return kept


_TOLD = {  # what differs, where its values would say nothing
    "data": "the training examples are others",
    "dev": "the dev examples are others",
    "model": "the pretrained model's files are others",
    "parameters": "other weights are trained",
}


def _check_same(kept: Mapping[str, Any], wanted: Mapping[str, Any], *, at: Path) -> None:
    told = list(_differences(kept, wanted))
    if told:
        raise SettingError(
            f"It is of another training: {'; '.join(told)}.",
            "Give what it was begun with to go on, or --fresh to begin anew.",
            at=at,
        )


def _differences(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    for key in dict.fromkeys((*kept, *wanted)):
        before, now = kept.get(key), wanted.get(key)
        if before == now:
            continue
        if isinstance(before, dict) and isinstance(now, dict):
            yield from _differences(before, now)
        else:
            yield _TOLD.get(key) or f"{key} was {before!r} and is {now!r}"
