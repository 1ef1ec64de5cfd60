"""Predictions to scores: beside what is right, how good the answers are, by class, and how far confidence can be trusted.

Shape letters: N records, C classes.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from formtune.answers import Prediction
from formtune.errors import DataError
from formtune.examples import Example, Task
from formtune.formats.wording import wording
from formtune.label_metrics import Floats, Ints
from formtune.label_words import normalized
from formtune.metrics import (
    METRICS,
    calibration_table,
    class_scores,
    confusion,
    is_scorable,
    majority_baseline,
    metrics_for,
)
from formtune.outcomes import Outcome, golds, probabilities

COLDEST, HOTTEST = 0.05, 20.0  # the temperatures that are looked at
ASIAN_SHARE = 0.1  # of the letters of the references: Chinese mixes in Latin names, Western text hardly a Han


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What one temperature, fitted on other records, makes of the probabilities.

    Attributes:
        temperature: above 1 where the model was too sure of itself.
        n: how many records it was fitted on.
        metrics: name → value with the probabilities so changed; labels stay the same.
    """

    temperature: float
    n: int
    metrics: dict[str, float]


def kind_of_task(task: Task) -> str:
    """Name the kind by which metrics are chosen: a question with choices is a ``choice``."""
    return "choice" if task.kind == "question" and task.labels else task.kind


def outcomes(
    predictions: Sequence[Prediction], examples: Sequence[Example], task: Task, *, written: bool = False
) -> list[Outcome]:
    """Set predictions beside what is right, as metrics take them.

    Args:
        predictions: one per example, in the same order.
        examples: in any one format of the task.
        task: its classes; where they are letters, a record with fewer choices has probability 0 for the others.
        written: take the label that was written freely instead of the one that scores best.

    Raises:
        ValueError: where a prediction is not the example's.
    """
    strangers = [p.id for p, e in zip(predictions, examples, strict=True) if p.id != e.id]
    if strangers:
        raise ValueError(f"The prediction {strangers[0]!r} does not stand beside its example.")
    language = answer_language(examples, task)
    none = normalized(wording(task).unanswerable)
    free = task.kind == "question" and not task.labels
    found = []
    for prediction, example in zip(predictions, examples, strict=True):
        one = _outcome(prediction, example, language=language, n_classes=len(task.labels))
        one = replace(one, label=prediction.generated_label, valid=prediction.valid) if written else one
        found.append(_without(one, none) if free else one)
    return found


def _outcome(prediction: Prediction, example: Example, *, language: str, n_classes: int) -> Outcome:
    chosen = bool(prediction.probabilities)
    return Outcome(
        gold=example.gold,
        label=prediction.label,
        probabilities=_padded(prediction.probabilities, n_classes) if chosen else None,
        valid=chosen or prediction.valid,  # a choice by scores is always one of the candidates
        references=example.references,
        answer=prediction.answer,
        language=language,
        nll=prediction.nll,
        n_tokens=prediction.n_target_tokens,
        n_bytes=prediction.n_target_bytes,
    )


def _padded(values: Sequence[float], n_classes: int) -> Floats:
    return np.array([*values, *[0.0] * (n_classes - len(values))])


def _without(outcome: Outcome, none: str) -> Outcome:
    """Read the word for "the context holds no answer" as an empty answer, which is how metrics know it."""
    references = tuple(r for r in outcome.references if normalized(r) != none)
    answer = "" if normalized(outcome.answer) == none else outcome.answer
    return replace(outcome, references=references, answer=answer, valid=outcome.valid)


def answer_language(examples: Sequence[Example], task: Task) -> str:
    """Tell the language of the answers: the task's, but for pairs (translations) that of the references themselves."""
    if task.kind != "pair":
        return task.language
    letters = [c for e in examples for r in e.references[:1] for c in r if c.isalpha()]
    n_han = sum("\u3400" <= c <= "\u9fff" for c in letters)
    n_kana = sum("\u3040" <= c <= "\u30ff" for c in letters)
    if n_han + n_kana < ASIAN_SHARE * max(1, len(letters)):
        return "en"
    return "ja" if n_kana >= ASIAN_SHARE * len(letters) else "zh"


def invalid_share(predictions: Sequence[Prediction]) -> float | None:
    """Give the share of freely written answers that are none of the allowed ones; None where nothing was written."""
    written = [p for p in predictions if p.generated is not None]
    return sum(not p.valid for p in written) / len(written) if written else None


