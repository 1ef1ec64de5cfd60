"""Every text of a record, wherever it stands: fields, answers, reasoning, calls, and the JSON of unknown keys."""

from collections.abc import Iterator

from formtune.records import Conversation, Labelled, Message, Preference, Record, fields_of
from formtune.sources import value_of
from formtune.sources.json_values import FAULTS

_BETWEEN = "\0"  # no word, number or address goes over it


def texts_of(record: Record) -> Iterator[str]:
    """Give every text that a user or an author may have written; labels are names, and stand for many.

    Of JSON the keys, the texts and the whole numbers are given, as one text with zero characters between them.
    """
    if isinstance(record, Labelled):
        yield from record.inputs.values()
    else:
        yield from (text for _, text in fields_of(record))
    if isinstance(record, Conversation):
        yield from _beside(record.messages)
        yield _inside(record.tools)
    elif isinstance(record, Preference):
        yield from _beside((*record.prompt, *record.chosen, *record.rejected))
    yield _inside(record.extra)


def _beside(messages: tuple[Message, ...]) -> Iterator[str]:
    """Give what messages hold beside their content."""
    for one in messages:
        yield from filter(None, (one.thinking, one.name))
        yield from (_inside(text) for text in (one.tool_calls, one.parts, one.extra) if text)


def _inside(text: str | None) -> str:
    """Give what JSON text says; a text that is none is given as it is."""
    if not text:
        return ""
    try:
        return _BETWEEN.join(_said(value_of(text)))
    except FAULTS:
        return text


def _said(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for key, inner in value.items():
                yield key
                yield from _said(inner)
        case list():
            for inner in value:
                yield from _said(inner)
        case int() if not isinstance(value, bool):
            yield str(value)
