"""The log of a search, and what is tried next: Optuna's study in one file of JSON lines, which a killed search leaves whole.

Values are proposed by a tree of Parzen estimators (Bergstra et al. 2011; multivariate: Falkner et al. 2018), trials are
cut short by the median (Golovin et al. 2017, section 3.2.2) or by successive halving (Li et al. 2020). What is proposed
depends on the seed and on the trials before alone, so a search that is taken up again goes the way it would have gone.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState, create_trial

from formtune.locks import hold_alone
from formtune.spaces import Choices, Range, Space

JOURNAL = "study.jsonl"
NAME = "formtune"
State = Literal["finished", "pruned", "diverged", "refused"]
STATES: tuple[State, ...] = ("finished", "pruned", "diverged", "refused")
ENOUGH_FOR_IMPORTANCE = 10  # trials: the best quarter must be more than one or two
BEST_SHARE = 0.25
PRUNERS: Mapping[str, optuna.pruners.BasePruner] = {
    "median": optuna.pruners.MedianPruner(n_startup_trials=4),
    "halving": optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
    "none": optuna.pruners.NopPruner(),
}


class Pruned(Exception):
    """A trial is so far behind the others that it is not gone on with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A trial that is over.

    Attributes:
        number: which, from 1.
        values: what was tried, by the settings' places.
        state: ``pruned`` was cut short; ``diverged`` has a loss or a score that is no number; ``refused`` could not be
            trained at all, by the model or for want of memory.
        score: of the best look at the dev records, larger is better; None where there is none.
        loss: dev loss at that look.
        looks: score of every look, in order.
        seconds: wall time, looks counted.
        micro_batch_tokens: how much was computed at once, and
        checkpoint_activations: whether blocks were computed twice: on them depends which dropout falls on which token.
    """

    number: int
    values: Mapping[str, Any]
    state: State
    score: float | None
    loss: float | None
    looks: tuple[float, ...]
    seconds: float
    micro_batch_tokens: int | None = None
    checkpoint_activations: bool | None = None

    @property
    def merit(self) -> tuple[float, float]:
        """What trials are ordered by: the score, then the loss."""
        assert self.score is not None
        return self.score, -np.inf if self.loss is None else -self.loss


def is_begun(path: Path) -> bool:
    """Tell whether a log holds a trial that is over.

    Raises:
        SettingError: where another process works on it.
    """
    if not path.is_file():
        return False
    with path.open("rb") as file:
        hold_alone(
            file, at=path, busy="Another process is at this search.", remedy="Wait for it, or give another folder."
        )
        return b'"tried"' in file.read()


@contextmanager
def opened(path: Path, space: Space, *, seed: int, pruner: str) -> Iterator["Study"]:
    """Open the log of a search, or begin one; it is this process's alone until the block ends.

    Args:
        path: the file.
        space: what each setting is drawn from.
        seed: where proposals come from.
        pruner: a name of ``PRUNERS``.

    Raises:
        SettingError: where another process works on it.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with path.open("ab+") as file:
        hold_alone(
            file, at=path, busy="Another process is at this search.", remedy="Wait for it, or give another folder."
        )
        _mend(file)
        yield Study(path, space, seed=seed, pruner=pruner)


def _mend(file: BinaryIO) -> None:
    """Cut off a last line that was not written to its end: Optuna would not read what follows it."""
    file.seek(0)
    whole = file.read().rfind(b"\n") + 1
    file.truncate(whole)


