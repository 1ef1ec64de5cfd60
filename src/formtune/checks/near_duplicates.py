"""Records whose inputs are nearly those of others: a word changed, a sentence added.

Compares sets of five characters (MinHash candidates, then exactly) and reports clusters whose members are each at
least 0.8 alike (Jaccard) to another. Every input field must be alike by itself, so that two questions about one
passage are not duplicates. What ``duplicates`` reports is not repeated. Paraphrases and translations are not found,
nor are short texts that differ in a word; of more than eight texts in one bucket not every pair is compared.
"""

from collections.abc import Iterator, Sequence

from formtune.checks.finding import Context, Finding, Rule, counted, found, place_of
from formtune.checks.sketches import ALIKE, pairs_within, similarity, sketches_of
from formtune.records import Record

NEAR = Rule(
    "FT237",
    "warning",
    "A record is nearly the same as an earlier one.",
    "Remove it, or give the records of a cluster one group (--group), so that no split parts them.",
)
RULES = (NEAR,)
N_DETAILS = 20


def find(records: Sequence[Record], context: Context) -> Iterator[Finding]:
    """Sketch each input once, and join those that prove alike."""
    first = {key: place for place, key in reversed(list(enumerate(context.keys)))}
    texts, places = list(first), list(first.values())
    parents = list(range(len(texts)))
    evidence: list[tuple[Record, Record, float]] = []
    for a, b in pairs_within(sketches_of(texts)).tolist():
        earlier, later = sorted((a, b), key=places.__getitem__)
        if _root(parents, earlier) == _root(parents, later):
            continue
        alike = similarity(records[places[earlier]], records[places[later]])
        if alike >= ALIKE:
            roots = sorted((_root(parents, earlier), _root(parents, later)), key=places.__getitem__)
            parents[roots[1]] = roots[0]  # the earliest of a cluster stands for it
            evidence.append((records[places[later]], records[places[earlier]], alike))
    later_ones = sorted(places[n] for n in range(len(texts)) if _root(parents, n) != n)
    evidence.sort(key=lambda entry: -entry[2])
    yield from found(
        NEAR,
        [records[place] for place in later_ones],
        f"{counted(len(later_ones), 'record', 'is')} nearly the same as an earlier one.",
        details=[f"{place_of(a)} ~ {place_of(b)} ({alike:.2f})" for a, b, alike in evidence[:N_DETAILS]],
    )


def _root(parents: list[int], place: int) -> int:
    while parents[place] != place:
        parents[place] = parents[parents[place]]
        place = parents[place]
    return place
