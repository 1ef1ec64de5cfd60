"""What a search found: its trials from the best to the worst, a sentence on what the best is worth, and a picture."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from formtune.metrics import Metric
from formtune.reports import TrialPoint, search_picture
from formtune.spaces import Range, Space
from formtune.studies import ENOUGH_FOR_IMPORTANCE, STATES, Tried

Values = Mapping[str, Any]


def found_by(tried: Sequence[Tried], metric: Metric, *, own: Values, importance: Values) -> dict[str, Any]:
    """Put together what trials say, without the test.

    Args:
        tried: the trials, in order; one went to its end at least.
        metric: what their scores are of.
        own: what the first trial has, where it was given; empty where it was drawn.
        importance: share of each setting in what told good trials from others.
    """
    first = tried[0] if own and tried[0].values == {**tried[0].values, **own} else None
    best, *_ = ranked = sorted(tried, key=_rank)
    n_trained = sum(one.state != "refused" for one in tried)
    few = n_trained < ENOUGH_FOR_IMPORTANCE
    untold = (
        f"{ENOUGH_FOR_IMPORTANCE} trials would tell, and there are {n_trained}" if few else "all trials are as good"
    )
    return {
        "best": {"trial": best.number, "values": dict(best.values), "score": _shown(best.score, metric)},
        "own_score": _shown(first.score, metric) if first else None,
        "metric": metric.name,
        "trials": [_row(one, metric) for one in ranked],
        "pruned": sum(one.state == "pruned" for one in tried),
        "failed": sum(one.state == "diverged" for one in tried),
        "refused": sum(one.state == "refused" for one in tried),
        "importance": dict(importance),
        "no_importance": None if importance else untold,
        "seconds": sum(one.seconds for one in tried),
    }


def _rank(one: Tried) -> tuple[float, ...]:
    """Order trials from the best to the worst: those that went to their end, those that were cut short, the others."""
    score, loss = one.merit if one.score is not None else (-math.inf, -math.inf)
    return STATES.index(one.state), -score, -loss, one.number


def _row(one: Tried, metric: Metric) -> dict[str, Any]:
    return {
        "trial": one.number,
        "score": _shown(one.score, metric),
        "loss": one.loss,
        "state": one.state,
        "values": dict(one.values),
        "looks": len(one.looks),
        "seconds": one.seconds,
    }


def _shown(score: float | None, metric: Metric) -> float | None:
    """Turn a score, larger is better, into the metric's own value."""
    return score if score is None or metric.higher_is_better else -score


def note_on(values: Values, test: Values, metric: Metric) -> str:
    """Say what the winner's dev score is worth: the best of many is partly lucky (Cawley and Talbot 2010)."""
    name, n_tried = metric.name.replace("_", " "), len(values["trials"])
    many = f"Of {n_tried} settings tried" if n_tried > 1 else "Of the one setting tried"
    on_dev = f"{many}, the best has {name} {values['best']['score']:.4g} on the dev records, which chose it"
    optimistic = ": that is optimistic" if n_tried > 1 else ""
    on_test = f"On the test records, read once, it has {test[metric.name]:.4g}." if metric.name in test else ""
    return f"{on_dev}{optimistic}. {on_test or 'There are no test records to say what it is worth.'}"


def picture_of(tried: Sequence[Tried], metric: Metric, *, space: Space) -> str:
    """Draw the trials as an SVG file."""
    points = [TrialPoint(one.number, _shown(one.score, metric), one.state, one.values) for one in tried]
    log = [place for place, drawn in space.items() if isinstance(drawn, Range) and drawn.log]
    return search_picture(points, metric=metric.name, higher_is_better=metric.higher_is_better, log=log)


def in_words(values: Values) -> str:
    """Say values in a line, without the sections that their places begin with.

    >>> in_words({"training.learning_rate": 2e-05, "model.lora.rank": 8, "training.clip": None})
    'learning_rate 2e-05, lora.rank 8, clip none'
    """
    return ", ".join(f"{place.split('.', 1)[1]} {_in_words(value)}" for place, value in values.items())


def _in_words(value: object) -> str:
    match value:
        case None:
            return "none"
        case Mapping():
            return " ".join(f"{name} {_in_words(one)}" for name, one in value.items())
    return said(value)


def said(value: object) -> str:
    """Say one value."""
    return f"{value:g}" if isinstance(value, float) else str(value)
