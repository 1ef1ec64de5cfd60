"""Prompt and completion, as texts or as lists of messages."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import msgspec

from formtune.dialects.columns import (
    Columns,
    Evidence,
    Object,
    RowFault,
    as_object,
    find,
    names_of,
    objects,
    rest,
    share,
    with_rest,
)
from formtune.dialects.conversations import as_row, is_judged, is_messages, json_text, messages_in
from formtune.errors import nearest
from formtune.records import Conversation, Message, Record
from formtune.sources import Row

NAME = "prompt-completion"
SUMMARY = "A prompt and its completion, each a text or a list of messages; only the completion is learned."
NEEDS = "columns 'prompt' and 'completion'"
ROLES: frozenset[str] = frozenset()

_COMPLETIONS = ("completion", "response", "output", "answer")
NAMES = frozenset({"prompt", *_COMPLETIONS})


def recognize(rows: Sequence[Row], columns: Columns) -> Evidence | None:
    """Look for both columns; judgments (KTO) and preferences are not for this dialect."""
    table = objects(rows)
    names = names_of(table)
    completion = find(names, _COMPLETIONS)
    if "prompt" not in names or completion is None or is_judged(table):
        return None
    found = replace(columns, source="prompt", target=completion)
    return Evidence(0.93 * share(table, ["prompt"]), f"'prompt' with {completion!r}", found)


def read(row: Row, columns: Columns) -> Iterator[Record]:
    """Read a conversation; what the assistant says inside the prompt gets the weight 0."""
    value = as_object(row)
    completion = columns.target or "completion"
    prompt = [_unlearned(message) for message in _side(value.get("prompt"), "user", at="prompt")]
    if not prompt:
        raise RowFault("no prompt", near=None if "prompt" in value else nearest("prompt", value))
    yield Conversation(
        messages=(*prompt, *_side(value.get(completion), "assistant", at=completion)),
        tools=json_text(value.get("tools"), "tools"),
        origin=row.origin,
        extra=rest(value, {"prompt", completion, "tools"}),
    )


def write(record: Record) -> Object | None:
    """Write texts where one user message is answered, else messages; None where more than the last turn is learned."""
    if not isinstance(record, Conversation):
        return None
    n_prompt = max((place for place, part in enumerate(record.messages, 1) if not _is_learned(part)), default=0)
    prompt, completion = record.messages[:n_prompt], record.messages[n_prompt:]
    if not prompt or any(map(_is_learned, prompt)):
        return None
    tools = {"tools": msgspec.Raw(record.tools.encode())} if record.tools else {}
    return with_rest(
        {"prompt": _written(prompt), "completion": _written(completion), **tools}, record.extra, ("tools",)
    )


def _side(found: object, role: str, *, at: str = "") -> tuple[Message, ...]:
    """Read a prompt or a completion: a text is one message of the role."""
    if isinstance(found, str):
        return (Message(role, found),) if found.strip() else ()
    if found is None or found == []:
        return ()
    if not is_messages(found) or not isinstance(found, list):
        raise RowFault("a prompt or completion that is neither a text nor messages", type(found).__name__, path=at)
    return messages_in(found, at=at)


def _written(side: tuple[Message, ...]) -> str | list[Object]:
    """Write one side: as a text, where a text would be read as the same, else as messages."""
    text = side[0].content if side else ""
    if len(side) <= 1 and any(_side(text, role) == side for role in ("user", "assistant")):
        return text
    return [as_row(message) for message in side]


def _is_learned(message: Message) -> bool:
    return message.role == "assistant" and message.weight != 0


def _unlearned(message: Message) -> Message:
    return msgspec.structs.replace(message, weight=0.0) if message.role == "assistant" else message
