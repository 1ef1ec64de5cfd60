"""One input with different labels or answers.

Inputs are compared in the normal form of ``duplicates``, answers likewise. Two labels for one text cannot both be
learned. For questions, pairs and conversations several answers may all be right (four translations of a sentence), so
that is only noted. Contradictions between texts that are worded differently are not found.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from formtune.checks.finding import Context, Finding, Rule, counted, found, place_of, shortened
from formtune.records import Labelled, Plain, Record, answer_text
from formtune.splits import normalized

LABELS = Rule(
    "FT203",
    "warning",
    "One input has different labels.",
    "Decide on one label, or remove the records; what is left teaches a coin toss.",
)
ANSWERS = Rule(
    "FT204",
    "note",
    "One input has different answers.",
    "Where all are right, give them as acceptable answers of one record; else keep the right one.",
)
RULES = (LABELS, ANSWERS)
N_DETAILS = 20


def find(records: Sequence[Record], context: Context) -> Iterator[Finding]:
    """Put the records of one input side by side."""
    same: dict[str, list[Record]] = {}
    for record, key in zip(records, context.keys, strict=True):
        if not isinstance(record, Plain) and answer_text(record):
            same.setdefault(key, []).append(record)
    torn = [group for group in same.values() if len(group) > 1 and len(_answers(group)) > 1]
    for rule, what, is_labelled in ((LABELS, "label", True), (ANSWERS, "answer", False)):
        groups = [group for group in torn if isinstance(group[0], Labelled) is is_labelled]
        yield from found(
            rule,
            [record for group in groups for record in group],
            f"{counted(len(groups), 'input', 'has')} different {what}s.",
            details=[_told(group) for group in groups[:N_DETAILS]],
        )


def _answers(group: Sequence[Record]) -> Counter[str]:
    return Counter(normalized(answer_text(record)) for record in group)


def _told(group: Sequence[Record]) -> str:
    return "; ".join(f"{place_of(record)}: {shortened(answer_text(record), 40)!r}" for record in group[:4])
