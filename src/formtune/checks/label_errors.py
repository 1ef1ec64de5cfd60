"""Labels that are probably wrong, by confident learning (Northcutt, Jiang and Chuang 2021).

A logistic model over hashed words and pairs of words is trained on four fifths of the records and asked about the
last, five times, with the same input never on both sides. A label is suspected where the model is surer of another
label than it is on average of records that have that other label, and gives the label at hand a tenth at most. It
finds what words can tell: where labels hang on word order, irony or knowledge it may blame the record that is right,
and where it makes more than three fifths of the mistakes of always giving the commonest label nothing is reported.
Suspicions are for people to check, not for deletion. Needs scikit-learn (``formtune[train]``).
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from formtune.checks.finding import Context, Finding, NotChecked, Rule, counted, finding, place_of, shortened
from formtune.checks.words import LEAST_RECORDS, words_in
from formtune.records import Record, input_text
from formtune.splits import duplicate_key, labels_of

SUSPECTED = Rule(
    "FT266",
    "warning",
    "A label is probably wrong.",
    "Read the records and correct those that are; the most suspicious come first.",
)
RULES = (SUSPECTED,)
N_FOLDS = 5
N_EPOCHS = 10
LEAST_PER_LABEL = 2 * N_FOLDS
DOUBTED = 0.1  # the most that the model may still give the label at hand
MOST_MISTAKES = 0.6  # that the model may make, of those of always giving the commonest label
N_DETAILS = 20


def find(records: Sequence[Record], context: Context) -> Iterator[Finding]:
    """Train without each fifth, and compare what the model says of it with its labels."""
    kept, labels, labels_N = _learnable(records)
    chances_NK = _chances(kept, labels_N, context.seed)
    accuracy = float((chances_NK.argmax(axis=1) == labels_N).mean())
    commonest = float(np.bincount(labels_N).max() / len(labels_N))
    if 1 - accuracy > MOST_MISTAKES * (1 - commonest):
        raise NotChecked(
            f"words alone tell too few labels: {100 * accuracy:.0f} %, the commonest has {100 * commonest:.0f} %"
        )
    suspects = suspected(chances_NK, labels_N)
    if not len(suspects):
        return
    told = [
        f"{place_of(kept[n])}: {labels[labels_N[n]]!r}, rather {labels[int(chances_NK[n].argmax())]!r}"
        f" ({100 * chances_NK[n].max():.0f} %): {shortened(input_text(kept[n]), 80)}"
        for n in suspects[:N_DETAILS].tolist()
    ]
    yield finding(
        SUSPECTED,
        [kept[n] for n in suspects.tolist()],
        f"{counted(len(suspects), 'label', 'is')} suspected, by a model of words that is right of {100 * accuracy:.0f} %.",
        details=told,
    )


def suspected(chances_NK: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
    """Give the numbers of the records whose label is doubted, the most doubtful first.

    Args:
        chances_NK: what a model that has not seen a record gives each label.
        labels_N: the labels at hand.
    """
    n_labels = chances_NK.shape[1]
    own_N = chances_NK[np.arange(len(labels_N)), labels_N]
    sure_K = np.array([own_N[labels_N == k].mean() if (labels_N == k).any() else 1.0 for k in range(n_labels)])
    confident_NK = np.where(chances_NK >= sure_K, chances_NK, -1.0)
    best_N = confident_NK.argmax(axis=1)
    is_doubted = (confident_NK.max(axis=1) > 0) & (best_N != labels_N) & (own_N <= DOUBTED)
    doubted = np.flatnonzero(is_doubted)
    margins = own_N[doubted] - chances_NK[doubted, best_N[doubted]]
    ordered: np.ndarray = doubted[np.argsort(margins, kind="stable")]
    return ordered


def _learnable(records: Sequence[Record]) -> tuple[list[Record], list[str], np.ndarray]:
    """Keep the records with one label that has enough of them."""
    single = [record for record in records if len(labels_of(record)) == 1]
    names, counts = np.unique([labels_of(record)[0] for record in single], return_counts=True)
    labels = [str(name) for name, n in zip(names, counts, strict=True) if n >= LEAST_PER_LABEL]
    number = {label: n for n, label in enumerate(labels)}
    kept = [record for record in single if labels_of(record)[0] in number]
    if len(labels) < 2 or len(kept) < LEAST_RECORDS:
        raise NotChecked(f"fewer than two labels have {LEAST_PER_LABEL} records")
    return kept, labels, np.array([number[labels_of(record)[0]] for record in kept])


def _chances(records: Sequence[Record], labels_N: np.ndarray, seed: int) -> np.ndarray:
    """Give what models that have not seen a record say of it (N x K)."""
    try:
        from sklearn.linear_model import SGDClassifier
        from sklearn.model_selection import StratifiedGroupKFold
    except ModuleNotFoundError:
        raise NotChecked("scikit-learn is not installed: pip install 'formtune[train]'") from None
    features = _features(records)
    number: dict[str, int] = {}
    groups_N = np.array([number.setdefault(duplicate_key(record), len(number)) for record in records])
    chances_NK = np.zeros((len(records), int(labels_N.max()) + 1))
    folds = StratifiedGroupKFold(N_FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(np.zeros(len(labels_N)), labels_N, groups_N):
        model = SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=N_EPOCHS, tol=None, average=True, random_state=seed)
        model.fit(features[train], labels_N[train])
        chances_NK[np.ix_(test, model.classes_)] = model.predict_proba(features[test])
    return chances_NK


def _features(records: Sequence[Record]) -> Any:
    """Count hashed words and pairs of words, weighed by how rare they are (a sparse matrix of scipy)."""
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    counts = HashingVectorizer(analyzer=_terms, n_features=1 << 18, alternate_sign=False, norm=None).transform(
        map(input_text, records)
    )
    return TfidfTransformer(sublinear_tf=True).fit_transform(counts)


def _terms(text: str) -> list[str]:
    words = list(words_in(text))
    return words + [f"{a} {b}" for a, b in pairwise(words)]
