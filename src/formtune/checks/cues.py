"""Words, and lengths of texts, that alone tell the label.

A word is a cue where nine of ten records that hold it have one label, more than chance gives (binomial tail,
Bonferroni over all words). It gives the label away where its presence alone explains a fifth of the labels' entropy.
For lengths the same is asked of tenths of the records by their number of characters, with a permutation test. Whether
a cue is what the label means ("excellent" in a review) or an accident of how the data were made (a negation in a
hypothesis), only people can judge; cues that take several words are not found.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from formtune.checks.finding import Context, Finding, Rule, counted, finding
from formtune.checks.words import Words, information, unlikely, words_of
from formtune.records import Record, input_text

CUES = Rule(
    "FT261",
    "note",
    "Single words nearly always go with one label.",
    "Judge whether they are what the label means; if not, add records in which they stand with other labels.",
)
GIVEN_AWAY = Rule(
    "FT262",
    "warning",
    "A single word gives the label away.",
    "Remove the word, or rewrite records, unless it is what the label means; models will look at nothing else.",
)
LENGTH = Rule(
    "FT263",
    "warning",
    "The length of a text alone tells much of its label.",
    "Judge whether it should; if not, balance lengths over labels.",
)
RULES = (CUES, GIVEN_AWAY, LENGTH)
PURE = 0.9
LEAST = 10  # records with a word, and a hundredth of all
SIGNIFICANT = 0.01
EXPLAINS_MUCH = 0.2
LENGTH_EXPLAINS = 0.1
N_NAMED = 10
N_PERMUTATIONS = 199


def find(records: Sequence[Record], context: Context) -> Iterator[Finding]:
    """Ask each word, then the lengths, what they say of the label."""
    words = words_of(records)
    yield from _words(words)
    yield from _lengths(words, context.seed)


def _words(words: Words) -> Iterator[Finding]:
    counts_FK, totals_K = words.counts, words.totals
    sums_F, best_F = counts_FK.sum(axis=1), counts_FK.argmax(axis=1)
    hits_F = counts_FK.max(axis=1)
    explained_F = information(counts_FK, totals_K)
    chance_F = unlikely(hits_F, sums_F, totals_K[best_F] / totals_K.sum()) * len(sums_F)
    often_F = sums_F >= max(LEAST, len(words.records) / 100)
    cues = np.flatnonzero(often_F & (hits_F >= PURE * sums_F) & (chance_F < SIGNIFICANT))
    given = np.flatnonzero(often_F & (explained_F >= EXPLAINS_MUCH) & (chance_F < SIGNIFICANT))
    for rule, chosen in ((GIVEN_AWAY, given), (CUES, np.setdiff1d(cues, given))):
        if not len(chosen):
            continue
        top = chosen[np.argsort(-explained_F[chosen], kind="stable")][:N_NAMED]
        told = ", ".join(repr(words.names[f]) for f in top[:5])
        holding = [
            record
            for record, ids, label in zip(words.records, words.ids, words.labels_N, strict=True)
            if (best_F[np.intersect1d(ids, top)] == label).any()
        ]
        yield finding(
            rule,
            holding,
            f"{counted(len(chosen), 'word')} alone {'tells' if len(chosen) == 1 else 'tell'} the label, the most telling: {told}.",
            details=[_said(words, f, counts_FK[f], share=explained_F[f]) for f in top.tolist()],
        )


def _said(words: Words, word: int, counts_K: np.ndarray, *, share: float) -> str:
    best = int(counts_K.argmax())
    of_all = words.totals[best] / len(words.records)
    return (
        f"{words.names[word]!r}: {100 * counts_K[best] / counts_K.sum():.0f} % of {counts_K.sum():,} records are"
        f" {words.labels[best]!r} ({100 * of_all:.0f} % of all are); explains {100 * share:.0f} % of the labels"
    )


def _lengths(words: Words, seed: int) -> Iterator[Finding]:
    lengths_N = np.array([len(input_text(record)) for record in words.records])
    edges = np.unique(np.quantile(lengths_N, np.arange(0.1, 1.0, 0.1)))
    tenths_N = np.searchsorted(edges, lengths_N)
    draw = np.random.default_rng(seed)
    observed = _explained(tenths_N, words.labels_N)
    by_chance = np.array([_explained(draw.permutation(tenths_N), words.labels_N) for _ in range(N_PERMUTATIONS)])
    p = (1 + (by_chance >= observed).sum()) / (1 + N_PERMUTATIONS)
    explained = observed - by_chance.mean()
    if p > SIGNIFICANT or explained < LENGTH_EXPLAINS:
        return
    medians = {label: int(np.median(lengths_N[words.labels_N == k])) for k, label in enumerate(words.labels)}
    ordered = sorted(medians.items(), key=lambda entry: entry[1])
    shown = [*ordered[:3], *ordered[-3:]] if len(ordered) > 6 else ordered
    details = [f"{label!r}: half of the texts have up to {median:,} characters" for label, median in shown]
    problem = f"Lengths alone explain {100 * explained:.0f} % of the labels (p {p:.3f})."
    yield finding(LENGTH, words.records, problem, details=details)


def _explained(groups_N: np.ndarray, labels_N: np.ndarray) -> float:
    """Give the share of the labels' entropy that groups explain."""
    table = np.zeros((groups_N.max() + 1, labels_N.max() + 1))
    np.add.at(table, (groups_N, labels_N), 1)
    joint = table / table.sum()
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
    shares = joint.sum(axis=0)
    seen = joint > 0
    mutual = float((joint[seen] * np.log(joint[seen] / apart[seen])).sum())
    return mutual / max(-float((shares[shares > 0] * np.log(shares[shares > 0])).sum()), 1e-12)
