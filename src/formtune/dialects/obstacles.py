"""What of a record keeps a dialect from writing it, found by leaving parts of it away."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any

import msgspec

from formtune.dialects.columns import Dialect
from formtune.records import Conversation, Message, Preference, Record

Without = Callable[[Any], Any]
_BESIDE = frozenset({"id", "origin", "group", "extra"})  # these keep no dialect from writing
_TALKS = ("messages", "prompt", "chosen", "rejected")


def obstacles(record: Record, dialect: Dialect) -> list[str]:
    """Name the parts of a record without which a dialect would write it.

    None is named where it writes the record as it is, or where the kind is the reason. One part is named where one is enough, else all that are needed together.
    """
    if _can(dialect, record):
        return []
    ways = list(_ways(record))
    for name, without in ways:
        if _can(dialect, without(record)):
            return [name]
    bare = record
    for _, without in ways:
        bare = without(bare)
    if not _can(dialect, bare):
        return []
    needed = list(ways)
    for way in ways:
        fewer = [one for one in needed if one is not way]
        if _can(dialect, _without_all(record, fewer)):
            needed = fewer
    return [name for name, _ in needed]


def _without_all(record: Record, ways: list[tuple[str, Without]]) -> Record:
    for _, without in ways:
        record = without(record)
    return record


def _can(dialect: Dialect, record: Record) -> bool:
    return dialect.write(record) is not None


def _ways(record: Record) -> Iterator[tuple[str, Without]]:
    """List the parts that a record can do without, each with what leaves it away."""
    for field in _set_fields(record):
        yield field, partial(_reset, field=field)
    if isinstance(record, Conversation | Preference):
        yield from _ways_of_messages(record)


def _ways_of_messages(record: Conversation | Preference) -> Iterator[tuple[str, Without]]:
    talks = [name for name in _TALKS if getattr(record, name, ())]
    messages = [message for name in talks for message in getattr(record, name)]
    for field in dict.fromkeys(field for message in messages for field in _set_fields(message)):
        yield f"messages[].{field}", partial(_messages_changed, change=partial(_each_reset, field=field))
    for role in dict.fromkeys(message.role for message in messages):
        if role not in ("user", "assistant"):
            yield f"a message of {role}", partial(_messages_changed, change=partial(_but_of, role=role))
    if isinstance(record, Conversation):
        n_said = Counter(message.role for message in messages)
        if n_said["user"] > 1:
            yield "several exchanges", _first_exchange
        if n_said["assistant"] > n_said["user"]:
            yield "several answers to one question", _last_answers


def _set_fields(struct: msgspec.Struct) -> list[str]:
    """List the fields that hold something else than their default; those without a default belong to all of a kind."""
    fields = msgspec.structs.fields(struct)
    return [
        field.name
        for field in fields
        if field.name not in _BESIDE and not field.required and getattr(struct, field.name) != field.default
    ]


def _reset(struct: Any, *, field: str) -> Any:
    default = next(one.default for one in msgspec.structs.fields(struct) if one.name == field)
    return msgspec.structs.replace(struct, **{field: default})


def _messages_changed(record: Any, *, change: Callable[[tuple[Message, ...]], tuple[Message, ...]]) -> Any:
    return msgspec.structs.replace(record, **{n: change(getattr(record, n)) for n in _TALKS if hasattr(record, n)})


def _each_reset(messages: tuple[Message, ...], *, field: str) -> tuple[Message, ...]:
    return tuple(_reset(message, field=field) for message in messages)


def _but_of(messages: tuple[Message, ...], *, role: str) -> tuple[Message, ...]:
    return tuple(message for message in messages if message.role != role)


def _last_answers(record: Conversation) -> Conversation:
    """Keep of the messages of one role that follow one another the last."""
    runs = (list(run) for _, run in groupby(record.messages, key=attrgetter("role")))
    return msgspec.structs.replace(record, messages=tuple(run[-1] for run in runs))


def _first_exchange(record: Conversation) -> Conversation:
    """Keep what comes before the second question."""
    asked = [place for place, message in enumerate(record.messages) if message.role == "user"]
    return msgspec.structs.replace(record, messages=record.messages[: asked[1]] if len(asked) > 1 else record.messages)
