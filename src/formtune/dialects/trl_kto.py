"""Answers that are judged one by one, as lists of messages: what TRL calls conversational, and lays out by a chat template.

The same words as texts are another thing to TRL, which then takes them as they are: see ``kto``.
"""

from collections.abc import Sequence

from formtune.dialects.columns import Columns, Evidence, Object
from formtune.dialects.judged import NAMES, fits, has_messages, read, row_of
from formtune.dialects.layouts import seen
from formtune.dialects.preferences import judged, rows_of
from formtune.records import Preference, Record
from formtune.sources import Row

NAME = "trl-kto"
SUMMARY = "A prompt and its completion, both lists of messages, judged true or false (TRL, conversational)."
NEEDS = "'prompt' and 'completion' as lists of messages, and a true or false in 'label' or 'kto_tag'"
ROLES: frozenset[str] = frozenset()

__all__ = ["NAME", "NAMES", "NEEDS", "ROLES", "SUMMARY", "read", "recognize", "write"]


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for a truth value beside messages."""
    why = "true or false beside a prompt and its completion, both messages,"
    return seen(rows, columns, lambda value: fits(value) and has_messages(value), why=why)


def write(record: Record) -> Object | None:
    """Write both as lists of messages, and the judgment; None where two answers are compared."""
    found = judged(record) if isinstance(record, Preference) else None
    if not isinstance(record, Preference) or found is None:
        return None
    return row_of(record, [rows_of(record.prompt), rows_of(found[0])])
