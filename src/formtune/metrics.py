"""The metrics: for each, what one record contributes and how contributions add up to the value.

A metric is two functions. ``stats`` gives each record a row of numbers; ``reduce`` turns *sums* of such rows into the
value. So a resample of the records is a matrix product (how often each record was drawn, times the rows), and every
metric, macro-F1 and BLEU included, is bootstrapped without being computed anew (:mod:`formtune.statistics`).

Values are in the unit that is shown: *points* from 0 to 100 for everything that is a share, the metric's own unit
otherwise. Legend of shape letters: N records, K numbers per record, C classes.

| kind of record             | metrics, the default first                                                           |
| -------------------------- | ------------------------------------------------------------------------------------ |
| labelled, choice           | accuracy, macro_f1, log_loss, brier, ece                                             |
| question                   | token_f1, exact_match                                                                |
| pair                       | chrf, bleu, rouge1, rouge2, rougeL, exact_match, perplexity, bits_per_byte           |
| conversation, plain        | bits_per_byte, perplexity; for conversation also chrf, rougeL                        |
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from formtune import label_metrics, outcomes, text_metrics
from formtune.errors import SettingError, unknown
from formtune.label_metrics import CalibrationBin, ClassScore, Floats, Ints, mean, mean_points
from formtune.outcomes import Outcome

__all__ = [
    "DEFAULT_METRICS",
    "METRICS",
    "CalibrationBin",
    "ClassScore",
    "Metric",
    "Outcome",
    "calibration_table",
    "choose_metric",
    "class_scores",
    "confusion",
    "is_scorable",
    "majority_baseline",
    "metrics_for",
]

Need = Literal["label", "probabilities", "text", "nll"]
DEFAULT_METRICS: dict[str, str] = {
    "labelled": "accuracy",
    "choice": "accuracy",
    "question": "token_f1",
    "pair": "chrf",
    "conversation": "bits_per_byte",
    "plain": "bits_per_byte",
}
_CLASSES = ("labelled", "choice")


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """A measure of how good answers are, with all that a report says about it.

    Attributes:
        name: as on the command line.
        summary: one sentence for a user.
        definition: the formula and the conventions, so that another could compute the same number.
        source: where it comes from.
        stats: outcomes (at least one) → array [N, K].
        reduce: sums of rows [..., K] → values [...]; the sums may be weighted.
        kinds: the kinds of record that it fits; ``choice`` is a question with choices.
        needs: what an outcome must have.
        unit: ``points`` for shares of 100, else the unit as it stands after a number.
        higher_is_better: False for losses and errors.
        low: the smallest possible value.
        high: the largest possible value.
        margin: difference below which two arms count as equally good, where the user names none.
        all_or_nothing: True where a record is (mostly) simply right or wrong, so that few disagreements say little.
        beats_majority: True where always answering the commonest label is a sensible thing to beat.
    """

    name: str
    summary: str
    definition: str
    source: str
    stats: Callable[[Sequence[Outcome]], Floats]
    reduce: Callable[[Floats], Floats]
    kinds: tuple[str, ...]
    needs: Need
    unit: str = "points"
    higher_is_better: bool = True
    low: float = 0.0
    high: float = 100.0
    margin: float = 1.0
    all_or_nothing: bool = False
    beats_majority: bool = False

    def score(self, outcomes: Sequence[Outcome]) -> float:
        """Compute the metric over outcomes.

        Raises:
            ValueError: where there is none, or one lacks what the metric needs.
            MissingExtra: for BLEU and chrF without sacrebleu.
        """
        if not outcomes:
            raise ValueError(f"Cannot compute {self.name}: there are no outcomes.")
        return float(self.reduce(self.stats(outcomes).sum(axis=0)))


def choose_metric(name: str | None, kind: str) -> Metric:
    """Give the metric of this name, or the default of the kind, and make sure that it fits the kind.

    Raises:
        SettingError: where there is no such metric or it does not fit.
    """
    fitting = metrics_for(kind)
    if not fitting:
        raise SettingError(
            f"Records of kind {kind!r} are not scored.", f"Choose from: {', '.join(DEFAULT_METRICS)}.", at="metric"
        )
    if name is not None and name not in METRICS:
        raise unknown("metric", name, fitting, at="metric")
    if name is not None and name not in fitting:
        raise SettingError(
            f"{name!r} does not fit records of kind {kind!r}.", f"Choose from: {', '.join(fitting)}.", at="metric"
        )
    return METRICS[name or DEFAULT_METRICS[kind]]


def metrics_for(kind: str) -> tuple[str, ...]:
    """Name the metrics that fit a kind of record (``choice`` for questions with choices), in the table's order."""
    return tuple(metric.name for metric in METRICS.values() if kind in metric.kinds)


