"""Prompts alone, as messages: what TRL's trainers for reinforcement learning answer themselves."""

from collections.abc import Sequence

from formtune.dialects.columns import Columns, Evidence, Object
from formtune.dialects.preferences import rows_of
from formtune.dialects.requests import found_in, read, row_of, unanswered
from formtune.records import Record
from formtune.sources import Row

NAME = "trl-prompt-only"
SUMMARY = "A prompt alone, a list of messages, to be answered (TRL's prompt-only, conversational)."
NEEDS = "'prompt' as a list of messages without an answer beside it"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"prompt"})

__all__ = ["NAME", "NAMES", "NEEDS", "ROLES", "SUMMARY", "read", "recognize", "write"]


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for a prompt; a dialect that knows a column beside it is surer."""
    return found_in(rows, columns, of_messages=True)


def write(record: Record) -> Object | None:
    """Write a list of messages; None where the assistant has answered."""
    asked = unanswered(record)
    return row_of(record, rows_of(asked)) if asked else None
