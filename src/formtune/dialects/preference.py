"""Preferences as texts: ``prompt``, ``chosen`` and ``rejected``; those that are lists of messages are ``trl-preference``."""

from collections.abc import Sequence

from formtune.dialects.chosen import NAMES, fits, has_messages, read, row_of
from formtune.dialects.columns import Columns, Evidence, Object
from formtune.dialects.layouts import seen
from formtune.dialects.preferences import as_text, has_both, prompt_text
from formtune.records import Preference, Record
from formtune.sources import Row

NAME = "preference"
SUMMARY = "A prompt with a chosen and a rejected answer, all three texts (TRL, axolotl)."
NEEDS = "texts 'chosen' and 'rejected'"
ROLES: frozenset[str] = frozenset()

__all__ = ["NAME", "NAMES", "NEEDS", "ROLES", "SUMMARY", "read", "recognize", "write"]


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for two texts; where other columns say what is asked, other dialects are surer."""
    return seen(rows, columns, _fits, why="texts 'chosen' and 'rejected'", score=0.99)


def write(record: Record) -> Object | None:
    """Write three texts, a dialogue before the answers as in HH-RLHF; None where a side is more than a text."""
    if not isinstance(record, Preference) or not has_both(record):
        return None
    texts = [prompt_text(record.prompt) if record.prompt else "", as_text(record.chosen), as_text(record.rejected)]
    return None if None in texts else row_of(record, texts)


def _fits(value: Object) -> bool:
    return fits(value) and not has_messages(value)
