"""Every text of a record, wherever it stands: fields, answers, reasoning, calls, and the JSON of unknown keys."""

from collections.abc import Iterator

from formtune.records import Conversation, Labelled, Message, Preference, Record, fields_of


def texts_of(record: Record) -> Iterator[str]:
    """Give every text that a user or an author may have written; labels are names, and stand for many."""
    if isinstance(record, Labelled):
        yield from record.inputs.values()
    else:
        yield from (text for _, text in fields_of(record))
    if isinstance(record, Conversation):
        yield from _beside(record.messages)
        yield record.tools or ""
    elif isinstance(record, Preference):
        yield from _beside((*record.prompt, *record.chosen, *record.rejected))
    yield record.extra or ""


def _beside(messages: tuple[Message, ...]) -> Iterator[str]:
    """Give what messages hold beside their content."""
    for one in messages:
        yield from filter(None, (one.thinking, one.tool_calls, one.parts, one.extra, one.name))
