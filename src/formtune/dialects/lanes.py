"""The fast lane: rows of the plainest form, decoded straight into types and made into records.

Most rows of most files have the same keys, texts where texts are asked for, and roles that everybody knows. Such a row is
decoded by its type, which refuses every other key, value and role. Whatever it refuses is read in the general way, row by
row: the lane knows nothing that a dialect's ``read`` does not, and gives the same record or none.

A key that stands twice is not refused by a type. It shows in the colons: each key's stands behind the quote that closes it,
or behind white space, and inside of a text no quote is bare. There are at least as many of these colons as keys, and more
only where a key stands twice, or a text holds white space before a colon. (No known key ends in a backslash.)
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from formtune.dialects.columns import Columns
from formtune.dialects.exchanges import messages_of
from formtune.records import Conversation, LeftOut, Message, Origin, Record
from formtune.sources import text_of
from formtune.sources.json_values import FAULTS, number_of

if TYPE_CHECKING:
    from formtune.sources.colons import Colons

Messages = tuple[Message, ...]
Item = Record | LeftOut
# Columns that mean something beside the own ones, or are unpacked before any dialect sees the row.
_MEANINGFUL = frozenset({"messages", "conversations", "conversation", "tools", "instances", ""})
_NESTED = frozenset({dict, list})
_UNPLAIN = frozenset('"\\') | frozenset(map(chr, range(32)))
_SHAREGPT_ROLES = {"human": "user", "gpt": "assistant", "system": "system"}


class _Said(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A message that is a role and a text."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str


class _Turn(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A turn that is a speaker and a text."""

    said: Literal["human", "gpt", "system"] = msgspec.field(name="from")
    value: str


@dataclass(frozen=True, slots=True)
class Layout:
    """What the rows of a dialect are in their plainest form.

    Attributes:
        own: the attribute that each key of the dialect becomes, with its type and what stands for it where a file has no
            such key.
        needed: the keys that every row has.
        messages: makes the messages of a decoded row, given how many keys stand inside of its lists; None where they are
            not so many, or the row is not of the plainest form after all.
    """

    own: Mapping[str, tuple[str, Any, object]]
    needed: frozenset[str]
    messages: Callable[[Any, int], Messages | None]


@dataclass(frozen=True, slots=True)
class Lane:
    """A way for the rows of one file that have all the same keys.

    Attributes:
        decode: gives a row's values, or raises one of :data:`formtune.sources.json_values.FAULTS`.
        messages: as in :class:`Layout`.
        n_keys: of a row, those inside of lists aside.
        aside: the other keys, with the attribute that each becomes, in the order of the rows.
        group: the attribute of the column that is the group; None for no group.
        colons: finds the colons of a text.
    """

    decode: Callable[[bytes], Any]
    messages: Callable[[Any, int], Messages | None]
    n_keys: int
    aside: tuple[tuple[str, str], ...]
    group: str | None
    colons: "Colons"

    def records(
        self, texts: Sequence[bytes], lines: Iterable[int], *, path: str, general: Callable[[int], Sequence[Item]]
    ) -> list[Item]:
        """Read rows.

        Args:
            texts: the JSON text of each.
            lines: on which each begins.
            path: of the file.
            general: reads a row that is not of the plainest form, given which of them it is.
        """
        decode, messages_in, n_keys = self.decode, self.messages, self.n_keys
        extra_of = self._extra if self.aside else None
        found: list[Item] = []
        counts = self.colons.in_texts(texts)
        for place, (text, line, n_colons) in enumerate(zip(texts, lines, counts, strict=True)):
            try:
                row = decode(text)
            except FAULTS:
                found += general(place)
                continue
            messages = messages_in(row, n_colons - n_keys)
            extra = extra_of(row) if extra_of and messages else None
            if messages is None or (extra_of and extra is None):
                found += general(place)
            elif self.group is None:
                found.append(Conversation(messages, origin=Origin(path, line), extra=extra))
            else:
                found.append(self._grouped(row, Conversation(messages, origin=Origin(path, line), extra=extra)))
        return found

    def _extra(self, row: Any) -> str | None:
        """Keep the other keys as JSON text; None where a value may hold keys itself."""
        values = {key: getattr(row, name) for key, name in self.aside}
        for value in values.values():
            if type(value) in _NESTED:
                return None
        return text_of(values)

    def _grouped(self, row: Any, record: Conversation) -> Conversation:
        group = getattr(row, self.group or "")
        return record if group is None or group == "" else msgspec.structs.replace(record, group=str(group))


def lane_for(dialect: str, columns: Columns, keys: Sequence[str], *, group: str | None) -> Lane | None:
    """Find the lane for rows of these keys; None where the dialect has none, or a key means more than the lane knows.

    Args:
        dialect: that was recognized.
        columns: as they were settled.
        keys: of the rows that are most frequent, in their order.
        group: the column that names what must not be split.
    """
    return _lane_for(dialect, columns, tuple(keys), group=group)