def evaluate(
    predictions: Sequence[Prediction],
    examples: Sequence[Example],
    task: Task,
    *,
    dev: tuple[Sequence[Prediction], Sequence[Example]] | None = None,
) -> dict[str, Any]:
    """Score predictions in every way that fits the task.

    Args:
        predictions: one per example, in the same order.
        examples: answered ones.
        task: its classes.
        dev: predictions of the same model to other records, with their examples: a temperature is fitted on them, and
            what it does to log-loss, Brier score and ECE is told beside the raw ones.

    Returns:
        Plain values, ready for JSON: ``n``; ``metrics`` (name → value); ``invalid`` (share of what was written freely,
        or None); ``written`` (the metrics of free answers where label words were also scored); ``majority`` (name →
        value of always giving the commonest label); ``classes``, ``confusion`` and ``calibration`` (empty where the
        answer is free); ``calibrated`` (or None).

    Raises:
        DataError: where there is no record, or one without an answer.
    """
    _need_answers(examples, task)
    found = outcomes(predictions, examples, task)
    classes = bool(task.labels)
    beside = [p for p in predictions if classes and p.generated is not None]
    return {
        "n": len(found),
        "metrics": _scores(found, task),
        "invalid": invalid_share(predictions),
        "written": _written(predictions, examples, task) if beside else {},
        "majority": _majority(found, task) if classes else {},
        "classes": _class_table(found, task) if classes else [],
        "confusion": _confusion(found, task) if classes else {},
        "calibration": [asdict(b) for b in calibration_table(found)] if classes else [],
        "calibrated": asdict(_calibrated(found, outcomes(*dev, task), task)) if dev and classes else None,
    }


def _need_answers(examples: Sequence[Example], task: Task) -> None:
    if not examples:
        raise DataError("There are no records to evaluate on.", "Check the data files and what was left out of them.")
    if task.kind == "plain":
        return
    bare = [e.id for e in examples if (e.gold is None if task.labels else not e.references)]
    if bare:
        raise DataError(
            f"{len(bare)} of {len(examples)} records have no answer to compare with, the first of them {bare[0]!r}.",
            "Give records with answers, or use formtune predict.",
        )


def _scores(found: Sequence[Outcome], task: Task) -> dict[str, float]:
    fitting = [METRICS[name] for name in metrics_for(kind_of_task(task))]
    return {metric.name: metric.score(found) for metric in fitting if is_scorable(metric, found)}


def _written(predictions: Sequence[Prediction], examples: Sequence[Example], task: Task) -> dict[str, float]:
    found = outcomes(predictions, examples, task, written=True)
    return {name: METRICS[name].score(found) for name in ("accuracy", "macro_f1")}


def _majority(found: Sequence[Outcome], task: Task) -> dict[str, float]:
    fitting = {name: METRICS[name] for name in metrics_for(kind_of_task(task))}
    values = {name: majority_baseline(metric, golds(found).tolist()) for name, metric in fitting.items()}
    return {name: value for name, value in values.items() if value is not None}


def _class_table(found: Sequence[Outcome], task: Task) -> list[dict[str, Any]]:
    rows = class_scores(found, len(task.labels))
    return [{"label": label, **asdict(row)} for label, row in zip(task.labels, rows, strict=True)]


def _confusion(found: Sequence[Outcome], task: Task) -> dict[str, Any]:
    counts = confusion(found, len(task.labels))
    return {"labels": list(task.labels), "counts": counts[:, :-1].tolist(), "invalid": counts[:, -1].tolist()}


def _calibrated(found: Sequence[Outcome], dev: Sequence[Outcome], task: Task) -> Calibrated:
    temperature = fit_temperature(probabilities(dev), golds(dev))
    scores = _scores(tempered(found, temperature), task)
    kept = {name: value for name, value in scores.items() if METRICS[name].needs == "probabilities"}
    return Calibrated(temperature=temperature, n=len(dev), metrics=kept)


def fit_temperature(probabilities_NC: Floats, golds_N: Ints) -> float:
    """Find the temperature that makes the right classes most probable (Guo et al. 2017, section 4.2).

    Returns:
        A value between 0.05 and 20: the end of that range where no record is wrong, or none tells anything.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        changed_NC = _tempered(probabilities_NC, math.exp(log_temperature))
        chosen_N = changed_NC[np.arange(len(golds_N)), golds_N]
        return float(-np.log(np.maximum(chosen_N, np.finfo(np.float64).tiny)).mean())

    found = minimize_scalar(loss, bounds=(math.log(COLDEST), math.log(HOTTEST)), method="bounded")
    return float(math.exp(found.x))


def tempered(found: Sequence[Outcome], temperature: float) -> list[Outcome]:
    """Soften (above 1) or sharpen (below 1) probabilities; which class is the likeliest stays the same."""
    changed_NC = _tempered(probabilities(found), temperature)
    return [replace(one, probabilities=row_C) for one, row_C in zip(found, changed_NC, strict=True)]


def _tempered(probabilities_NC: Floats, temperature: float) -> Floats:
    with np.errstate(divide="ignore"):  # a class that a record does not have keeps probability 0
        logs_NC = np.log(probabilities_NC) / temperature
    odds_NC = np.exp(logs_NC - logs_NC.max(axis=1, keepdims=True))
    changed_NC: Floats = odds_NC / odds_NC.sum(axis=1, keepdims=True)
    return changed_NC
