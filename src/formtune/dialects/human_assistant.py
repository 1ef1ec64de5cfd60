"""Conversations as pairs of what the human and what the assistant said: Firefly, and ms-swift's ShareGPT."""

from collections.abc import Iterator, Sequence

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, objects, rest, text_in, with_rest
from formtune.dialects.conversations import is_judged
from formtune.dialects.exchanges import Exchange, messages_of, texts_of
from formtune.records import Conversation, Record
from formtune.sources import Row

NAME = "human-assistant"
SUMMARY = "Conversations as a list of pairs 'human' and 'assistant', perhaps with a system text (Firefly, ms-swift)."
NEEDS = "a column 'conversation' that holds a list of objects with 'human' and 'assistant'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"conversation", "system"})
_KEYS = ("human", "assistant")


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for lists of such pairs."""
    table = objects(rows)
    fitting = sum(_are_pairs(value.get("conversation")) for value in table)
    if fitting * 2 <= len(table) or is_judged(table):
        return None
    return Evidence(0.98 * fitting / len(table), f"'human' and 'assistant' in {fitting} of {len(table)} rows", columns)


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the pairs after the system text; an assistant's text that is missing at the end is yet to be given."""
    value = as_object(row)
    found = value.get("conversation")
    if not isinstance(found, list) or not found:
        raise RowFault("no turns")
    exchanges = [_exchange(pair, is_last=place == len(found)) for place, pair in enumerate(found, 1)]
    yield Conversation(
        messages=messages_of(text_in(value, "system"), exchanges),
        origin=row.origin,
        extra=rest(value, ("conversation", "system")),
    )


def write(record: Record) -> Object | None:
    """Write the pairs; None where user and assistant do not take turns."""
    found = texts_of(record)
    if found is None:
        return None
    system, exchanges = found
    pairs = [
        {key: text for key, text in zip(_KEYS, exchange, strict=True) if text is not None} for exchange in exchanges
    ]
    row: Object = {"conversation": pairs}
    return with_rest(row | ({} if system is None else {"system": system}), record.extra, ("system",))


def _are_pairs(value: object) -> bool:
    is_list = isinstance(value, list) and bool(value)
    return is_list and isinstance(value, list) and all(isinstance(pair, dict) and "human" in pair for pair in value)


def _exchange(pair: object, *, is_last: bool) -> Exchange:
    """Read a pair.

    Raises:
        RowFault: when it is something else, or holds more than texts under these two names.
    """
    match pair:
        case {"human": str(asked), "assistant": str(answer), **other} if not other:
            return asked, answer
        case {"human": str(asked), **other} if is_last and other in ({}, {"assistant": None}):
            return asked, None
    raise RowFault("a turn that is not a pair of texts, 'human' and 'assistant'")
