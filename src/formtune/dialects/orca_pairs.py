"""Preferences as Orca's pairs lay them out: ``system``, ``question``, ``chosen`` and ``rejected``.

Read too: the request under ``input`` (axolotl's ``chatml.icr``), and Stack Exchange's ``response_j`` and ``response_k``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from formtune.dialects.columns import Columns, Evidence, Object, as_object, find, names_of, objects, rest, with_rest
from formtune.dialects.layouts import seen
from formtune.dialects.preferences import answer, as_text, asked_in, asked_row
from formtune.records import Preference, Record
from formtune.sources import Row

NAME = "orca-pairs"
SUMMARY = "A question with a chosen and a rejected answer, perhaps with a system text (Orca pairs, Stack Exchange)."
NEEDS = "columns 'question' (or 'input'), 'chosen' and 'rejected' (or 'response_j' and 'response_k')"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"system", "question", "input", "chosen", "rejected", "response_j", "response_k"})

_ASKED = ("question", "input")
_CHOSEN = ("chosen", "response_j")
_REJECTED = ("rejected", "response_k")


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for a question with two answers."""
    names = names_of(objects(rows))
    found = [find(names, known) for known in (_ASKED, _CHOSEN, _REJECTED)]
    asked, chosen, rejected = found
    if asked is None or chosen is None or rejected is None or "instruction" in names:
        return None
    settled = replace(columns, question=asked, answer=chosen, target=rejected)
    why = f"two answers to {asked!r}"
    return seen(rows, settled, lambda value: all(_is_text(value.get(name)) for name in found if name), why=why)


def read(row: Row, columns: Columns) -> Iterator[Record]:
    """Read the system text and the question as the prompt, then both answers."""
    value = as_object(row)
    asked, chosen, rejected = columns.question or "question", columns.answer or "chosen", columns.target or "rejected"
    yield Preference(
        prompt=asked_in(value, (asked,)),
        chosen=answer(value.get(chosen)),
        rejected=answer(value.get(rejected)),
        origin=row.origin,
        extra=rest(value, {"system", "history", asked, chosen, rejected}),
    )


def write(record: Record) -> Object | None:
    """Write the columns; None where there is a history, or a side is more than a text."""
    if not isinstance(record, Preference) or record.tools:
        return None
    asked = asked_row(record.prompt, "question", with_history=False)
    texts = as_text(record.chosen), as_text(record.rejected)
    if asked is None or not all(texts):
        return None
    return with_rest({**asked, "chosen": texts[0], "rejected": texts[1]}, record.extra)


def _is_text(found: object) -> bool:
    return isinstance(found, str) and bool(found.strip())
