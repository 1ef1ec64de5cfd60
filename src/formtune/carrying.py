"""What came back of a record that was written, what of it did not, and what was put in on the way."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from formtune.dialects.labelled import is_number_of
from formtune.records import Labelled, Record, answer_text, content_digest, input_text, kind_of
from formtune.sources import value_of

_JSON_TEXTS = ("tool_calls", "parts")
_BESIDE = ("id", "origin", "extra", "group", "kind")  # compared in ways of their own
_NAMING = (".name", ".tool_call_id")  # to say who answered, where nothing was said, takes nothing away


def paired(kept: Sequence[Record], found: Sequence[Record]) -> Iterator[tuple[Record, Record | None]]:
    """Bring each record together with what came back of it: by what it says, since a layout may group rows anew.

    Those that say nothing that was written are brought together in their order, if they are equally many.
    """
    if len(kept) == len(found) and all(says(one) == says(other) for one, other in zip(kept, found, strict=True)):
        yield from zip(kept, found, strict=True)
        return
    waiting: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in reversed(found):
        waiting[says(record)].append(record)
    pairs = [(record, again.pop() if (again := waiting[says(record)]) else None) for record in kept]
    unpaired = {id(record) for again in waiting.values() for record in again}
    left = [record for record in found if id(record) in unpaired]
    lonely = sum(again is None for _, again in pairs)
    rest = iter(left if len(left) == lonely else [None] * lonely)
    yield from ((record, next(rest) if again is None else again) for record, again in pairs)


def says(record: Record) -> tuple[str, str]:
    """Give what a record asks and answers: by this it is known again."""
    asked = "\n".join(sorted(record.inputs.values())) if isinstance(record, Labelled) else input_text(record)
    return asked, answer_text(record)  # a table has one order of columns for all rows


def lost(record: Record, again: Record | None) -> dict[str, Any]:
    """Give what of a record did not come back, by its key; a key within a list stands behind ``[]``."""
    if again is None:
        return {"record": msgspec.to_builtins(record)}
    gone = {} if _bare(record) == _bare(again) else _differences(record, again)
    if record.group is not None and again.group is None:  # what belongs together may do so under another name
        gone["group"] = record.group
    given = record.id and record.id.split("-")[0] != content_digest(record)
    if given and record.id not in (again.id, value_of(again.extra or "{}").get("id")):
        gone["id"] = record.id
    return gone


def gained(record: Record, again: Record | None) -> list[str]:
    """List the keys under which more came back than there was, and nothing else."""
    if again is None:
        return []
    keys = ["group"] if record.group is None and again.group is not None else []
    if _bare(record) == _bare(again):
        return keys
    before, after = _flat(record), _flat(again)
    return keys + [key for key, value in after.items() if value != before.get(key) and _is_more(before.get(key), value)]


def _is_more(before: Any, after: Any) -> bool:
    """Say whether what came back holds what there was: all of it, where there was nothing; in a column, place by place."""
    if before is None or not isinstance(before, list) or not isinstance(after, list):
        return before is None
    return len(before) == len(after) and all(old in (None, new) for old, new in zip(before, after, strict=True))


def _bare(record: Record) -> Record:
    return msgspec.structs.replace(record, id="", origin=None, group=None)


def _differences(record: Record, again: Record) -> dict[str, Any]:
    before, after = _flat(record), _flat(again)
    gone = {
        key: value
        for key, value in before.items()
        if after.get(key) != value and not (key.endswith(_NAMING) and _is_more(value, after.get(key)))
    }
    if kind_of(record) != kind_of(again):
        gone["kind"] = kind_of(record)
    if isinstance(record, Labelled) and "labels" not in gone and is_number_of(gone.get("extra.label"), record.labels):
        del gone["extra.label"]  # a table writes the number with the digits that came back as the label
    return gone


def _flat(record: Record) -> dict[str, Any]:
    """Lay a record out as keys and what they hold; keys that the kind has no place for stand as they are."""
    plain: dict[str, Any] = msgspec.to_builtins(record)
    flat = {name: value for name, value in plain.items() if name not in _BESIDE and value not in (None, [], ())}
    if record.extra:
        flat |= {f"extra.{name}": value for name, value in value_of(record.extra).items()}
    if isinstance(flat.get("tools"), str):
        flat["tools"] = value_of(flat["tools"])
    for name in ("messages", "prompt", "chosen", "rejected"):
        if isinstance(flat.get(name), (list, tuple)):
            flat |= _columns(name, flat.pop(name))
    return flat


def _columns(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Turn messages into a list for each of their keys, so that a key which is lost has a name."""
    told = [_with_others(row) for row in rows]
    keys = dict.fromkeys(key for row in told for key in row)
    return {f"{name}[].{key}": [_value(key, row.get(key)) for row in told] for key in keys}


def _with_others(message: Mapping[str, Any]) -> dict[str, Any]:
    """Name the keys that a message has no place for one by one."""
    own = {key: value for key, value in message.items() if key != "extra"}
    return own | {f"extra.{key}": value for key, value in value_of(message.get("extra") or "{}").items()}


def _value(key: str, found: Any) -> Any:
    """Read what is kept as JSON text: white space in it says nothing."""
    return value_of(found) if key in _JSON_TEXTS and isinstance(found, str) else found
