"""Lists of messages, as the dialects of conversations share them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from formtune.dialects.columns import Object, RowFault, all_of, names_of
from formtune.errors import nearest
from formtune.records import Message, Span
from formtune.sources import text_of, value_of

_TEXTS = frozenset({"name", "tool_call_id", "reasoning_content", "thinking", "reasoning"})
_THINKING = ("reasoning_content", "thinking", "reasoning")
# What tools call a message's share in the loss: a number, a truth value, or its opposite.
WEIGHTS = ("weight", "loss_weight", "loss_scale", "train", "loss", "masked")
_INSTEAD = ("tool_calls", "function_call", "refusal", "audio", *_THINKING)  # what a message may say without content
_KEYS = frozenset({"role", "content", "tool_calls", "train_detail", *WEIGHTS, *_TEXTS})
BARE_ROLES = frozenset({"system", "user", "assistant", "tool"})
_TURN_KEYS = {"from": "role", "value": "content"}
TURN_KEYS = {new: old for old, new in _TURN_KEYS.items()}
"""What ShareGPT calls a message's role and content."""
_PART_TEXTS = ("text", "value", "content")
# Newer and older names of the same roles; of several names for one role the first is written.
ROLES: Mapping[str, str] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
# What a message says beside its content: a dialect without a place for it cannot hold the message.
_SAID = ("tool_calls", "thinking", "parts")
# Columns beside which a conversation is judged: it is, or holds, an answer that should not be given.
_JUDGMENTS = frozenset(
    {"chosen", "rejected", "rejected_response", "rejected_messages", "chosen_messages", "kto_tag", "preferred_output"}
)


def as_weight(weight: float) -> Object:
    """Give a loss weight as OpenAI does, who has none but 0 and 1."""
    return {"weight": int(weight)} if weight in (0, 1) else {}


@dataclass(frozen=True, slots=True)
class Spelling:
    """How a tool spells a message, and what it has a place for.

    Attributes:
        roles: its names for roles, with ours; of several names for one role the first is written.
        flag: gives a loss weight under the tool's own key; nothing where it cannot be said.
        holds: the fields of a message that have a place beside role, content and weight, and ``refusal``.
    """

    roles: Mapping[str, str]
    flag: Callable[[float], Object]
    holds: frozenset[str]


HUGGING_FACE = Spelling(
    ROLES, as_weight, frozenset({"name", "tool_calls", "tool_call_id", "thinking", "parts", "refusal"})
)


def is_messages(value: object, role: str = "role") -> bool:
    """Say whether a value is a list of objects with a role, whatever its key is called."""
    return isinstance(value, list) and bool(value) and all(isinstance(part, dict) and role in part for part in value)


def is_judged(table: Sequence[Object]) -> bool:
    """Say whether rows hold judgments (a truth value as ``label``) or preferences, from which one must not just learn."""
    return any(isinstance(value.get("label"), bool) for value in table) or has_preferences(names_of(table))


def has_preferences(names: Iterable[str]) -> bool:
    """Say whether columns hold answers that are preferred to others."""
    return not _JUDGMENTS.isdisjoint(names)


def messages_in(
    found: Iterable[object], roles: Mapping[str, str] = ROLES, *, at: str = "messages"
) -> tuple[Message, ...]:
    """Read a list of messages.

    Args:
        found: objects with ``role`` and ``content``.
        roles: the names of roles that may occur, with ours.
        at: where they stand in the row.

    Raises:
        RowFault: when a role is unknown, or a content is not text; it tells the faults of all messages.
    """
    listed = list(found)
    try:
        if roles is ROLES:
            return tuple([_bare(part) or _message(part, roles) for part in listed])
        return tuple([_message(part, roles) for part in listed])
    except RowFault:
        raise all_of(_faults_in(listed, roles, at=at)) from None


def _faults_in(listed: Iterable[object], roles: Mapping[str, str], *, at: str) -> list[RowFault]:
    """Read messages again, and give the faults of all."""
    faults: list[RowFault] = []
    for place, part in enumerate(listed):
        try:
            _message(part, roles)
        except RowFault as fault:
            faults.append(fault.inside(f"{at}[{place}]"))
    return faults


def _bare(part: object) -> Message | None:
    """Read a message that is a role and a text, as most are (in a third of the time); None for any other."""
    if not isinstance(part, dict) or len(part) != 2:
        return None
    role, content = part.get("role"), part.get("content")
    if isinstance(role, str) and role in BARE_ROLES and isinstance(content, str):
        return Message(role, content)
    return None


