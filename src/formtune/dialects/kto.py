"""Answers that are judged one by one, as TRL's KTO trainer takes texts; those that are lists of messages are ``trl-kto``."""

from collections.abc import Sequence

from formtune.dialects.columns import Columns, Evidence, Object
from formtune.dialects.judged import NAMES, fits, has_messages, read, row_of
from formtune.dialects.layouts import seen
from formtune.dialects.preferences import as_text, judged
from formtune.records import Preference, Record
from formtune.sources import Row

NAME = "kto"
SUMMARY = "A prompt and its completion, both texts, judged true or false (TRL's unpaired preferences for KTO)."
NEEDS = "texts 'prompt' and 'completion', and a true or false in 'label' or 'kto_tag'"
ROLES: frozenset[str] = frozenset()

__all__ = ["NAME", "NAMES", "NEEDS", "ROLES", "SUMMARY", "read", "recognize", "write"]


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for a truth value beside texts."""
    why = "true or false beside a prompt and its completion, both texts,"
    return seen(rows, columns, lambda value: fits(value) and not has_messages(value), why=why)


def write(record: Record) -> Object | None:
    """Write the prompt, the completion and the judgment; None where two are compared, or more is said than two texts."""
    found = judged(record) if isinstance(record, Preference) else None
    if not isinstance(record, Preference) or found is None:
        return None
    texts = as_text(record.prompt, "user"), as_text(found[0])
    return None if None in texts else row_of(record, texts)