@lru_cache(maxsize=16)
def _lane_for(dialect: str, columns: Columns, keys: tuple[str, ...], *, group: str | None) -> Lane | None:
    from formtune.sources.colons import Colons  # numpy takes a tenth of a second to import, and no small file needs it

    layout = _LAYOUTS[dialect](columns) if dialect in _LAYOUTS else None
    if layout is None or not layout.needed <= set(keys):
        return None
    aside = {key: f"aside_{place}" for place, key in enumerate(keys) if key not in layout.own}
    if not _are_plain(aside) or (group is not None and group not in aside):
        return None
    fields: list[tuple[str, Any, Any]] = [
        *((name, kind, msgspec.field(name=key)) for key, (name, kind, _) in layout.own.items() if key in keys),
        *((name, Any, msgspec.field(name=key)) for key, name in aside.items()),
        *(
            (name, kind, msgspec.field(default=default, name=key))
            for key, (name, kind, default) in layout.own.items()
            if key not in keys
        ),
    ]
    row = msgspec.defstruct("PlainRow", fields, frozen=True, gc=False, forbid_unknown_fields=True)
    return Lane(
        decode=msgspec.json.Decoder(row, float_hook=number_of).decode,
        messages=layout.messages,
        n_keys=len(keys),
        aside=tuple(aside.items()),
        group=None if group is None else aside[group],
        colons=Colons(_places(keys, aside)),
    )


def _are_plain(aside: Iterable[str]) -> bool:
    """Say whether keys are nothing but columns that are kept aside, written as they are."""
    return not any(key in _MEANINGFUL or _UNPLAIN.intersection(key) for key in aside)


def _places(keys: Sequence[str], aside: Iterable[str]) -> dict[bytes, int]:
    """Say the how-manieth key of a row each of several keys that are kept aside is, whose order would be lost otherwise.

    Lists stand between at most: those behind the first own key are counted from the row's end.
    """
    if len(list(aside)) < 2:
        return {}
    first_own = next(place for place, key in enumerate(keys) if key not in aside)
    return {
        key.encode(): place if place < first_own else place - len(keys)
        for place, key in enumerate(keys)
        if key in aside
    }


# --- the dialects ----------------------------------------------------------------------------------------------------


def _exchange(
    asked: str, answer: str, *, more: str | None = None, system: str | None = None, history: str | None = None
) -> Layout:
    """Describe rows that are one exchange, perhaps after a system text and earlier exchanges."""
    optional = {
        more: ("more", str, ""),
        system: ("system", str, ""),
        history: ("history", list[tuple[str, str]] | None, None),
    }
    own = {
        asked: ("asked", str, ""),
        answer: ("answer", str, ""),
        **{key: field for key, field in optional.items() if key is not None},
    }
    has_more, has_system, has_history = more is not None, system is not None, history is not None

    def messages_in(row: Any, n_inside: int) -> Messages | None:
        asked, answer = row.asked, row.answer
        if n_inside or not asked.strip():
            return None
        if has_more and row.more:
            asked = f"{asked}\n{row.more}"
        above = row.system if has_system else ""
        earlier = row.history if has_history else None
        if above or earlier:
            return messages_of(above, [*(earlier or ()), (asked, answer or None)])
        return (Message("user", asked), Message("assistant", answer)) if answer else (Message("user", asked),)

    return Layout(own, frozenset({asked, answer}), messages_in)


def _alpaca(columns: Columns) -> Layout | None:
    if columns.target is None:
        return None
    return _exchange("instruction", columns.target, more=columns.source, system="system", history="history")


def _talk(_columns: Columns) -> Layout:
    own = {"messages": ("messages", list[_Said], ())}
    return Layout(own, frozenset(own), _said)


def _said(row: Any, n_inside: int) -> Messages | None:
    found = row.messages
    if n_inside != 2 * len(found) or not found:
        return None
    return tuple([Message(one.role, one.content) for one in found])


def _turns(columns: Columns) -> Layout:
    column = columns.source or "conversations"
    own = {column: ("turns", list[_Turn], ()), "system": ("system", str | UnsetType, UNSET)}
    return Layout(own, frozenset({column}), _said_in_turn)


def _said_in_turn(row: Any, n_inside: int) -> Messages | None:
    """Read the turns; not where there are none, or a system text that is empty, which stays among the other keys then."""
    found, system = row.turns, row.system
    if n_inside != 2 * len(found) or not found or system == "":
        return None
    said = [Message(_SHAREGPT_ROLES[one.said], one.value) for one in found]
    return tuple(said) if system is UNSET else (Message("system", system), *said)


def _completed(columns: Columns) -> Layout:
    completion = columns.target or "completion"
    side = str | list[_Said]
    own = {"prompt": ("prompt", side, ""), completion: ("completion", side, "")}
    return Layout(own, frozenset(own), _both_sides)


def _both_sides(row: Any, n_inside: int) -> Messages | None:
    prompt, completion = _side(row.prompt, "user", weight=0.0), _side(row.completion, "assistant", weight=None)
    n_listed = sum(len(side) for side in (row.prompt, row.completion) if isinstance(side, list))
    return (*prompt, *completion) if prompt and n_inside == 2 * n_listed else None


def _side(side: str | list[_Said], role: str, *, weight: float | None) -> Messages:
    """Read a prompt or a completion; what the assistant says there has a weight."""
    if isinstance(side, str):
        return (Message(role, side),) if side.strip() else ()
    return tuple([Message(one.role, one.content, weight if one.role == "assistant" else None) for one in side])


_LAYOUTS: Mapping[str, Callable[[Columns], Layout | None]] = {
    "messages": _talk,
    "sharegpt": _turns,
    "alpaca": _alpaca,
    "prompt-completion": _completed,
    "query-response": lambda _: _exchange("query", "response", system="system", history="history"),
    "prompt-response": lambda _: _exchange("prompt", "response"),
    "open-orca": lambda _: _exchange("question", "response", system="system_prompt"),
}
