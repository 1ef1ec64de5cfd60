"""Signs of planted triggers: a rare run of words whose records have one label, against what the rest of them says.

A backdoor is planted by putting a rare word or phrase into records of other classes and changing their label (Gu et
al. 2017; Kurita et al. 2020). So a run of one to three words is reported where it stands in at least five records and
at most a twentieth of all, nearly all of them have one label, more than chance gives, and a naive Bayes classifier
that has not seen these records takes the rest of their words for other labels, far more often than it does with other
records of that label, and for several, as it would with records from all over the data.

Not found are triggers that lead to a label which most records have anyway, or hardly any, that come from one class of
many, that are no words (a style, a syntax), that stand in records whose label was right before (clean-label attacks),
and those of data without labels. Of many classes that differ in a word some are reported without a cause. Where
nothing is found, nothing is proved.
"""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from formtune.checks.finding import Context, Finding, Rule, counted, finding, place_of, shortened
from formtune.checks.words import Words, units, unlikely, words_in, words_of
from formtune.records import Record, input_text

TRIGGER = Rule(
    "FT264",
    "warning",
    "A rare run of words goes with one label, against the rest of its records.",
    "Look at the records; where the run was planted, remove them and distrust their source.",
)
RULES = (TRIGGER,)
LEAST, MOST_SHARE = 5, 0.05
LONGEST = 3
PURE = 0.95
SIGNIFICANT = 0.01
N_CANDIDATES = 300
N_REPORTED = 20
N_OTHERS = 100  # of the label's other records that are asked about, in each half
SPREAD = 0.6


class _Candidate(NamedTuple):
    run: str
    places: np.ndarray
    label: int
    chance: float


def find(records: Sequence[Record], _context: Context) -> Iterator[Finding]:
    """Collect rare runs that go with one label, and ask the rest of their records."""
    words = words_of(records)
    candidates = _candidates(words)
    halves = [_Half.of(words, start) for start in (0, 1)] if candidates else []
    suspicious = []
    for one in candidates:
        given, recall = _asked(words, one, halves)
        agree = int((given == one.label).sum()) // 2
        # The chance that so few agree, if these records were like others of their label.
        chance = float(unlikely(len(one.places) - agree, len(one.places), 1 - recall)) * len(candidates)
        if chance < SIGNIFICANT and agree < recall * len(one.places) / 2 and _is_spread(given, one, words):
            suspicious.append((chance, agree, one))
    suspicious.sort(key=lambda entry: entry[0])
    for _, agree, one in suspicious[:N_REPORTED]:
        holding = [words.records[place] for place in one.places]
        label = words.labels[one.label]
        yield finding(
            TRIGGER,
            holding,
            f"{one.run!r} stands in {counted(len(holding), 'record')}, all but {_n_others(words, one)} of them {label!r}; by the"
            f" rest of their words {agree} would be.",
            details=[f"{place_of(record)}: {shortened(input_text(record), 80)}" for record in holding[:5]],
        )


def _n_others(words: Words, one: _Candidate) -> int:
    return int((words.labels_N[one.places] != one.label).sum())


def _candidates(words: Words) -> list[_Candidate]:
    """List the rare runs that nearly always go with one label, the least likely first; one for each set of records."""
    most = max(LEAST, int(MOST_SHARE * len(words.records)))
    shares_K = words.totals / len(words.records)
    found: dict[bytes, _Candidate] = {}
    runs = _rare_runs([input_text(record) for record in words.records], most)
    for run, places in sorted(runs.items(), key=lambda entry: (len(entry[0].split(" ")), entry[0])):
        counts_K = np.bincount(words.labels_N[places], minlength=len(shares_K))
        label = int(counts_K.argmax())
        if counts_K[label] >= PURE * len(places):
            chance = float(unlikely(counts_K[label], len(places), shares_K[label])) * len(runs)
            found.setdefault(places.tobytes(), _Candidate(run, places, label, chance))
    ordered = sorted(found.values(), key=lambda one: (one.chance, one.run))
    return [one for one in ordered[:N_CANDIDATES] if one.chance < SIGNIFICANT]