def is_scorable(metric: Metric, outcomes: Sequence[Outcome]) -> bool:
    """Tell whether every outcome has what the metric needs (free answers, for instance, have no probabilities)."""
    match metric.needs:
        case "label":
            return all(outcome.gold is not None for outcome in outcomes)
        case "probabilities":
            return all(outcome.gold is not None and outcome.probabilities is not None for outcome in outcomes)
        case "nll":
            return all(outcome.nll is not None and outcome.n_tokens > 0 for outcome in outcomes)
        case "text":
            return True


def majority_baseline(metric: Metric, golds: Sequence[int]) -> float | None:
    """Score whoever always answers the commonest label, with the labels' shares as probabilities; None if senseless.

    Label and shares are taken from ``golds`` themselves, so that no constant answer could do better.
    """
    if not metric.beats_majority or not golds:
        return None
    shares_C = np.bincount(np.asarray(golds, dtype=np.int64)) / len(golds)
    commonest = int(shares_C.argmax())
    return metric.score([Outcome(gold=gold, label=commonest, probabilities=shares_C) for gold in golds])


def confusion(answered: Sequence[Outcome], n_classes: int) -> Ints:
    """Count records by right class (rows) and answered class (columns); the last column is for invalid answers."""
    return label_metrics.confusion(outcomes.golds(answered), outcomes.labels(answered), n_classes)


def class_scores(answered: Sequence[Outcome], n_classes: int) -> list[ClassScore]:
    """Give every class's precision, recall and F1 in points; a share of nothing counts as 0."""
    return label_metrics.class_scores(outcomes.golds(answered), outcomes.labels(answered), n_classes)


def calibration_table(answered: Sequence[Outcome]) -> list[CalibrationBin]:
    """Give the bins that ``ece`` is computed from, least confident first; empty ones are left out."""
    return label_metrics.calibration_table(outcomes.golds(answered), outcomes.probabilities(answered))


