"""Rows that cannot be read as records, by the reason why not, and rows that were read without a part.

Everything that reading leaves out is here: JSON that is broken, a label that is missing, a column that is not text. A
row that can be read, but as something else than was meant, is not found; ``formtune inspect`` shows what was
understood.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from formtune.checks.finding import Context, Finding, Rule, counted
from formtune.faults import fault_of
from formtune.records import LeftOut, Record
from formtune.tallies import tally

UNREADABLE = Rule(
    "FT200", "error", "A row is no record.", "Mend the row, or name its layout (--dialect) or its columns."
)
IN_PART = Rule(
    "FT238",
    "warning",
    "A part of a row was lost in reading, or of a file.",
    "Mend the row or the file; the rest was read.",
)
RULES = (UNREADABLE, IN_PART)
N_DETAILS = 10


def find(_records: Sequence[Record], context: Context) -> Iterator[Finding]:
    """Report what reading left out, a finding for each reason."""
    for rule in RULES:
        left_out = [item for item in context.left_out if item.kept == (rule is IN_PART)]
        for entry in tally(left_out):
            items = [item for item in left_out if item.reason == entry["reason"]]
            n_rows = counted(len(items), "row", "is" if rule is UNREADABLE else "was")
            no_record = "no record" if len(items) == 1 else "no records"
            what = no_record if rule is UNREADABLE else "read in part"
            yield Finding(rule, f"{n_rows} {what}: {_named(entry)}.", tuple(map(_place, items)), _details(items))


def _named(entry: Mapping[str, Any]) -> str:
    return f"{entry['reason']} ({entry['code']})" if entry["code"] else str(entry["reason"])


def _details(items: Sequence[LeftOut]) -> tuple[str, ...]:
    """Say how to mend the fault, then what is particular to the first rows."""
    fault = fault_of(items[0].reason)
    rows = [f"{_place(item)}: {item.particulars}" for item in items[:N_DETAILS] if item.particulars]
    return (*([fault.remedy] if fault else []), *rows)


def _place(item: LeftOut) -> str:
    return str(item.at or item.id or "")