class _Held(JournalFileOpenLock):
    """No lock: the file is held already, and Optuna's own would stay behind where a process is killed."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return


class Study:
    """Trials that are over, and what to try next."""

    def __init__(self, path: Path, space: Space, *, seed: int, pruner: str) -> None:
        self._space = space
        self._seed = seed
        self._study = optuna.create_study(
            study_name=NAME,
            storage=JournalStorage(JournalFileBackend(str(path), lock_obj=_Held(str(path)))),
            pruner=PRUNERS[pruner],
            direction="maximize",
            load_if_exists=True,
        )
        self._give_up_unfinished()

    def _give_up_unfinished(self) -> None:
        """Mark trials that a process left behind as failed, and try their values again before any others."""
        for trial in self._study.get_trials(states=(TrialState.RUNNING,)):
            self._study.tell(trial.number, state=TrialState.FAIL)
            self._study.enqueue_trial(trial.params)

    def tried(self) -> list[Tried]:
        """List the trials that are over, in order."""
        over = self._study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
        return [_tried(trial) for trial in over]

    def next(self, own: Mapping[str, object] | None = None) -> "Attempt":
        """Propose what to try; the first time, ``own`` where there is such a thing."""
        number = len(self.tried()) + 1
        if own and not self._study.trials:
            self._study.enqueue_trial({place: _stored(self._space[place], value) for place, value in own.items()})
        chance = np.random.SeedSequence((self._seed, number)).generate_state(1)
        self._study.sampler = optuna.samplers.TPESampler(seed=int(chance[0]))
        trial = self._study.ask({place: _distribution(drawn) for place, drawn in self._space.items()})
        values = {place: _read(self._space[place], value) for place, value in trial.params.items()}
        return Attempt(self._study, trial, number, values=values)

    def importance(self) -> dict[str, float]:
        """Say how much each setting tells the best quarter of the trials from the others: shares of 1.

        By PED-ANOVA (Watanabe et al. 2023), over trials that were cut short or diverged as well: Optuna's own choice, those
        that went to their end, leaves out just those that tell what does not work. What was refused has learned nothing,
        and is left out. Empty where there are too few trials, or nothing to tell apart.
        """
        ended = self._study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
        over = [trial for trial in ended if _tried(trial).state != "refused"]
        scores = [_tried(trial).score for trial in over]
        worst = min((score for score in scores if score is not None), default=0.0)
        ranked = sorted((worst if score is None else score for score in scores), reverse=True)
        if len(ranked) < ENOUGH_FOR_IMPORTANCE or ranked[-1] >= ranked[int(np.ceil(BEST_SHARE * len(ranked))) - 1]:
            return {}
        study = optuna.create_study(direction="maximize")
        for trial, score in zip(over, scores, strict=True):
            value = worst if score is None else score
            study.add_trial(create_trial(params=trial.params, distributions=trial.distributions, value=value))
        return dict(get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE)))


class Attempt:
    """A trial that is under way.

    Attributes:
        number: which, from 1.
        values: what is tried, by the settings' places.
    """

    def __init__(self, study: optuna.Study, trial: optuna.Trial, number: int, *, values: Mapping[str, object]) -> None:
        self.number = number
        self.values = values
        self._study = study
        self._trial = trial

    def look(self, score: float, *, k: int) -> None:
        """Tell of the k-th look at the dev records.

        Raises:
            Pruned: where it is not worth going on.
        """
        self._trial.report(score, k)
        if self._trial.should_prune():
            raise Pruned

    def end(self, tried: Tried) -> None:
        """Write down what the trial came to."""
        self._trial.set_user_attr("tried", asdict(tried))
        if tried.state == "finished":
            self._study.tell(self._trial, tried.score)
        else:  # to Optuna, what diverged or was refused was pruned: of trials that fail it would learn nothing
            self._study.tell(self._trial, state=TrialState.PRUNED)


def _tried(trial: FrozenTrial) -> Tried:
    noted = trial.user_attrs["tried"]
    return Tried(**{**noted, "looks": tuple(noted["looks"])})


def _distribution(drawn: Range | Choices) -> BaseDistribution:
    if isinstance(drawn, Choices):
        return CategoricalDistribution([_stored(drawn, value) for value in drawn.values])
    # Optuna warns where the steps do not end at the range's end.
    high = drawn.low + drawn.n_steps * drawn.step if drawn.step else drawn.high
    if drawn.whole:
        return IntDistribution(int(drawn.low), int(high), log=drawn.log, step=int(drawn.step or 1))
    return FloatDistribution(drawn.low, high, log=drawn.log, step=drawn.step)


def _stored(drawn: Range | Choices, value: Any) -> Any:
    """Turn a value into what Optuna keeps: a choice may be a list or a mapping, so it is kept as its JSON text."""
    return value if isinstance(drawn, Range) else json.dumps(value, sort_keys=True)


def _read(drawn: Range | Choices, value: Any) -> Any:
    return drawn.tidied(value) if isinstance(drawn, Range) else json.loads(value)
