"""What one record asked and what was answered, and what that contributes to each metric.

A function ``*_stats`` takes outcomes, at least one, and gives each a row of numbers [N, K]; sums of rows are turned into
values by the functions that :data:`formtune.metrics.METRICS` names beside it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from formtune import label_metrics, text_metrics
from formtune.label_metrics import Floats, Ints, mean_stats, ratio


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What one record asked and what a model answered, as far as metrics need it.

    Attributes:
        gold: index of the right class.
        label: index of the class that was answered; None where the answer was none of them.
        probabilities: the model's distribution over the classes [C], which adds up to 1.
        valid: False where the answer could not be read as one; it is then wrong, and an empty text for BLEU and chrF.
            Metrics of probabilities and likelihoods look at those alone.
        references: acceptable answers in text; none means that the question has no answer.
        answer: the text that was answered; empty says that the question has no answer.
        language: of answer and references, as a tag such as ``en`` or ``zh-CN``.
        nll: negative log-likelihood of the target in nats, summed over its tokens.
        n_tokens: tokens of the target.
        n_bytes: bytes of the target in UTF-8.
    """

    gold: int | None = None
    label: int | None = None
    probabilities: Floats | None = None
    valid: bool = True
    references: tuple[str, ...] = ()
    answer: str = ""
    language: str = "en"
    nll: float | None = None
    n_tokens: int = 0
    n_bytes: int = 0


def golds(outcomes: Sequence[Outcome]) -> Ints:
    """Give the right classes [N]; a missing one is a ``ValueError``."""
    classes = [outcome.gold for outcome in outcomes]
    if None in classes:
        raise ValueError(f"Outcome {classes.index(None)} has no gold class.")
    return np.array(classes, dtype=np.int64)


def labels(outcomes: Sequence[Outcome]) -> Ints:
    """Give the answered classes [N], -1 where the answer is invalid."""
    return np.array([o.label if o.valid and o.label is not None else -1 for o in outcomes], dtype=np.int64)


def probabilities(outcomes: Sequence[Outcome]) -> Floats:
    """Give the distributions [N, C]; a missing one is a ``ValueError``."""
    missing = [index for index, outcome in enumerate(outcomes) if outcome.probabilities is None]
    if missing:
        raise ValueError(f"Outcome {missing[0]} has no probabilities.")
    return np.array([outcome.probabilities for outcome in outcomes], dtype=np.float64)


def texts(outcomes: Sequence[Outcome]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Give the answers, empty where invalid, and their references."""
    return [o.answer if o.valid else "" for o in outcomes], [o.references for o in outcomes]


def accuracy_stats(outcomes: Sequence[Outcome]) -> Floats:
    """Mark the records that were answered rightly."""
    return mean_stats(golds(outcomes) == labels(outcomes))


def macro_f1_stats(outcomes: Sequence[Outcome]) -> Floats:
    """Mark for each class what was asked, answered and right."""
    n_classes = max((len(o.probabilities) for o in outcomes if o.probabilities is not None), default=0)
    return label_metrics.macro_f1_stats(golds(outcomes), labels(outcomes), n_classes=n_classes)


def log_loss_stats(outcomes: Sequence[Outcome]) -> Floats:
    """Give the negative log-probability of the right class."""
    return label_metrics.log_loss_stats(golds(outcomes), probabilities(outcomes))


def brier_stats(outcomes: Sequence[Outcome]) -> Floats:
    """Give the squared error of the probabilities."""
    return label_metrics.brier_stats(golds(outcomes), probabilities(outcomes))


def ece_stats(outcomes: Sequence[Outcome]) -> Floats:
    """Give confidence and rightness by bin, the bins fixed on these outcomes."""
    return label_metrics.ece_stats(golds(outcomes), probabilities(outcomes))


def exact_match_stats(outcomes: Sequence[Outcome]) -> Floats:
    """Mark the answers that equal a reference."""
    scores = [text_metrics.exact_match(o.answer, o.references, language=o.language) * o.valid for o in outcomes]
    return mean_stats(scores)


def token_f1_stats(outcomes: Sequence[Outcome]) -> Floats:
    """Give the F1 of tokens."""
    scores = [text_metrics.token_f1(o.answer, o.references, language=o.language) * o.valid for o in outcomes]
    return mean_stats(scores)


def bleu_stats(outcomes: Sequence[Outcome]) -> Floats:
    """Give what corpus BLEU adds up."""
    answers, references = texts(outcomes)
    return text_metrics.bleu_stats(answers, references, [outcome.language for outcome in outcomes])


def chrf_stats(outcomes: Sequence[Outcome]) -> Floats:
    """Give what corpus chrF adds up."""
    return text_metrics.chrf_stats(*texts(outcomes))


def rouge1_stats(outcomes: Sequence[Outcome]) -> Floats:
    """Give the F1 of words."""
    return _rouge_stats(outcomes, "rouge1")


def rouge2_stats(outcomes: Sequence[Outcome]) -> Floats:
    """Give the F1 of word pairs."""
    return _rouge_stats(outcomes, "rouge2")


def rouge_l_stats(outcomes: Sequence[Outcome]) -> Floats:
    """Give the F1 of the longest common subsequence."""
    return _rouge_stats(outcomes, "rougeL")


def _rouge_stats(outcomes: Sequence[Outcome], variant: text_metrics.RougeVariant) -> Floats:
    pairs = zip(*texts(outcomes), strict=True)
    return mean_stats([text_metrics.rouge(answer, references, variant=variant) for answer, references in pairs])


def nll_stats(outcomes: Sequence[Outcome]) -> Floats:
    """Give likelihood, tokens and bytes; a missing likelihood is a ``ValueError``."""
    missing = [index for index, outcome in enumerate(outcomes) if outcome.nll is None]
    if missing:
        raise ValueError(f"Outcome {missing[0]} has no negative log-likelihood.")
    return np.array([(o.nll, o.n_tokens, o.n_bytes) for o in outcomes], dtype=np.float64)


def perplexity(sums: Floats) -> Floats:
    """Turn sums of :func:`nll_stats` rows into perplexity per token."""
    return np.exp(ratio(sums[..., 0], sums[..., 1]))


def bits_per_byte(sums: Floats) -> Floats:
    """Turn sums of :func:`nll_stats` rows into bits per byte."""
    return ratio(sums[..., 0], sums[..., 2]) / math.log(2)