def from_turn(turn: object) -> object:
    """Give a turn with ``from`` and ``value`` the keys that :func:`messages_in` knows.

    Raises:
        RowFault: when there are two keys for one thing.
    """
    if not isinstance(turn, dict):
        return turn
    row = {_TURN_KEYS.get(key, key): value for key, value in turn.items()}
    if len(row) < len(turn):
        raise RowFault("a message with two keys for one thing", ", ".join(turn))
    return row


def as_turn(row: Object) -> Object:
    """Undo :func:`from_turn`; unknown keys of these names are left away."""
    return {TURN_KEYS.get(key, key): value for key, value in row.items() if key not in _TURN_KEYS}


def as_row(message: Message) -> Object:
    """Write one message as OpenAI and Hugging Face do; what has no place there is left away."""
    return {**_own_keys(message, HUGGING_FACE), "role": _role(message, ROLES) or message.role, **_aside(message)}


def spelled(message: Message, spelling: Spelling) -> Object | None:
    """Write one message as a tool does; None where that has no place for its role or for what it says.

    A loss weight, a name, an id or an unknown key for which there is no place is left away.
    """
    role = _role(message, spelling.roles)
    if role is None or any(getattr(message, field) for field in _SAID if field not in spelling.holds):
        return None
    return {**_own_keys(message, spelling), "role": role, **_aside(message)}


def all_spelled(messages: Iterable[Message], spelling: Spelling) -> list[Object] | None:
    """Write messages as a tool does; None where there is none, or one has no place."""
    rows = [spelled(message, spelling) for message in messages]
    whole = [row for row in rows if row is not None]
    return whole if whole and len(whole) == len(rows) else None


def _own_keys(message: Message, spelling: Spelling) -> Object:
    is_refusal = "refusal" in spelling.holds and is_refused(message)
    content: object = msgspec.Raw(message.parts.encode()) if message.parts else message.content
    row: Object = {"role": message.role, "content": None if is_refusal else content}
    row |= {"refusal": message.content} if is_refusal else {}
    row |= {} if message.weight is None else spelling.flag(message.weight)
    tool_calls = msgspec.Raw(message.tool_calls.encode()) if message.tool_calls else None
    optional = {
        "name": ("name", message.name),
        "tool_call_id": ("tool_call_id", message.tool_call_id),
        "tool_calls": ("tool_calls", tool_calls),
        "thinking": ("reasoning_content", message.thinking),
        "spans": ("train_detail", [_detail(span) for span in message.spans if span.weight in (0, 1)] or None),
    }
    return row | {
        key: found for field, (key, found) in optional.items() if field in spelling.holds and found is not None
    }


def _detail(span: Span) -> Object:
    """Write a span as axolotl does, whose ends are the last character's own."""
    return {"begin_offset": span.start, "end_offset": span.end - 1, "train": span.weight > 0}


def is_refused(message: Message) -> bool:
    """Say whether the content is what OpenAI keeps under ``refusal``; the message's extra then says so."""
    return bool(message.content) and extra_of(message).get("refusal") is True


def extra_of(message: Message) -> Object:
    """Give the keys of a message that have no place in it."""
    found: Object = value_of(message.extra) if message.extra else {}
    return found


def without(message: Message, *keys: str) -> Message:
    """Take keys out of a message's extra."""
    left = {key: value for key, value in extra_of(message).items() if key not in keys}
    return msgspec.structs.replace(message, extra=text_of(left) if left else None)


def _aside(message: Message) -> Object:
    """Give the unknown keys that are unknown when they are read again, too."""
    return {
        key: value
        for key, value in extra_of(message).items()
        if key != "role" and not _is_known(key, value) and not (key == "refusal" and value is not None)
    }


def _role(message: Message, roles: Mapping[str, str]) -> str | None:
    """Name a message's role as the data did, if the name is known, else by the first name for it."""
    said = extra_of(message).get("role")
    if isinstance(said, str) and roles.get(said) == message.role:
        return said
    return first_name(roles, message.role)


def first_name(roles: Mapping[str, str], role: str) -> str | None:
    """Give the name under which a role is written; None where there is none."""
    return next((name for name, ours in roles.items() if ours == role), None)


def json_text(value: object, what: str) -> str | None:
    """Give a value as JSON text; text that is JSON already stays as it is. An empty list, or nothing, is None.

    Raises:
        RowFault: when it is text, but not JSON.
    """
    if value is None or value in ("", []):
        return None
    if not isinstance(value, str):
        return text_of(value)
    try:
        found = value_of(value)
    except msgspec.DecodeError as error:
        raise RowFault(f"{what} that are not JSON", str(error), path=what.replace(" ", "_")) from error
    return None if found in (None, []) else value


