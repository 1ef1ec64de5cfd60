"""Scores of class answers: right or wrong, F1 by class, and how good the probabilities are.

Plain arrays in, plain values out. A function ``*_stats`` gives each record a row of numbers [N, K]; its partner turns
sums of rows [..., K] into values [...]. Legend: N records, K numbers per record, C classes, B bins.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

N_BINS = 10


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class's precision, recall and F1 in points, how many records are of it, and how many were called it."""

    precision: float
    recall: float
    f1: float
    n_gold: int
    n_predicted: int


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Records of like confidence: how sure the model was on average, and how often right, all in points."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def ratio(part: npt.ArrayLike, whole: npt.ArrayLike) -> Floats:
    """Divide, with 0 where the divisor is 0."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    quotient: Floats = np.zeros(np.broadcast_shapes(part.shape, whole.shape))
    np.divide(part, whole, out=quotient, where=whole != 0)
    return quotient


def mean_stats(values_N: npt.ArrayLike) -> Floats:
    """Pair each value with a count of one, so that :func:`mean` gives their mean under any weights."""
    values = np.asarray(values_N, dtype=np.float64)
    return np.stack([values, np.ones_like(values)], axis=-1)


def mean(sums: Floats) -> Floats:
    """Turn sums of :func:`mean_stats` rows into means."""
    return ratio(sums[..., 0], sums[..., 1])


def mean_points(sums: Floats) -> Floats:
    """Turn sums of :func:`mean_stats` rows of shares into means in points."""
    return 100 * mean(sums)


def confusion(golds_N: Ints, labels_N: Ints, n_classes: int) -> Ints:
    """Count records by right class (rows) and answered class (columns); the last column is for answers of -1."""
    counts = np.zeros((n_classes, n_classes + 1), dtype=np.int64)
    np.add.at(counts, (golds_N, np.where(labels_N < 0, n_classes, labels_N)), 1)
    return counts


def class_scores(golds_N: Ints, labels_N: Ints, n_classes: int) -> list[ClassScore]:
    """Give every class's precision, recall and F1; a share of nothing counts as 0."""
    counts = confusion(golds_N, labels_N, n_classes)
    right_C, predicted_C, gold_C = counts.diagonal(), counts[:, :-1].sum(axis=0), counts.sum(axis=1)
    precision, recall, f1 = (
        ratio(right_C, predicted_C),
        ratio(right_C, gold_C),
        ratio(2 * right_C, predicted_C + gold_C),
    )
    return [
        ClassScore(
            precision=100 * float(precision[c]),
            recall=100 * float(recall[c]),
            f1=100 * float(f1[c]),
            n_gold=int(gold_C[c]),
            n_predicted=int(predicted_C[c]),
        )
        for c in range(n_classes)
    ]


def macro_f1_stats(golds_N: Ints, labels_N: Ints, *, n_classes: int = 0) -> Floats:
    """Mark for each record and class: rightly answered, is of the class, was called the class.

    Args:
        golds_N: the right classes.
        labels_N: the answered ones, -1 for none.
        n_classes: at least so many columns, so that arms that answer other classes can be compared.
    """
    classes_C = np.arange(max(n_classes, 1 + int(max(golds_N.max(), labels_N.max()))))
    gold_NC, predicted_NC = golds_N[:, None] == classes_C, labels_N[:, None] == classes_C
    return np.concatenate([gold_NC & predicted_NC, gold_NC, predicted_NC], axis=1).astype(np.float64)


def macro_f1(sums: Floats) -> Floats:
    """Average F1 in points over the classes that occur; one that is neither asked nor answered (in a resample) takes no part."""
    right, gold, predicted = np.split(sums, 3, axis=-1)
    f1 = ratio(2 * right, gold + predicted)
    return 100 * ratio(f1.sum(axis=-1), (gold + predicted > 0).sum(axis=-1))


def log_loss_stats(golds_N: Ints, probabilities_NC: Floats) -> Floats:
    """Give each record's negative log-probability of the right class, in nats, of at least 2.2e-16."""
    chosen_N = probabilities_NC[np.arange(golds_N.size), golds_N]
    return mean_stats(-np.log(np.maximum(chosen_N, np.finfo(np.float64).eps)))


def brier_stats(golds_N: Ints, probabilities_NC: Floats) -> Floats:
    """Give each record's squared distance between the probabilities and the truth, summed over classes."""
    truth_NC = golds_N[:, None] == np.arange(probabilities_NC.shape[1])
    return mean_stats(((probabilities_NC - truth_NC) ** 2).sum(axis=1))


def ece_stats(golds_N: Ints, probabilities_NC: Floats, n_bins: int = N_BINS) -> Floats:
    """Give each record's (right - confidence) and a count, each in the column of its bin.

    The bins hold equally many records of *this* call and stay fixed when the rows are resampled.
    """
    confidences_N = probabilities_NC.max(axis=1)
    gaps_N = _is_right(golds_N, probabilities_NC) - confidences_N
    bins_NB = _equal_mass_bins(confidences_N, n_bins)[:, None] == np.arange(n_bins)
    return np.concatenate([bins_NB * gaps_N[:, None], bins_NB], axis=1).astype(np.float64)


def ece(sums: Floats) -> Floats:
    """Average over bins, by their records, how far accuracy and mean confidence lie apart, in points."""
    gaps, counts = np.split(sums, 2, axis=-1)
    return 100 * ratio(np.abs(gaps).sum(axis=-1), counts.sum(axis=-1))


def calibration_table(golds_N: Ints, probabilities_NC: Floats, n_bins: int = N_BINS) -> list[CalibrationBin]:
    """Give the bins that :func:`ece` is computed from, least confident first; empty ones are left out."""
    confidences_N = probabilities_NC.max(axis=1)
    right_N = _is_right(golds_N, probabilities_NC)
    bins_N = _equal_mass_bins(confidences_N, n_bins)
    return [
        CalibrationBin(
            low=100 * float(confidences_N[chosen_N].min()),
            high=100 * float(confidences_N[chosen_N].max()),
            n=int(chosen_N.sum()),
            confidence=100 * float(confidences_N[chosen_N].mean()),
            accuracy=100 * float(right_N[chosen_N].mean()),
        )
        for chosen_N in (bins_N == index for index in np.unique(bins_N))
    ]


def _is_right(golds_N: Ints, probabilities_NC: Floats) -> Booleans:
    right_N: Booleans = golds_N == probabilities_NC.argmax(axis=1)
    return right_N


def _equal_mass_bins(confidences_N: Floats, n_bins: int) -> Ints:
    """Number the bin of each confidence; equal confidences share a bin, so bins may be uneven or empty."""
    inner_edges = np.quantile(confidences_N, np.arange(1, n_bins) / n_bins)
    return np.searchsorted(inner_edges, confidences_N, side="right").astype(np.int64)
