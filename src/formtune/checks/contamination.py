"""Long stretches of a test or a benchmark inside the data.

Every record of dev, test and the files of ``--against`` is cut into runs of 13 words (Brown et al. 2020, appendix C),
or of 30 characters where it is mostly Chinese or Japanese, in normal form, so that other line breaks and punctuation
do not hide them. A record is reported with the share of its runs that stand in the data, and the first of them as
evidence. Records shorter than one run are not looked at here, nor are those that ``leakage`` finds whole; a quotation
that both took from one source is found as well.
"""

import re
from collections.abc import Iterator, Sequence

from formtune.checks.finding import Context, Finding, NotChecked, Rule, counted, found, place_of, shortened
from formtune.checks.words import CJK, units
from formtune.records import Labelled, Record, answer_text, input_text
from formtune.splits import duplicate_key, normalized

OVERLAP = Rule(
    "FT236",
    "warning",
    "A long stretch of a test record stands in the data.",
    "Look at the evidence; remove the records of the data that hold it, or do not judge by that test.",
)
RULES = (OVERLAP,)
N_WORDS = 13
N_CHARACTERS = 30
N_DETAILS = 20
_CJK = re.compile(f"[{CJK}]")
Run = tuple[str, ...]


def find(_records: Sequence[Record], context: Context) -> Iterator[Finding]:
    """Index the runs of the tests, then look for them in the data."""
    train = context.parts.get("train")
    others = {name: part for name, part in context.parts.items() if train is not None and name != "train"}
    tests = {**others, **context.against}
    if not tests:
        raise NotChecked("there is no test or benchmark (name one with --test or --against)")
    data = context.parts["data"] if train is None else train
    for name, records in tests.items():
        yield from _overlaps(data, records, name)


def _overlaps(data: Sequence[Record], records: Sequence[Record], name: str) -> Iterator[Finding]:
    runs = [set(_runs(_text(record))) for record in records]
    owners: dict[Run, Record] = {}
    wanted = {run for one in runs for run in one}
    whole = set()
    for record in data:
        whole.add(duplicate_key(record))
        for run in _runs(_text(record)):
            if run in wanted:
                owners.setdefault(run, record)
    hits: list[tuple[float, Record, Run]] = []
    for record, own in zip(records, runs, strict=True):
        shared = sorted(own & owners.keys())
        if shared and duplicate_key(record) not in whole:
            hits.append((len(shared) / len(own), record, shared[0]))
    hits.sort(key=lambda hit: -hit[0])
    yield from found(
        OVERLAP,
        [record for _, record, _ in hits],
        f"{counted(len(hits), 'record')} of {len(records):,} of {name} {'shares' if len(hits) == 1 else 'share'} a run of"
        f" {N_WORDS} words, or {N_CHARACTERS} characters, with the data.",
        details=[
            f"{place_of(record)} in {place_of(owners[run])}, {100 * share:.0f} % of it: {_shown(run)!r}"
            for share, record, run in hits[:N_DETAILS]
        ],
    )


def _text(record: Record) -> str:
    """Join what is asked and answered; a label is a name that many records share."""
    asked = input_text(record)
    return normalized(asked if isinstance(record, Labelled) else f"{asked}\n{answer_text(record)}")


def _runs(text: str) -> Iterator[Run]:
    cut = units(text)
    n_cjk = sum(bool(_CJK.match(unit)) for unit in cut)
    length = N_CHARACTERS if 2 * n_cjk > len(cut) else N_WORDS
    return (tuple(cut[k : k + length]) for k in range(len(cut) - length + 1))


def _shown(run: Run) -> str:
    return shortened(("" if _CJK.match(run[0]) else " ").join(run), 90)
