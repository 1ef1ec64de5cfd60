"""What the dialects of vendors, tools and preferences share: how a layout shows, and how a conversation is built."""

from collections.abc import Callable, Sequence

import msgspec

from formtune.dialects.columns import Columns, Evidence, Object, objects
from formtune.dialects.conversations import is_messages
from formtune.records import Message
from formtune.sources import Row


def seen(
    rows: Sequence[Row], columns: Columns, fits: Callable[[Object], bool], *, why: str, score: float = 1.0
) -> Evidence | None:
    """Say that more than half of the rows show a layout, or None.

    Args:
        rows: from all over the data.
        columns: what the user has named.
        fits: whether an object is of the layout.
        why: what was seen, without the number of rows.
        score: what they speak for; lower where a more special dialect may claim them too. It hardly falls with the rows
            that do not fit: a layout that most rows show is not another's because some are damaged.
    """
    table = objects(rows)
    n_fitting = sum(map(fits, table))
    if n_fitting * 2 <= len(rows):
        return None
    return Evidence(score - 0.01 * (1 - n_fitting / len(rows)), f"{why} in {n_fitting} of {len(rows)} rows", columns)


def listed(found: object) -> list[Object]:
    """Give a list of objects with roles; empty where a value is none."""
    return found if is_messages(found) and isinstance(found, list) else []


def with_system(messages: Sequence[Message]) -> tuple[str | None, tuple[Message, ...]] | None:
    """Take the leading system text off a conversation; None where it is no text, or another stands further down."""
    first = messages[0] if messages and messages[0].role == "system" else None
    others = tuple(messages if first is None else messages[1:])
    if any(message.role == "system" for message in others) or (first is not None and first.parts):
        return None
    return None if first is None else first.content, others


def tools_row(tools: str | None) -> Object:
    """Give tools as the column ``tools``, with their bytes as they are; nothing where there are none."""
    return {"tools": msgspec.Raw(tools.encode())} if tools else {}


def alternates(messages: Sequence[Message]) -> bool:
    """Say whether user and assistant speak in turn, the user first and the assistant last."""
    roles = [message.role for message in messages]
    return bool(roles) and roles == ["user", "assistant"] * (len(roles) // 2)


def only_says(message: Message) -> bool:
    """Say whether a message is what somebody says, without calls of tools, their answers, or parts."""
    return message.tool_calls is None and message.tool_call_id is None and not message.parts and message.role != "tool"
