"""Files of LMFlow: one object with the ``type`` of all its ``instances``: texts, pairs of texts, or conversations."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from formtune.dialects.columns import (
    Columns,
    Evidence,
    Object,
    RowFault,
    as_object,
    filled_in,
    rest,
    text_in,
    with_rest,
)
from formtune.dialects.conversations import as_row, json_text, messages_in
from formtune.dialects.instances import lines_of
from formtune.dialects.layouts import seen, tools_row, with_system
from formtune.records import Conversation, LeftOut, Message, Origin, Pair, Plain, Record
from formtune.sources import Row

NAME = "lmflow"
SUMMARY = "A file of instances of one type: text_only, text2text or conversation (LMFlow)."
NEEDS = "'type' (text_only, text2text or conversation) and 'instances', a list"
ROLES: frozenset[str] = frozenset()
NAMES = frozenset({"type", "instances"})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for a list of instances with one of the types."""
    return seen(rows, columns, _fits, why="'instances' of one 'type'")


def read(row: Row, _columns: Columns) -> Iterator[Record | LeftOut]:
    """Read each instance, with the line on which it stands."""
    value = as_object(row)
    instances, reader = value.get("instances"), _reader(value)
    if reader is None:
        raise RowFault("instances of an unknown type", path="type", found=value.get("type"))
    if not isinstance(instances, list) or not instances:
        raise RowFault("no instances", path="instances")
    for place, (instance, line) in enumerate(zip(instances, lines_of(row, "instances", len(instances)), strict=True)):
        origin = Origin(row.origin.file, line)
        try:
            if not isinstance(instance, dict):
                raise RowFault("an instance that is not an object", found=instance)
            yield reader(instance, origin)
        except RowFault as fault:  # of this instance alone; the file goes on
            yield fault.inside(f"instances[{place}]").left_out(origin)


def write(record: Record) -> Object | None:
    """Write a file of one instance (:func:`joined` puts those of one type together); None for any other kind."""
    match record:
        case Plain():
            return _of_type("text_only", record, {"text": record.text})
        case Pair() if len(record.targets) == 1:
            return _of_type("text2text", record, {"input": record.source, "output": record.targets[0]})
        case Conversation() if (parted := with_system(record.messages)) and parted[1]:
            system, messages = parted
            lead: Object = {} if system is None else {"system": system}
            row = {**lead, **tools_row(record.tools), "messages": [as_row(message) for message in messages]}
            return None if system == "" else _of_type("conversation", record, row)
    return None


def joined(files: Sequence[Object]) -> Object | list[Object]:
    """Put the instances of each type together again; one type alone is the whole document."""
    found: dict[object, list[object]] = {}
    for one in files:
        instances = one["instances"]
        assert isinstance(instances, list)
        found.setdefault(one["type"], []).extend(instances)
    documents: list[Object] = [{"type": kind, "instances": instances} for kind, instances in found.items()]
    return documents[0] if len(documents) == 1 else documents


def _of_type(kind: str, record: Record, instance: Object) -> Object:
    return {"type": kind, "instances": [with_rest(instance, record.extra, ("system", "tools"))]}


def _text(value: Object, origin: Origin) -> Record:
    return Plain(text=filled_in(value, "text"), origin=origin, extra=rest(value, {"text"}))


def _pair(value: Object, origin: Origin) -> Record:
    source, target = filled_in(value, "input"), filled_in(value, "output")
    return Pair(source=source, targets=(target,), origin=origin, extra=rest(value, {"input", "output"}))


def _talk(value: Object, origin: Origin) -> Record:
    found = value.get("messages")
    if not isinstance(found, list) or not found:
        raise RowFault("no messages", path="messages")
    system = text_in(value, "system")
    lead = (Message("system", system),) if system else ()
    return Conversation(
        messages=(*lead, *messages_in(found)),
        tools=json_text(value.get("tools"), "tools"),
        origin=origin,
        extra=rest(value, {"messages", "system", "tools"}),
    )


def _fits(value: Object) -> bool:
    return isinstance(value.get("instances"), list) and _reader(value) is not None


def _reader(value: Object) -> Callable[[Object, Origin], Record] | None:
    kind = value.get("type")
    return _READERS.get(kind) if isinstance(kind, str) else None


_READERS: Mapping[str, Callable[[Object, Origin], Record]] = {
    "text_only": _text,
    "text2text": _pair,
    "conversation": _talk,
}
