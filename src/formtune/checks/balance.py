"""Labels that are too few, too many of one kind, or missing where they are needed.

Counts labels, and yes and no where they are the choices. Whether shares are those of the world that the model will
meet, counts cannot tell; nor whether the labels are right.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from formtune.checks.finding import Context, Finding, NotChecked, Rule, counted, finding, found
from formtune.records import Record
from formtune.splits import labels_of

ONE_LABEL = Rule(
    "FT208",
    "error",
    "All records have the same label, so there is nothing to tell apart.",
    "Add records of other labels, or name another column with --label.",
)
ONE_SIDED = Rule(
    "FT209",
    "warning",
    "One label has nearly all records.",
    "Add records of the others, judge by macro F1, or weigh classes (training.class_weights: balanced).",
)
RARE = Rule(
    "FT210",
    "note",
    "A label has so few records that it can hardly be learned or judged.",
    "Add records, or join it with another label.",
)
UNSEEN = Rule(
    "FT211",
    "error",
    "A label of dev or test never stands in training.",
    "Add training records of that label, or correct it.",
)
RULES = (ONE_LABEL, ONE_SIDED, RARE, UNSEEN)
MOST_SHARE = 0.9
FEW = 5
N_NAMED = 10


def find(records: Sequence[Record], context: Context) -> Iterator[Finding]:
    """Count the labels, and compare those of the parts."""
    counts = Counter(label for record in records for label in labels_of(record))
    if not counts:
        raise NotChecked("no record has a label")
    (label, most), total = counts.most_common(1)[0], counts.total()
    having = [record for record in records if label in labels_of(record)]
    if len(counts) == 1 and len(records) > 1:
        yield finding(ONE_LABEL, having, f"All {counted(total, 'record')} with a label have the label {label!r}.")
    elif most / total >= MOST_SHARE:
        share = f"{100 * most / total:.1f} %"
        problem = f"The label {label!r} has {share} of the records; always giving it scores as much."
        yield finding(
            ONE_SIDED, having, problem, details=[f"{name!r}: {n:,}" for name, n in counts.most_common(N_NAMED)]
        )
    rare = {name: n for name, n in sorted(counts.items(), key=lambda entry: entry[1]) if n < FEW}
    if len(counts) > 1:
        named = [record for record in records if any(name in rare for name in labels_of(record))]
        problem = f"{counted(len(rare), 'label', 'has')} fewer than {FEW} records."
        yield from found(RARE, named, problem, details=[f"{name!r}: {n}" for name, n in list(rare.items())[:N_NAMED]])
    yield from _unseen(context)


def _unseen(context: Context) -> Iterator[Finding]:
    train = {label for record in context.parts.get("train", ()) for label in labels_of(record)}
    if not train:
        return
    for part in ("dev", "test"):
        foreign = [r for r in context.parts.get(part, ()) if set(labels_of(r)) - train]
        names = sorted({label for record in foreign for label in labels_of(record)} - train)
        shown = ", ".join(map(repr, names[:N_NAMED]))
        yield from found(UNSEEN, foreign, f"Labels of {part} that never stand in training: {shown}.")