METRICS: dict[str, Metric] = {
    "accuracy": Metric(
        name="accuracy",
        summary="The share of records that were answered rightly.",
        definition="Right answers / records. An invalid answer is wrong.",
        source="common",
        stats=outcomes.accuracy_stats,
        reduce=mean_points,
        kinds=_CLASSES,
        needs="label",
        all_or_nothing=True,
        beats_majority=True,
    ),
    "macro_f1": Metric(
        name="macro_f1",
        summary="How well each class is found, every class counting the same.",
        definition="Mean over classes of 2·right / (asked + answered), over the classes that were asked or answered.",
        source="Opitz and Burst 2019 (the mean of F1, not the F1 of means); as in scikit-learn",
        stats=outcomes.macro_f1_stats,
        reduce=label_metrics.macro_f1,
        kinds=_CLASSES,
        needs="label",
        all_or_nothing=True,
        beats_majority=True,
    ),
    "log_loss": Metric(
        name="log_loss",
        summary="How unlikely the model thought the right class, on average.",
        definition="Mean of -ln p(right class), p at least 2.2e-16.",
        source="Good 1952; as in scikit-learn",
        stats=outcomes.log_loss_stats,
        reduce=mean,
        kinds=_CLASSES,
        needs="probabilities",
        unit="nats",
        higher_is_better=False,
        high=math.inf,
        margin=0.02,
        beats_majority=True,
    ),
    "brier": Metric(
        name="brier",
        summary="The squared error of the probabilities.",
        definition="Mean over records of the sum over classes of (p - truth)²; from 0 to 2.",
        source="Brier 1950, eq. 2",
        stats=outcomes.brier_stats,
        reduce=mean,
        kinds=_CLASSES,
        needs="probabilities",
        unit="of Brier score",
        higher_is_better=False,
        high=2.0,
        margin=0.01,
        beats_majority=True,
    ),
    "ece": Metric(
        name="ece",
        summary="How far the model's confidence is from how often it is right.",
        definition="Mean over records of |accuracy - mean confidence| of their bin; 10 bins of equally many records. "
        "Bins are fixed on all records before any resampling. Biased upwards on few records.",
        source="Naeini et al. 2015, with the equal-mass bins of Nguyen and O'Connor 2015",
        stats=outcomes.ece_stats,
        reduce=label_metrics.ece,
        kinds=_CLASSES,
        needs="probabilities",
        higher_is_better=False,
    ),
    "token_f1": Metric(
        name="token_f1",
        summary="How much the answer and the best reference have in common.",
        definition="F1 of tokens, the best over references, averaged over questions: SQuAD v2 (bag of words without "
        "articles and punctuation) for English, CMRC 2018 (longest common run of characters) for Chinese.",
        source="Rajpurkar et al. 2016, 2018; Cui et al. 2019",
        stats=outcomes.token_f1_stats,
        reduce=mean_points,
        kinds=("question",),
        needs="text",
        all_or_nothing=True,
    ),
    "exact_match": Metric(
        name="exact_match",
        summary="The share of answers that equal a reference.",
        definition="Equal after normalisation: SQuAD v2 for English, CMRC 2018 for Chinese.",
        source="Rajpurkar et al. 2016, 2018; Cui et al. 2019",
        stats=outcomes.exact_match_stats,
        reduce=mean_points,
        kinds=("question", "pair"),
        needs="text",
        all_or_nothing=True,
    ),
    "chrf": Metric(
        name="chrf",
        summary="How many stretches of characters the answers and the references share.",
        definition="chrF2 over the corpus: F-score of character n-grams up to 6, recall weighted 4 times; sacrebleu.",
        source="Popović 2015; Post 2018",
        stats=outcomes.chrf_stats,
        reduce=text_metrics.chrf,
        kinds=("pair", "conversation"),
        needs="text",
    ),
    "bleu": Metric(
        name="bleu",
        summary="How many runs of words the answers and the references share.",
        definition="BLEU-4 over the corpus with brevity penalty, smoothing exp, tokenizer 13a (zh for Chinese, "
        "characters for Japanese); sacrebleu.",
        source="Papineni et al. 2002; Post 2018",
        stats=outcomes.bleu_stats,
        reduce=text_metrics.bleu,
        kinds=("pair",),
        needs="text",
    ),
    "rouge1": Metric(
        name="rouge1",
        summary="How many words the answer and the reference share.",
        definition="F1 of words, the best over references, averaged over records; no stemming; Chinese by characters.",
        source="Lin 2004",
        stats=outcomes.rouge1_stats,
        reduce=mean_points,
        kinds=("pair",),
        needs="text",
    ),
    "rouge2": Metric(
        name="rouge2",
        summary="How many pairs of neighbouring words the answer and the reference share.",
        definition="F1 of word pairs, the best over references, averaged over records; Chinese by characters.",
        source="Lin 2004",
        stats=outcomes.rouge2_stats,
        reduce=mean_points,
        kinds=("pair",),
        needs="text",
    ),
    "rougeL": Metric(
        name="rougeL",
        summary="How long a sequence of words the answer and the reference share, gaps allowed.",
        definition="F1 of the longest common subsequence of words, the best over references, averaged over records.",
        source="Lin 2004, section 3.1",
        stats=outcomes.rouge_l_stats,
        reduce=mean_points,
        kinds=("pair", "conversation"),
        needs="text",
    ),
    "bits_per_byte": Metric(
        name="bits_per_byte",
        summary="How many bits the model needs for a byte of text: comparable between tokenizers.",
        definition="Sum of -log2 p(target) / bytes of the target in UTF-8, over the corpus.",
        source="Gao et al. 2020 (The Pile), section 3.1",
        stats=outcomes.nll_stats,
        reduce=outcomes.bits_per_byte,
        kinds=("plain", "conversation", "pair"),
        needs="nll",
        unit="bits per byte",
        higher_is_better=False,
        high=math.inf,
        margin=0.01,
    ),
    "perplexity": Metric(
        name="perplexity",
        summary="Among how many tokens the model hesitates, on average; only comparable under one tokenizer.",
        definition="exp(sum of -ln p(token) / tokens), over the corpus.",
        source="Jelinek et al. 1977",
        stats=outcomes.nll_stats,
        reduce=outcomes.perplexity,
        kinds=("plain", "conversation", "pair"),
        needs="nll",
        unit="of perplexity",
        higher_is_better=False,
        low=1.0,
        high=math.inf,
        margin=0.2,
    ),
}
