"""Lists of messages, as the dialects of conversations share them."""

from collections.abc import Iterable

import msgspec

from formtune.dialects.columns import Object, RowFault, all_of
from formtune.errors import nearest
from formtune.records import Message, Span
from formtune.sources import text_of, value_of

_TEXTS = frozenset({"name", "tool_call_id", "reasoning_content", "thinking", "reasoning"})
_THINKING = ("reasoning_content", "thinking", "reasoning")
# What tools call a message's share in the loss: a number, a truth value, or its opposite.
WEIGHTS = ("weight", "loss_weight", "loss_scale", "train", "loss", "masked")
_KEYS = frozenset({"role", "content", "tool_calls", "train_detail", *WEIGHTS, *_TEXTS})
# Newer and older names of the same roles.
_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


def is_messages(value: object) -> bool:
    """Say whether a value is a list of objects with a role."""
    return isinstance(value, list) and bool(value) and all(isinstance(part, dict) and "role" in part for part in value)


def messages_in(found: Iterable[object], *, at: str = "messages") -> tuple[Message, ...]:
    """Read a list of messages, which stands at a path of the row.

    Raises:
        RowFault: when a role is unknown, or a content is not text; it tells the faults of all messages.
    """
    listed = list(found)
    try:
        return tuple(map(_message, listed))
    except RowFault:
        raise all_of(_faults_in(listed, at)) from None


def _faults_in(listed: Iterable[object], at: str) -> list[RowFault]:
    """Read messages again, and give the faults of all."""
    faults: list[RowFault] = []
    for place, part in enumerate(listed):
        try:
            _message(part)
        except RowFault as fault:
            faults.append(fault.inside(f"{at}[{place}]"))
    return faults


def as_row(message: Message) -> Object:
    """Write one message as OpenAI and Hugging Face do; what it does not have is left away."""
    content: object = msgspec.Raw(message.parts.encode()) if message.parts else message.content
    row: Object = {"role": message.role, "content": content}
    optional = {"weight": message.weight, "name": message.name, "tool_call_id": message.tool_call_id}
    row |= {key: found for key, found in optional.items() if found is not None}
    if message.tool_calls:
        row["tool_calls"] = msgspec.Raw(message.tool_calls.encode())
    if message.thinking is not None:
        row["reasoning_content"] = message.thinking
    if message.spans:
        row["train_detail"] = [_detail(span) for span in message.spans]
    return row | (value_of(message.extra) if message.extra else {})


def _detail(span: Span) -> Object:
    """Write a span as axolotl does, whose ends are the last character's own."""
    return {"begin_offset": span.start, "end_offset": span.end - 1, "train": span.weight > 0}


def json_text(value: object, what: str) -> str | None:
    """Give a value as JSON text; text that is JSON already stays as it is.

    Raises:
        RowFault: when it is text, but not JSON.
    """
    if value is None or value in ("", []):
        return None
    if not isinstance(value, str):
        return text_of(value)
    try:
        value_of(value)
    except msgspec.DecodeError as error:
        raise RowFault(f"{what} that are not JSON", str(error), path=what.replace(" ", "_")) from error
    return value


def _message(part: object) -> Message:
    if not isinstance(part, dict):
        raise RowFault("a message that is not an object", type(part).__name__, found=part)
    said = part.get("role")
    role = _ROLES.get(str(said))
    if role is None:
        near = nearest(said, _ROLES) if isinstance(said, str) else None
        raise RowFault("a message with an unknown role", repr(said), path="role", found=said, near=near)
    content, parts = _content(part.get("content"))
    aside = {key: value for key, value in part.items() if key not in _KEYS or not _is_known(key, value)}
    if said != role:
        aside["role"] = said
    return Message(
        role=role,
        content=content,
        weight=weight_in(part),
        name=_optional(part, "name"),
        tool_calls=json_text(part.get("tool_calls"), "tool calls"),
        tool_call_id=_optional(part, "tool_call_id"),
        thinking=next((part[name] for name in _THINKING if isinstance(part.get(name), str)), None),
        spans=_spans(part.get("train_detail"), content),
        parts=parts,
        extra=text_of(aside) if aside else None,
    )


def _is_known(key: str, value: object) -> bool:
    """Say whether a value under a key of ours is one that a message has a place for."""
    return isinstance(value, str) if key in _TEXTS else value is not None or key == "content"


def weight_in(part: Object) -> float | None:
    """Give the loss weight of a message, however its key is spelled (``peers.md`` calls these per-turn loss flags).

    Raises:
        RowFault: when it is no number or truth value, or two spellings say different things.
    """
    found = {name: part[name] for name in WEIGHTS if part.get(name) is not None}
    for name, value in found.items():
        if not isinstance(value, (int, float)):
            raise RowFault("a message weight that is not a number", repr(value), path=name, found=value)
    weights = {1.0 - float(value) if name == "masked" else float(value) for name, value in found.items()}  # type: ignore[arg-type]
    if len(weights) > 1:
        raise RowFault("a message with two weights", ", ".join(found))
    return weights.pop() if weights else None


def _spans(found: object, content: str) -> tuple[Span, ...]:
    """Read axolotl's stretches of characters, whose ends belong to them.

    Raises:
        RowFault: when they are no stretches of the content, in order and apart.
    """
    if found is None:
        return ()
    spans = [_span(one) for one in (found if isinstance(found, list) else [found])]
    edges = [edge for span in spans for edge in (span.start, span.end)]
    if edges != sorted(edges) or (edges and not 0 <= edges[0] <= edges[-1] <= len(content)):
        raise RowFault("stretches of text that are not in the content, in order and apart", path="train_detail")
    return tuple(spans)


def _span(found: object) -> Span:
    match found:
        case {"begin_offset": int(first), "end_offset": int(last), "train": bool(learned)}:
            return Span(first, last + 1, float(learned))
    raise RowFault("a stretch of text without its two offsets and 'train'", path="train_detail", found=found)


def _content(value: object) -> tuple[str, str | None]:
    """Give a message's text, and its parts as JSON text where they hold more than text.

    Raises:
        RowFault: when it is neither a text nor parts.
    """
    if value is None or isinstance(value, str):
        return value or "", None
    listed = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) or (isinstance(one, dict) and isinstance(one.get("type"), str)) for one in listed):
        reason = "a message with content that is neither text nor parts of a type"
        raise RowFault(reason, path="content", found=value)
    texts = [_text_of(one) for one in listed]
    joined = "".join(text for text in texts if text is not None)
    return joined, None if None not in texts else text_of(listed)


def _text_of(part: object) -> str | None:
    """Give the text of a part; None for a part of another type, or of one that says more than its text."""
    if isinstance(part, str) or not isinstance(part, dict):
        return part if isinstance(part, str) else None
    name = "text" if "text" in part else "value"
    is_bare = part["type"] == "text" and set(part) == {"type", name}
    return part[name] if is_bare and isinstance(part[name], str) else None


def _optional(part: Object, key: str) -> str | None:
    found = part.get(key)
    return found if isinstance(found, str) else None
