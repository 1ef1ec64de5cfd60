"""Conversations as NeMo lays them out: turns with ``from`` and ``value``, and which speaker's turns are not learned."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from formtune.dialects.columns import Columns, Evidence, Object, RowFault, as_object, objects, rest, text_in, with_rest
from formtune.dialects.conversations import (
    TURN_KEYS,
    Spelling,
    all_spelled,
    as_turn,
    from_turn,
    is_judged,
    is_messages,
    messages_in,
    spelled,
)
from formtune.records import Conversation, Message, Record
from formtune.sources import Row

NAME = "nemo"
SUMMARY = "Conversations as turns with 'from' and 'value' beside 'mask', the speaker who is not learned (NeMo)."
NEEDS = "a column 'conversations' that holds a list of turns with 'from' and 'value', and a column 'mask'"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"conversations", "mask", "system"})

_ROLES: Mapping[str, str] = {"User": "user", "Assistant": "assistant", "user": "user", "assistant": "assistant"}
_SPELLING = Spelling(_ROLES, lambda _weight: {}, frozenset())
_SYSTEM = Spelling({"system": "system"}, lambda _weight: {}, frozenset())


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for turns beside the name of the speaker who is masked."""
    table = objects(rows)
    fitting = sum(
        isinstance(value.get("mask"), str) and is_messages(value.get("conversations"), "from") for value in table
    )
    if fitting * 2 <= len(table) or is_judged(table):
        return None
    return Evidence(0.99 * fitting / len(table), f"turns beside 'mask' in {fitting} of {len(table)} rows", columns)


def read(row: Row, _columns: Columns) -> Iterator[Record]:
    """Read the turns; that the user is not learned goes without saying, any other mask gives every turn a weight."""
    value = as_object(row)
    turns, mask = value.get("conversations"), value.get("mask")
    if not isinstance(turns, list) or not turns:
        raise RowFault("no turns")
    if not isinstance(mask, str) or (mask and mask not in _ROLES):
        raise RowFault("a mask that is not the name of a speaker", repr(mask))
    system = text_in(value, "system")
    try:
        messages = messages_in(map(from_turn, turns), _ROLES, at="conversations")
    except RowFault as fault:
        raise fault.renamed(TURN_KEYS) from None
    yield Conversation(
        messages=(*([Message("system", system)] if system else []), *_weighted(messages, mask)),
        origin=row.origin,
        extra=rest(value, ("conversations", "mask", "system")),
    )


def write(record: Record) -> Object | None:
    """Write the turns and the mask; weights that no mask can say are left away."""
    if not isinstance(record, Conversation) or record.tools or not record.messages:
        return None
    is_system = spelled(record.messages[0], _SYSTEM) is not None
    messages = record.messages[is_system:]
    turns = all_spelled(messages, _SPELLING)
    if turns is None:
        return None
    system = record.messages[0].content if is_system else ""
    row: Object = {"system": system, "mask": _mask(messages), "conversations": list(map(as_turn, turns))}
    return with_rest(row, record.extra)


def _weighted(messages: Sequence[Message], mask: str) -> tuple[Message, ...]:
    if _ROLES.get(mask) == "user":
        return tuple(messages)
    unlearned = _ROLES.get(mask)
    return tuple(msgspec.structs.replace(one, weight=float(one.role != unlearned)) for one in messages)


def _mask(messages: Sequence[Message]) -> str:
    """Name the speaker whose turns have the weight 0 while all others have 1; else the user."""
    for mask in ("Assistant", ""):
        if all(message.weight == float(message.role != _ROLES.get(mask)) for message in messages):
            return mask
    return "User"
