"""Records that say what an earlier one says, exactly or but for trifles.

Exact duplicates have the same content: kind, texts and answers, whatever their place, id or group. Normalized ones
have an input and an answer that are equal but for compatibility forms of characters, case, white space and
punctuation. Other words for the same thing are not found here; see ``near-duplicates``.
"""

from collections.abc import Iterator, Sequence

from formtune.checks.finding import Context, Finding, Rule, counted, found, place_of
from formtune.records import Record, answer_text, content_digest
from formtune.splits import normalized

EXACT = Rule(
    "FT201",
    "warning",
    "A record repeats an earlier one exactly.",
    "Remove the repetitions, unless they are meant to count more than once.",
)
NORMALIZED = Rule(
    "FT202",
    "warning",
    "A record repeats an earlier one but for case, width, space or punctuation.",
    "Remove the repetitions; keep the form that you want to be learned.",
)
RULES = (EXACT, NORMALIZED)
N_DETAILS = 20
_Pair = tuple[Record, Record]
_Answers = dict[str, dict[str, Record]]  # by their normal form, then by the digest of the record


def find(records: Sequence[Record], context: Context) -> Iterator[Finding]:
    """Compare each record with those before it."""
    repeated, resembling = repetitions(records, context.keys)
    for rule, pairs, how in ((EXACT, repeated, "exactly"), (NORMALIZED, resembling, "but for trifles")):
        yield from found(
            rule,
            [record for record, _ in pairs],
            f"{counted(len(pairs), 'record', 'repeats')} an earlier one {how}.",
            details=[f"{place_of(record)} = {place_of(first)}" for record, first in pairs[:N_DETAILS]],
        )


def repetitions(records: Sequence[Record], keys: Sequence[str]) -> tuple[list[_Pair], list[_Pair]]:
    """Bring each record that repeats an earlier one together with that: exactly, and but for trifles.

    Args:
        records: in their order.
        keys: of each, its input in the form in which duplicates are equal.
    """
    firsts: dict[str, Record] = {}
    answered: dict[
        str, _Answers
    ] = {}  # of the inputs that stand more than once: of most records no answer is looked at
    repeated: list[_Pair] = []
    resembling: list[_Pair] = []
    for record, key in zip(records, keys, strict=True):
        first = firsts.setdefault(key, record)
        if first is record:
            continue
        answers = answered.setdefault(key, {})
        if not answers:
            answers[normalized(answer_text(first))] = {content_digest(first): first}
        variants = answers.setdefault(normalized(answer_text(record)), {})
        original = variants.setdefault(content_digest(record), record)
        if original is not record:
            repeated.append((record, original))
        elif len(variants) > 1:
            resembling.append((record, next(iter(variants.values()))))
    return repeated, resembling
