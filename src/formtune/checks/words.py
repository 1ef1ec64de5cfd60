"""Words and labels of records as numbers, for checks that ask what goes with what.

Shape letters: N records, F words, K labels.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from formtune.checks.finding import NotChecked
from formtune.records import Labelled, Question, Record, input_text
from formtune.splits import labels_of, normalized

CJK = r"\u3040-\u30ff\u3400-\u9fff"
_UNIT = re.compile(rf"[{CJK}]|[^\s{CJK}]+")
_RUN = re.compile(rf"[{CJK}]+|[^\s{CJK}]+")
LEAST_RECORDS = 40  # below that hardly anything can be told from chance


@dataclass(frozen=True)
class Words:
    """Which words stand in which record, and which label each has.

    Attributes:
        records: those with one label, of which there are at least two different ones.
        labels: the names of the labels.
        labels_N: the number of each record's label.
        names: the words; with the field before them where records have several (``hypothesis: asleep``).
        ids: for each record the numbers of its words, each once, in order.
    """

    records: Sequence[Record]
    labels: Sequence[str]
    labels_N: np.ndarray
    names: Sequence[str]
    ids: Sequence[np.ndarray]

    @cached_property
    def counts(self) -> np.ndarray:
        """In how many records of each label each word stands (F x K)."""
        return self.counted(range(len(self.records)))

    def counted(self, places: Sequence[int]) -> np.ndarray:
        """Count the same among some of the records."""
        n_labels = len(self.labels)
        parts = [self.ids[place] * n_labels + self.labels_N[place] for place in places]
        pairs = np.concatenate(parts) if parts else np.zeros(0, np.int64)
        flat = np.bincount(pairs, minlength=len(self.names) * n_labels)
        return flat.reshape(len(self.names), n_labels)

    @property
    def totals(self) -> np.ndarray:
        """How many records each label has (K)."""
        return np.bincount(self.labels_N, minlength=len(self.labels))


def words_of(records: Sequence[Record]) -> Words:
    """Count words over the records with one label.

    Raises:
        NotChecked: where there are too few, or one label alone.
    """
    kept = [record for record in records if len(labels_of(record)) == 1]
    labels = sorted({labels_of(record)[0] for record in kept})
    if len(kept) < LEAST_RECORDS or len(labels) < 2:
        raise NotChecked(f"fewer than {LEAST_RECORDS} records have one of several labels")
    number = {label: n for n, label in enumerate(labels)}
    names: dict[str, int] = {}
    ids = [
        np.unique(np.fromiter((names.setdefault(word, len(names)) for word in _named_words(record)), np.int64))
        for record in kept
    ]
    labels_N = np.array([number[labels_of(record)[0]] for record in kept])
    return Words(kept, labels, labels_N, list(names), ids)


def units(text: str) -> list[str]:
    """Cut a text at white space, and Chinese and Japanese into characters."""
    return _UNIT.findall(text)


def words_in(text: str) -> Iterator[str]:
    """Give the words of a text in normal form; of Chinese and Japanese every two neighboring characters.

    >>> list(words_in("A Film, 很好看"))
    ['a', 'film', '很好', '好看']
    """
    for run in _RUN.findall(normalized(text)):
        if len(run) > 1 and re.match(rf"[{CJK}]", run):
            yield from (run[k : k + 2] for k in range(len(run) - 1))
        else:
            yield run


def unlikely(n_hits: np.ndarray | int, n: np.ndarray | int, share: np.ndarray | float) -> np.ndarray:
    """Bound the chance of at least so many hits, where each has a share: exp(-n KL(hits/n, share)) (Chernoff 1952).

    An upper bound on the binomial tail, so what it calls unlikely is; 1 where there are no more hits than expected.
    """
    observed = np.asarray(n_hits, np.float64) / np.maximum(n, 1)
    expected = np.clip(np.asarray(share, np.float64), 1e-12, 1 - 1e-12)
    with np.errstate(divide="ignore", invalid="ignore"):
        up = np.where(observed > 0, observed * np.log(observed / expected), 0.0)
        down = np.where(observed < 1, (1 - observed) * np.log((1 - observed) / (1 - expected)), 0.0)
    bound: np.ndarray = np.where(observed > expected, np.exp(-np.asarray(n) * (up + down)), 1.0)
    return bound


def information(counts_FK: np.ndarray, totals_K: np.ndarray) -> np.ndarray:
    """Give for each word the share of the labels' entropy that its presence explains (mutual information over entropy)."""
    n = totals_K.sum()
    absent_FK = totals_K - counts_FK
    total = np.zeros(len(counts_FK))
    for cells_FK in (counts_FK, absent_FK):
        rows_F1 = cells_FK.sum(axis=1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = cells_FK / n * np.log(cells_FK * n / (rows_F1 * totals_K))
        total += np.where(cells_FK > 0, terms, 0.0).sum(axis=1)
    shares_K = totals_K[totals_K > 0] / n
    entropy = -float((shares_K * np.log(shares_K)).sum())
    explained: np.ndarray = total / max(entropy, math.ulp(1.0))
    return explained


def _named_words(record: Record) -> Iterator[str]:
    match record:
        case Labelled() if len(record.inputs) > 1:
            fields = list(record.inputs.items())
        case Question() if record.context:
            fields = [("question", record.question), ("context", record.context)]
        case _:
            yield from words_in(input_text(record))
            return
    for name, text in fields:
        yield from (f"{name}: {word}" for word in words_in(text))