def _message(part: object, roles: Mapping[str, str]) -> Message:
    if not isinstance(part, dict):
        raise RowFault("a message that is not an object", type(part).__name__, found=part)
    said = part.get("role")
    role = roles.get(said) if isinstance(said, str) else None
    if role is None:
        near = nearest(said, roles) if isinstance(said, str) else None
        if "role" not in part:
            raise RowFault("a message without a role", _other_keys(part), path="role", near=nearest("role", part))
        raise RowFault("a message with an unknown role", repr(said), path="role", found=said, near=near)
    if "content" not in part and not any(part.get(key) for key in _INSTEAD):
        raise RowFault("a message without content", _other_keys(part), path="content", near=nearest("content", part))
    content, parts, flagged = _content(part.get("content"))
    aside = {key: value for key, value in part.items() if not _is_known(key, value)}
    if said != first_name(roles, role):
        aside["role"] = said
    refusal = part.get("refusal")
    if not content and isinstance(refusal, str) and refusal:  # what is said then
        content, aside["refusal"] = refusal, True
    return Message(
        role=role,
        content=content,
        weight=weight_in(part),
        name=_optional(part, "name"),
        tool_calls=json_text(part.get("tool_calls"), "tool calls"),
        tool_call_id=_optional(part, "tool_call_id"),
        thinking=next((part[name] for name in _THINKING if isinstance(part.get(name), str)), None),
        spans=_spans(part.get("train_detail"), content, flagged),
        parts=parts,
        extra=text_of(aside) if aside else None,
    )


def _other_keys(part: Object) -> str:
    """List the keys of a message but those for role and content, which tools call otherwise."""
    return f"its other keys: {', '.join(key for key in part if key not in ('role', 'content')) or 'none'}"


def _is_known(key: str, value: object) -> bool:
    """Say whether a value under a key of ours is one that a message has a place for."""
    if key not in _KEYS:
        return False
    return isinstance(value, str) if key in _TEXTS else value is not None or key in ("content", "role")


def weight_in(part: Object) -> float | None:
    """Give the loss weight of a message, however its key is spelled.

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


def _spans(found: object, content: str, flagged: tuple[Span, ...]) -> tuple[Span, ...]:
    """Read axolotl's stretches of characters, whose ends belong to them, or give those of parts with weights.

    Raises:
        RowFault: when they are no stretches of the content, in order and apart, or are given both ways.
    """
    if found is None:
        return flagged
    spans = [_span(one) for one in (found if isinstance(found, list) else [found])]
    edges = [edge for span in spans for edge in (span.start, span.end)]
    if edges != sorted(edges) or (edges and not 0 <= edges[0] <= edges[-1] <= len(content)):
        raise RowFault("stretches of text that are not in the content, in order and apart", path="train_detail")
    if spans and flagged:
        raise RowFault("stretches of text that are given twice", path="train_detail")
    return tuple(spans) or flagged


def _span(found: object) -> Span:
    match found:
        case {"begin_offset": int(first), "end_offset": int(last), "train": bool(learned)}:
            return Span(first, last + 1, float(learned))
    raise RowFault("a stretch of text without its two offsets and 'train'", path="train_detail", found=found)


def _content(value: object) -> tuple[str, str | None, tuple[Span, ...]]:
    """Give a message's text; its parts as JSON text where they hold more than text; the stretches with weights.

    Raises:
        RowFault: when it is neither a text nor parts.
    """
    if value is None or isinstance(value, str):
        return value or "", None, ()
    listed = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) or (isinstance(one, dict) and isinstance(one.get("type"), str)) for one in listed):
        reason = "a message with content that is neither text nor parts of a type"
        raise RowFault(reason, path="content", found=value)
    texts = [part_text(one) for one in listed]
    known = [text for text in texts if text is not None]
    if len(known) < len(listed):
        return "".join(known), text_of(listed), ()
    return "".join(known), None, tuple(_flagged(listed, known))


def _flagged(parts: Sequence[object], texts: Sequence[str]) -> Iterable[Span]:
    """Give the stretches of text whose part has a loss weight of its own."""
    end = 0
    for part, text in zip(parts, texts, strict=True):
        start, end = end, end + len(text)
        weight = weight_in(part) if isinstance(part, dict) else None
        if weight is not None and text:
            yield Span(start, end, weight)


def part_text(part: object) -> str | None:
    """Give the text of a part; None for a part of another type, or of one that says more than text and weight."""
    if isinstance(part, str) or not isinstance(part, dict):
        return part if isinstance(part, str) else None
    name = next((key for key in _PART_TEXTS if key in part), "text")
    is_bare = part["type"] == "text" and set(part) - set(WEIGHTS) == {"type", name}
    return part[name] if is_bare and isinstance(part[name], str) else None


def _optional(part: Object, key: str) -> str | None:
    found = part.get(key)
    return found if isinstance(found, str) else None
