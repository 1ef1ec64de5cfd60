"""Records that stand on both sides of a split, at five levels.

Train is held against dev and test, dev against test, and all of them against the files of ``--against``. A record of
the second side is reported once, at the strongest level that holds: the same content; the same input and answer but
for trifles; the same input with another answer; an input that is nearly the same (as ``near-duplicates`` has it); the
same group. Records that share facts and no words are not found. Data that are not split yet need no check: ``split``
and ``compare`` keep duplicates together.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

from formtune.checks.finding import Context, Finding, NotChecked, Rule, counted, found, place_of
from formtune.checks.sketches import ALIKE, pairs_across, similarity, sketches_of
from formtune.records import Record, answer_text, content_digest
from formtune.splits import duplicate_key, normalized

_REMEDY = "Remove it from training; a test that was seen in training says nothing."
EXACT = Rule("FT231", "error", "A record stands on both sides of a split.", _REMEDY)
NORMALIZED = Rule("FT232", "error", "A record stands on both sides of a split, but for trifles.", _REMEDY)
INPUT = Rule("FT233", "error", "An input stands on both sides of a split, with different answers.", _REMEDY)
NEAR = Rule(
    "FT234",
    "warning",
    "A record is nearly the same as one on the other side of a split.",
    "Remove it from training, or split again with such records in one group (--group).",
)
GROUP = Rule(
    "FT235",
    "warning",
    "Records of one group stand on both sides of a split.",
    "Split by groups (formtune split), or take the group away where it means nothing.",
)
RULES = (EXACT, NORMALIZED, INPUT, NEAR, GROUP)
N_DETAILS = 20
_SIGNS = {EXACT.code: "=", NORMALIZED.code: "=", INPUT.code: "=", NEAR.code: "~", GROUP.code: "with"}
_HOW = {
    EXACT.code: "exactly as",
    NORMALIZED.code: "but for trifles as",
    INPUT.code: "with another answer",
    NEAR.code: "nearly the same",
    GROUP.code: "by their group",
}


def find(_records: Sequence[Record], context: Context) -> Iterator[Finding]:
    """Hold each side against those that it must not know."""
    parts, others = dict(context.parts), dict(context.against)
    sides = [(parts[a], parts[b], a, b) for a, b in combinations(parts, 2)]
    sides += [(part, other, a, b) for a, part in parts.items() for b, other in others.items()]
    if not sides:
        raise NotChecked("there is one part alone (name others with --test or --against)")
    for ours, theirs, a, b in sides:
        yield from _between(ours, theirs, a, name=b)


def _between(ours: Sequence[Record], theirs: Sequence[Record], our_name: str, *, name: str) -> Iterator[Finding]:
    levels: dict[str, list[tuple[Record, Record]]] = {rule.code: [] for rule in RULES}
    exact = {content_digest(record): record for record in reversed(ours)}
    by_key: dict[str, list[Record]] = {}
    for record in ours:
        by_key.setdefault(duplicate_key(record), []).append(record)
    rest: list[tuple[Record, str]] = []
    for record in theirs:
        key = duplicate_key(record)
        if twin := exact.get(content_digest(record)):
            levels[EXACT.code].append((record, twin))
        elif key in by_key:
            answer = normalized(answer_text(record))
            same = next((r for r in by_key[key] if normalized(answer_text(r)) == answer), None)
            levels[(INPUT if same is None else NORMALIZED).code].append((record, same or by_key[key][0]))
        else:
            rest.append((record, key))
    near = _near(by_key, rest)
    levels[NEAR.code] = [(record, near[n]) for n, (record, _) in enumerate(rest) if n in near]
    groups = {record.group: record for record in reversed(ours) if record.group is not None}
    unlike = [record for n, (record, _) in enumerate(rest) if n not in near]
    levels[GROUP.code] = [(record, groups[record.group]) for record in unlike if record.group in groups]
    for rule in RULES:
        pairs = levels[rule.code]
        yield from found(
            rule,
            [record for record, _ in pairs],
            f"{counted(len(pairs), 'record')} of {len(theirs):,} of {name} also {'stands' if len(pairs) == 1 else 'stand'}"
            f" in {our_name}, {_HOW[rule.code].removesuffix(' as')}.",
            details=[f"{place_of(record)} {_SIGNS[rule.code]} {place_of(twin)}" for record, twin in pairs[:N_DETAILS]],
        )


def _near(by_key: dict[str, list[Record]], rest: Sequence[tuple[Record, str]]) -> dict[int, Record]:
    """Find for records of the other side one of ours that is nearly the same."""
    keys = list(by_key)
    near: dict[int, Record] = {}
    if not keys or not rest:
        return near
    for ours, theirs in pairs_across(sketches_of(keys), sketches_of([key for _, key in rest])).tolist():
        twin = by_key[keys[ours]][0]
        if theirs not in near and similarity(twin, rest[theirs][0]) >= ALIKE:
            near[theirs] = twin
    return near
