"""Preferences as lists of messages: what TRL calls conversational, and lays out by the model's chat template.

Binarized UltraFeedback and axolotl's ``ultra`` have them too, with the prompt as a text. What is read, and how, is said in
:mod:`formtune.dialects.chosen`; texts are ``preference``, which TRL takes as they are.
"""

from collections.abc import Sequence

from formtune.dialects.chosen import NAMES, fits, has_messages, read, row_of
from formtune.dialects.columns import Columns, Evidence, Object
from formtune.dialects.layouts import seen
from formtune.dialects.preferences import has_both, rows_of
from formtune.records import Preference, Record
from formtune.sources import Row

NAME = "trl-preference"
SUMMARY = "A prompt with a chosen and a rejected answer as lists of messages (TRL, conversational; UltraFeedback)."
NEEDS = "'chosen' and 'rejected' as lists of messages"
ROLES: frozenset[str] = frozenset()

__all__ = ["NAME", "NAMES", "NEEDS", "ROLES", "SUMMARY", "read", "recognize", "write"]


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for two answers, of which one or the prompt is messages."""
    return seen(rows, columns, _fits, why="'chosen' and 'rejected' as messages", score=0.99)


def write(record: Record) -> Object | None:
    """Write three lists of messages; None where one answer is judged alone."""
    if not isinstance(record, Preference) or not has_both(record):
        return None
    return row_of(record, [rows_of(said) for said in (record.prompt, record.chosen, record.rejected)])


def _fits(value: Object) -> bool:
    return fits(value) and has_messages(value)
