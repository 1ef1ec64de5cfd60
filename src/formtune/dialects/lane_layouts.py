"""The plainest form of rows, dialect by dialect: what they are decoded into, and how that becomes a record.

A layout knows nothing that its dialect's ``read`` does not, and gives the same record or none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any, Literal, Protocol

import msgspec

from formtune.dialects import labelled
from formtune.dialects.columns import Columns, split_names
from formtune.dialects.exchanges import messages_of
from formtune.records import Conversation, Labelled, Message, Origin, Record
from formtune.sources import text_of

Messages = tuple[Message, ...]
Keys = Sequence[str]
# Columns that mean something beside the own ones, or are unpacked before any dialect sees the row.
MEANINGFUL = frozenset({"messages", "conversations", "conversation", "tools", "instances", ""})
_SHAREGPT_ROLES = {"human": "user", "gpt": "assistant", "system": "system"}
_ROLES = frozenset({"system", "user", "assistant", "tool"})


class _Said(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A message that is a role and a text."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str


class _Turn(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A turn that is a speaker and a text."""

    said: Literal["human", "gpt", "system"] = msgspec.field(name="from")
    value: str


class Read(Protocol):
    """Makes the record of a decoded row; None where the row is not of the plainest form after all."""

    def __call__(
        self, row: Any, origin: Origin, *, extra: str | None = None, group: str | None = None
    ) -> Record | None:
        """Make it, with the JSON text of the other keys, and what must not be split."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What the rows of a dialect are in their plainest form.

    Attributes:
        own: the attribute that each key of the dialect becomes, with its type, for the keys that the rows have.
        read: makes the record of a decoded row.
        n_inside: counts the keys inside of a row's lists; None where none has any.
        fits: says of decoded rows whether all are of the plainest form, as far as their type does not tell.
    """

    own: Mapping[str, tuple[str, Any]]
    read: Read
    n_inside: Callable[[Any], int] | None = None
    fits: Callable[[Sequence[Any]], bool] = lambda _: True


def _talks(
    own: Mapping[str, tuple[str, Any]],
    messages_in: Callable[[Any], Messages | None],
    n_inside: Callable[[Any], int] | None = None,
) -> Layout:
    """Describe rows that are conversations."""

    def read(row: Any, origin: Origin, *, extra: str | None = None, group: str | None = None) -> Record | None:
        messages = messages_in(row)
        return Conversation(messages, origin=origin, extra=extra, group=group) if messages else None

    return Layout(own, read, n_inside)


def _exchange(
    keys: Keys,
    asked: str,
    answer: str,
    *,
    more: str | None = None,
    system: str | None = None,
    history: str | None = None,
) -> Layout | None:
    """Describe rows that are one exchange, perhaps after a system text and earlier exchanges."""
    if asked not in keys or answer not in keys:
        return None
    kinds = {
        asked: ("asked", str),
        answer: ("answer", str),
        more: ("more", str),
        system: ("system", str),
        history: ("history", list[tuple[str, str]] | None),
    }
    own = {key: kind for key, kind in kinds.items() if key is not None and key in keys}
    has_more, has_above = more in own, system in own or history in own

    def messages_in(row: Any) -> Messages | None:
        asked, answer = row.asked, row.answer
        if not asked.strip():
            return None
        if has_more and row.more:
            asked = f"{asked}\n{row.more}"
        if has_above:
            return messages_of(
                getattr(row, "system", None), [*(getattr(row, "history", ()) or ()), (asked, answer or None)]
            )
        return (Message("user", asked), Message("assistant", answer)) if answer else (Message("user", asked),)

    return _talks(own, messages_in)


def _alpaca(keys: Keys, columns: Columns) -> Layout | None:
    names = {"more": columns.source, "system": "system", "history": "history"}
    return _exchange(keys, "instruction", columns.target or "", **names)


def _talk(keys: Keys, _columns: Columns) -> Layout | None:
    # A message is decoded into what the record holds; one with more keys than two has more colons.
    own = {"messages": ("messages", tuple[Message, ...])}
    if "messages" not in keys:
        return None
    layout = _talks(own, attrgetter("messages"), lambda row: 2 * len(row.messages))
    return replace(layout, fits=_have_known_roles)


def _have_known_roles(rows: Sequence[Any]) -> bool:
    return _ROLES.issuperset({message.role for row in rows for message in row.messages})


def _turns(keys: Keys, columns: Columns) -> Layout | None:
    column = columns.source or "conversations"
    own = {column: ("turns", list[_Turn]), "system": ("system", str)}
    if column not in keys:
        return None
    if "system" in keys:
        return _talks(own, _under_system, lambda row: 2 * len(row.turns))
    return _talks({column: own[column]}, _in_turn, lambda row: 2 * len(row.turns))