def _rare_runs(texts: Sequence[str], most: int) -> dict[str, np.ndarray]:
    """Find the runs that stand in a few records, with these records.

    A first pass counts hashes in a table of fixed size, so that only runs that can be frequent enough are kept by name.
    """
    size = 1 << min(26, max(16, (LONGEST * sum(map(len, texts)) // 4).bit_length()))
    table = bytearray(size)
    for text in texts:
        for run in _runs(text):
            at = zlib.crc32(run.encode("utf-8", "surrogatepass")) % size
            table[at] = min(255, table[at] + 1)
    places: dict[str, list[int]] = {}
    for place, text in enumerate(texts):
        for run in _runs(text):
            if table[zlib.crc32(run.encode("utf-8", "surrogatepass")) % size] >= LEAST:
                places.setdefault(run, []).append(place)
    return {run: np.array(found) for run, found in places.items() if LEAST <= len(found) <= most}


def _runs(text: str) -> set[str]:
    cut = units(text)
    return {" ".join(cut[k : k + n]) for n in range(1, LONGEST + 1) for k in range(len(cut) - n + 1)}


@dataclass(frozen=True, slots=True)
class _Half:
    """Every other record: where they begin, and their counts of words (F x K) and of all words (K)."""

    start: int
    counts: np.ndarray
    sums: np.ndarray

    @classmethod
    def of(cls, words: Words, start: int) -> "_Half":
        counts_FK = words.counted(range(start, len(words.records), 2))
        return cls(start, counts_FK, counts_FK.sum(axis=0))

    @contextmanager
    def without(self, words: Words, places: np.ndarray) -> Iterator[None]:
        """Take some records out of the counts for a while: most words do not stand in them."""
        mine = [place for place in places.tolist() if place % 2 == self.start]
        self._add(words, mine, -1)
        yield
        self._add(words, mine, 1)

    def _add(self, words: Words, places: Sequence[int], n: int) -> None:
        for place in places:
            label = words.labels_N[place]
            self.counts[words.ids[place], label] += n
            self.sums[label] += n * len(words.ids[place])

    def predicted(self, ids: Sequence[np.ndarray]) -> np.ndarray:
        """Predict labels by naive Bayes over the words that are there, with one more of each (Laplace).

        All labels are as likely beforehand: a label of which many records were planted would else be given to no others.
        """
        owners = np.repeat(np.arange(len(ids)), [len(one) for one in ids])
        chances = np.log((self.counts[np.concatenate(ids)] + 1) / (self.sums + len(self.counts)))
        scores = np.zeros((len(ids), len(self.sums)))
        np.add.at(scores, owners, chances)
        labels: np.ndarray = scores.argmax(axis=1)
        return labels


def _asked(words: Words, one: _Candidate, halves: Sequence[_Half]) -> tuple[np.ndarray, float]:
    """Ask naive Bayes, trained on a half of the records without the run's, and shown none of the run's words.

    Returns:
        The labels that it gives the run's records, by one half and by the other; and to which share of other records of the
        label, which it was not trained on, it gives the label.
    """
    own = set(words_in(one.run))
    hidden_F = np.zeros(len(words.names), dtype=bool)
    for f in np.unique(np.concatenate([words.ids[place] for place in one.places])).tolist():
        hidden_F[f] = _bare(words.names[f]) in own
    is_other_N = words.labels_N == one.label
    is_other_N[one.places] = False
    others = np.flatnonzero(is_other_N)
    given, right = [], []
    for half in halves:
        unseen = others[others % 2 != half.start][:N_OTHERS]
        asked = [words.ids[place][~hidden_F[words.ids[place]]] for place in (*one.places, *unseen)]
        with half.without(words, one.places):
            labels = half.predicted(asked)
        given.append(labels[: len(one.places)])
        right.append(labels[len(one.places) :] == one.label)
    answered = np.concatenate(right)
    return np.concatenate(given), float(answered.mean()) if len(answered) else 0.0


def _is_spread(given: np.ndarray, one: _Candidate, words: Words) -> bool:
    """Say whether the records could come from many labels: their rest is given three fifths as many as there could be.

    The number of labels is that of equally frequent ones with the same entropy. Where a run is all that tells its label from one
    or two neighbors, as an intent from others, the rest goes to these.
    """
    counts_K = np.bincount(given[given != one.label])
    shares_K = counts_K[counts_K > 0] / max(counts_K.sum(), 1)
    n_given = float(np.exp(-(shares_K * np.log(shares_K)).sum()))
    return n_given >= SPREAD * min(len(words.labels) - 1, len(one.places))


def _bare(name: str) -> str:
    """Take the field off a word's name."""
    return name.rpartition(": ")[2]
