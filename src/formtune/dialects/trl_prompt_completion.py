"""Prompt and completion as lists of messages: what TRL calls conversational, and lays out by the model's chat template.

The same words as texts are another thing to TRL, which then takes them as they are: see ``prompt-completion``.
"""

from collections.abc import Sequence

from formtune.dialects.columns import Columns, Evidence, Object
from formtune.dialects.completions import found_in, read, row_of, sides_of
from formtune.dialects.conversations import as_row
from formtune.records import Record
from formtune.sources import Row

NAME = "trl-prompt-completion"
SUMMARY = "A prompt and its completion, both lists of messages; only the completion is learned (TRL, conversational)."
NEEDS = "'prompt' and 'completion' as lists of messages"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"prompt", "completion"})

__all__ = ["NAME", "NAMES", "NEEDS", "ROLES", "SUMMARY", "read", "recognize", "write"]


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for both columns, of which most hold lists; judgments (KTO) and preferences are not for this dialect."""
    return found_in(rows, columns, of_messages=True)


def write(record: Record) -> Object | None:
    """Write two lists of messages; None where more than the last turn is learned."""
    sides = sides_of(record)
    return sides and row_of(record, [[as_row(message) for message in side] for side in sides])
