"""Rows that cannot be read as records, by the reason why not.

Everything that reading leaves out is here: JSON that is broken, a label that is missing, a column that is not text. A
row that can be read, but as something else than was meant, is not found; ``formtune inspect`` shows what was
understood.
"""

from collections.abc import Iterator, Sequence

from formtune.checks.finding import Context, Finding, Rule, counted
from formtune.inspection import tally
from formtune.records import LeftOut, Record

UNREADABLE = Rule(
    "FT200", "error", "A row is no record.", "Mend the row, or name its layout (--dialect) or its columns."
)
RULES = (UNREADABLE,)
N_DETAILS = 10


def find(_records: Sequence[Record], context: Context) -> Iterator[Finding]:
    """Report what reading left out, a finding for each reason."""
    for entry in tally(context.left_out):
        items = [item for item in context.left_out if item.reason == entry["reason"]]
        details = [f"{_place(item)}: {item.detail}" for item in items[:N_DETAILS] if item.detail]
        problem = f"{counted(len(items), 'row', 'is')} no record: {entry['reason']}."
        yield Finding(UNREADABLE, problem, tuple(map(_place, items)), tuple(details))


def _place(item: LeftOut) -> str:
    return str(item.at or item.id or "")
