"""A prompt and its completion, as the dialects that hold them as texts or as lists of messages share them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import msgspec

from formtune.dialects.columns import (
    Columns,
    Evidence,
    Object,
    RowFault,
    as_object,
    column_in,
    find,
    in_rows,
    names_of,
    objects,
    rest,
    share,
    with_rest,
)
from formtune.dialects.conversations import is_judged, is_messages, json_text, messages_in
from formtune.dialects.layouts import tools_row
from formtune.errors import nearest
from formtune.records import Conversation, Message, Record
from formtune.sources import Row

COMPLETIONS = ("completion", "response", "output", "answer")
Messages = tuple[Message, ...]


def found_in(rows: Sequence[Row], columns: Columns, *, of_messages: bool) -> Evidence | None:
    """Look for a prompt with its completion, both lists of messages, or both texts."""
    table = objects(rows)
    names = names_of(table)
    completion = find(names, COMPLETIONS)
    if "prompt" not in names or completion is None or is_judged(table):
        return None
    n_messages = sum(isinstance(value.get("prompt"), list) for value in table)
    if (2 * n_messages > len(table)) != of_messages:
        return None
    found = replace(columns, source="prompt", target=completion)
    what = "as messages" if of_messages else "as texts"
    why = f"'prompt' with {completion!r}, {what}, {in_rows(table, rows, 'prompt')}"
    return Evidence(0.93 * share(table, ["prompt"]), why, found)


def read(row: Row, columns: Columns) -> Iterator[Record]:
    """Read a conversation; what the assistant says inside the prompt gets the weight 0."""
    value = as_object(row)
    completion = column_in(value, columns.target, COMPLETIONS) or "completion"
    prompt = [_unlearned(message) for message in _side(value.get("prompt"), "user", at="prompt")]
    if not prompt:
        raise RowFault("no prompt", near=None if "prompt" in value else nearest("prompt", value))
    yield Conversation(
        messages=(*prompt, *_side(value.get(completion), "assistant", at=completion)),
        tools=json_text(value.get("tools"), "tools"),
        origin=row.origin,
        extra=rest(value, {"prompt", completion, "tools"}),
    )


def sides_of(record: Record) -> tuple[Messages, Messages] | None:
    """Part a conversation into what is given and what is learned; None where what is learned is not at its end."""
    if not isinstance(record, Conversation):
        return None
    n_prompt = max((place for place, part in enumerate(record.messages, 1) if not _is_learned(part)), default=0)
    prompt, completion = record.messages[:n_prompt], record.messages[n_prompt:]
    return (prompt, completion) if prompt and not any(map(_is_learned, prompt)) else None


def row_of(record: Record, sides: Sequence[object]) -> Object:
    """Put both sides as they are written into a row, with the tools and what stands beside."""
    tools = record.tools if isinstance(record, Conversation) else None
    row = {"prompt": sides[0], "completion": sides[1], **tools_row(tools)}
    return with_rest(row, record.extra, ("tools",))


def as_text(side: Messages) -> str | None:
    """Write one side as the text that would be read as the same; None where only messages hold it.

    A weight of 1 says of an answer what goes without saying: it is lost, and told, but not the row.
    """
    text = side[0].content if side else ""
    said = tuple(msgspec.structs.replace(one, weight=None) if one.weight == 1 else one for one in side)
    is_held = len(said) <= 1 and any(_side(text, role) == said for role in ("user", "assistant"))
    return text if is_held else None


def _side(found: object, role: str, *, at: str = "") -> Messages:
    """Read a prompt or a completion: a text is one message of the role."""
    if isinstance(found, str):
        return (Message(role, found),) if found.strip() else ()
    if found is None or found == []:
        return ()
    if not is_messages(found) or not isinstance(found, list):
        raise RowFault("a prompt or completion that is neither a text nor messages", type(found).__name__, path=at)
    return messages_in(found, at=at)


def _is_learned(message: Message) -> bool:
    return message.role == "assistant" and message.weight != 0


def _unlearned(message: Message) -> Message:
    return msgspec.structs.replace(message, weight=0.0) if message.role == "assistant" else message
