r"""Preferences as HH-RLHF lays them out: two texts of ``\n\nHuman: ...`` and ``\n\nAssistant: ...`` turns.

What both texts begin with is the prompt. Bai et al. 2022.
"""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, as_object, filled_in, rest, with_rest
from formtune.dialects.layouts import seen
from formtune.dialects.preferences import has_both, parted, turns, turns_text
from formtune.records import Preference, Record
from formtune.sources import Row

NAME = "hh-rlhf"
SUMMARY = "A chosen and a rejected text, each a whole dialogue of Human: and Assistant: turns (HH-RLHF)."
NEEDS = "texts 'chosen' and 'rejected' that begin with 'Human:'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"chosen", "rejected"})

_SIDES = ("chosen", "rejected")


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for two texts of turns."""
    return seen(rows, columns, lambda value: all(map(_begins, map(value.get, _SIDES))), why="'Human:' in both texts")


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the turns of both texts."""
    value = as_object(row)
    prompt, chosen, rejected = parted(turns(filled_in(value, "chosen")), turns(filled_in(value, "rejected")))
    yield Preference(
        prompt=prompt, chosen=chosen, rejected=rejected, origin=row.origin, extra=rest(value, {"chosen", "rejected"})
    )


def write(record: Record) -> Object | None:
    """Write two texts; None where a turn is more than text, or its text looks like the next turn."""
    if not isinstance(record, Preference) or not has_both(record) or record.tools:
        return None
    texts = [turns_text((*record.prompt, *end)) for end in (record.chosen, record.rejected)]
    return with_rest(dict(zip(_SIDES, texts, strict=True)), record.extra) if all(texts) else None


def _begins(found: object) -> bool:
    return isinstance(found, str) and found.lstrip().startswith(("Human:", "Assistant:"))
