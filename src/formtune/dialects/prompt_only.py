"""Prompts alone, as texts: what TRL's trainers for reinforcement learning answer themselves."""

from collections.abc import Sequence

from formtune.dialects.columns import Columns, Evidence, Object
from formtune.dialects.preferences import as_text
from formtune.dialects.requests import found_in, read, row_of, unanswered
from formtune.records import Record
from formtune.sources import Row

NAME = "prompt-only"
SUMMARY = "A prompt alone, a text, to be answered (TRL's prompt-only, for reinforcement learning)."
NEEDS = "a text 'prompt' without an answer beside it"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"prompt"})

__all__ = ["NAME", "NAMES", "NEEDS", "ROLES", "SUMMARY", "read", "recognize", "write"]


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for a prompt; a dialect that knows a column beside it is surer."""
    return found_in(rows, columns, of_messages=False)


def write(record: Record) -> Object | None:
    """Write a text; None where there is an answer, or more is said than one text of the user's."""
    asked = unanswered(record)
    text = as_text(asked, "user") if asked else None
    return row_of(record, text) if text else None
