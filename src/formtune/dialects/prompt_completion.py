"""Prompt and completion, as texts; those that are lists of messages are ``trl-prompt-completion``."""

from collections.abc import Sequence

from formtune.dialects.columns import Columns, Evidence, Object
from formtune.dialects.completions import COMPLETIONS, as_text, found_in, read, row_of, sides_of
from formtune.records import Record
from formtune.sources import Row

NAME = "prompt-completion"
SUMMARY = "A prompt and its completion, both texts; only the completion is learned (TRL, Together, MLX, Bedrock)."
NEEDS = "texts 'prompt' and 'completion'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"prompt", *COMPLETIONS})

__all__ = ["NAME", "NAMES", "NEEDS", "ROLES", "SUMMARY", "read", "recognize", "write"]


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for both columns, of which most hold texts; judgments (KTO) and preferences are not for this dialect."""
    return found_in(rows, columns, of_messages=False)


def write(record: Record) -> Object | None:
    """Write two texts; None where more is said than a user's text and the answer to it."""
    sides = sides_of(record)
    texts = [as_text(side) for side in sides] if sides else [None]
    return None if None in texts else row_of(record, texts)
