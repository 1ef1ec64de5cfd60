"""One request and its answer, under names that only some tools use: those of axolotl's instruction types, to be read.

``INSTRUCTION`` and ``RESPONSE`` (Open Assistant's exports; these are written), ``message_1`` and ``message_2`` (CAMEL-AI),
``prompt`` and ``generation`` (Metharme), ``instruction`` and ``revision`` (creative_acr).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from formtune.dialects.columns import (
    Columns,
    Evidence,
    Object,
    as_object,
    filled_in,
    objects,
    rest,
    share,
    text_in,
    with_rest,
)
from formtune.dialects.conversations import is_judged
from formtune.dialects.exchanges import messages_of, texts_of
from formtune.records import Conversation, Record
from formtune.sources import Row

NAME = "instruction-response"
SUMMARY = "A request and its answer under the names of Open Assistant's exports, CAMEL-AI, Metharme and creative_acr."
NEEDS = "columns 'INSTRUCTION' and 'RESPONSE', 'message_1' and 'message_2', or 'prompt' and 'generation'"
ROLES: frozenset[str] = frozenset()

# Exactly as these tools write them; the first are written.
_LAYOUTS = (
    ("INSTRUCTION", "RESPONSE"),
    ("message_1", "message_2"),
    ("prompt", "generation"),
    ("instruction", "revision"),
)
NAMES = frozenset(name.casefold() for layout in _LAYOUTS for name in layout)


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for one of the layouts; other dialects that know a column of answers are surer."""
    table = objects(rows)
    if not table or is_judged(table):
        return None
    asked, answered = max(_LAYOUTS, key=lambda layout: share(table, layout))
    found = share(table, (asked, answered))
    why = f"{asked!r} with {answered!r} in {found * len(table):.0f} of {len(rows)} rows"
    return Evidence(0.9 * found, why, replace(columns, source=asked, target=answered)) if found else None


def read(row: Row, columns: Columns) -> Iterator[Record]:
    """Read what is asked and, where there is one, the answer."""
    value = as_object(row)
    asked, answered = columns.source or _LAYOUTS[0][0], columns.target or _LAYOUTS[0][1]
    messages = messages_of(None, [(filled_in(value, asked), text_in(value, answered) or None)])
    yield Conversation(messages=messages, origin=row.origin, extra=rest(value, {asked, answered}))


def write(record: Record) -> Object | None:
    """Write one request with its answer; None where more is said."""
    found = texts_of(record)
    if found is None or found[0] is not None or len(found[1]) > 1 or not found[1][0][0].strip():
        return None
    [(asked, answer)] = found[1]
    return with_rest(dict(zip(_LAYOUTS[0], (asked, answer or ""), strict=True)), record.extra)