def _in_turn(row: Any) -> Messages | None:
    return tuple([Message(_SHAREGPT_ROLES[one.said], one.value) for one in row.turns]) or None


def _under_system(row: Any) -> Messages | None:
    """Read the turns after the system text; not where that is empty, which stays among the other keys then."""
    turns = _in_turn(row) if row.system else None
    return turns and (Message("system", row.system), *turns)


def _completed(keys: Keys, columns: Columns) -> Layout | None:
    side = str | list[_Said]
    own = {"prompt": ("prompt", side), columns.target or "completion": ("completion", side)}
    if not set(own) <= set(keys):
        return None
    return _talks(own, _both_sides, lambda row: _n_in_side(row.prompt) + _n_in_side(row.completion))


def _n_in_side(side: str | list[_Said]) -> int:
    return 0 if isinstance(side, str) else 2 * len(side)


def _both_sides(row: Any) -> Messages | None:
    prompt = _side(row.prompt, "user", weight=0.0)
    return (*prompt, *_side(row.completion, "assistant", weight=None)) if prompt else None


def _side(side: str | list[_Said], role: str, *, weight: float | None) -> Messages:
    """Read a prompt or a completion; what the assistant says there has a weight."""
    if isinstance(side, str):
        return (Message(role, side),) if side.strip() else ()
    return tuple([Message(one.role, one.content, weight if one.role == "assistant" else None) for one in side])


def _labelled(keys: Keys, columns: Columns) -> Layout | None:
    """Describe rows of texts, each with something in it, and a label."""
    names = split_names(columns.text)
    known = {*names, *filter(None, [columns.label])}
    if not names or not known <= set(keys) or known & MEANINGFUL or labelled.is_headerless(names):
        return None
    own: dict[str, tuple[str, Any]] = {name: (f"text_{place}", str) for place, name in enumerate(names)}
    if columns.label is not None:
        own[columns.label] = ("label", str | int | bool | None)
    labels_in = _labels_in(columns.label)
    read = _read_text(names[0], labels_in) if len(names) == 1 else _read_texts(names, labels_in)
    keeps_numbers = columns.label is not None and labelled.LABEL not in set(keys) - known
    return Layout(own, _with_numbers(read) if keeps_numbers else read)


def _with_numbers(read: Read) -> Read:
    """Keep labels that are numbers among the other keys, behind them, as the dialect does."""

    def read_all(row: Any, origin: Origin, *, extra: str | None = None, group: str | None = None) -> Record | None:
        if labelled.is_number(row.label):
            own = f'"{labelled.LABEL}":{text_of(row.label)}}}'
            extra = f"{extra[:-1]},{own}" if extra else f"{{{own}"
        return read(row, origin, extra=extra, group=group)

    return read_all


def _read_text(name: str, labels_in: Callable[[Any], tuple[str, ...]]) -> Read:
    def read(row: Any, origin: Origin, *, extra: str | None = None, group: str | None = None) -> Record | None:
        text = row.text_0
        if not text or text.isspace():
            return None
        return Labelled({name: text}, labels_in(row), origin=origin, extra=extra, group=group)

    return read


def _read_texts(names: Sequence[str], labels_in: Callable[[Any], tuple[str, ...]]) -> Read:
    texts_in = attrgetter(*(f"text_{place}" for place in range(len(names))))

    def read(row: Any, origin: Origin, *, extra: str | None = None, group: str | None = None) -> Record | None:
        inputs = dict(zip(names, texts_in(row), strict=True))
        if not all(map(str.strip, inputs.values())):
            return None
        return Labelled(inputs, labels_in(row), origin=origin, extra=extra, group=group)

    return read


def _labels_in(column: str | None) -> Callable[[Any], tuple[str, ...]]:
    if column is None:
        return lambda _: ()
    named = lru_cache(maxsize=1024)(partial(labelled.labels_of, column=column))

    def labels_in(row: Any) -> tuple[str, ...]:
        label = row.label
        return named(label) if type(label) is str else labelled.labels_of(label, column)  # 1 is not true

    return labels_in


LAYOUTS: Mapping[str, Callable[[Keys, Columns], Layout | None]] = {
    "messages": _talk,
    "sharegpt": _turns,
    "alpaca": _alpaca,
    "prompt-completion": _completed,
    "trl-prompt-completion": _completed,
    "query-response": lambda keys, _: _exchange(keys, "query", "response", system="system", history="history"),
    "prompt-response": lambda keys, _: _exchange(keys, "prompt", "response"),
    "labelled": _labelled,
    "open-orca": lambda keys, _: _exchange(keys, "question", "response", system="system_prompt"),
}
