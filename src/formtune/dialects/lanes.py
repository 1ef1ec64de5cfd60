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
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from formtune.dialects import labelled
from formtune.dialects.columns import Columns, split_names
from formtune.dialects.exchanges import messages_of
from formtune.records import Conversation, Labelled, LeftOut, Message, Origin, Record
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
    """

    own: Mapping[str, tuple[str, Any]]
    read: Read
    n_inside: Callable[[Any], int] | None = None


@dataclass(frozen=True, slots=True)
class Lane:
    """A way for the rows of one file that have all the same keys.

    Attributes:
        decoder: gives a row's values, or raises one of :data:`formtune.sources.json_values.FAULTS`.
        read: as in :class:`Layout`.
        n_inside: as in :class:`Layout`.
        n_keys: of a row, those inside of lists aside.
        aside: the other keys, with the attribute that each becomes, in the order of the rows.
        places: among the keys of a row, of those that must stand where they do.
        group: the attribute of the column that is the group; None for no group.
    """

    decoder: msgspec.json.Decoder[Any]
    read: Read
    n_inside: Callable[[Any], int] | None
    n_keys: int
    aside: tuple[tuple[str, str], ...]
    places: Mapping[bytes, int]
    group: str | None

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
        from formtune.sources.colons import find_colons

        rows, n_refused = self._decoded(texts)
        colons = find_colons(texts)
        is_plain = not n_refused and self._are_plain(rows, colons)
        plain = rows if is_plain else self._plain(rows, colons.in_texts(texts, self.places))
        return self._items(plain, lines, path=path, general=general)

    def of_block(
        self, block: bytes, first_line: int, *, path: str, general: Callable[[int], Sequence[Item]]
    ) -> list[Item] | None:
        """Read JSON lines, decoded all at once; None where that cannot be done.

        Args:
            block: whole lines.
            first_line: the number of the first.
            path: of the file.
            general: as for :meth:`records`.
        """
        from formtune.sources.colons import find_colons  # numpy takes a tenth of a second to import

        try:
            rows = self.decoder.decode_lines(block)
        except FAULTS:
            return None
        colons = find_colons([block])
        if not colons.are_lines(len(rows)):
            return None
        plain = rows if self._are_plain(rows, colons) else self._plain(rows, colons.in_lines(self.places))
        return self._items(plain, range(first_line, first_line + len(rows)), path=path, general=general)

    def _items(
        self, rows: Iterable[Any], lines: Iterable[int], *, path: str, general: Callable[[int], Sequence[Item]]
    ) -> list[Item]:
        placed, read = zip(rows, lines, strict=True), self.read
        if self.aside:
            records = [row and self._with_aside(row, Origin(path, line)) for row, line in placed]
        else:
            records = [row and read(row, Origin(path, line)) for row, line in placed]
        found: list[Item] = []
        for place, record in enumerate(records):
            found += general(place) if record is None else (record,)
        return found

    def _with_aside(self, row: Any, origin: Origin) -> Record | None:
        extra = self._extra(row)
        return None if extra is None else self.read(row, origin, extra=extra, group=self._group(row))

    def _are_plain(self, rows: Sequence[Any], colons: "Colons") -> bool:
        """Say whether in none of the rows a key may stand twice, since all together have as many colons as keys."""
        return not self.places and colons.total == self._n_keys_of(rows)

    def _plain(self, rows: Sequence[Any], counts: Iterable[int]) -> list[Any]:
        """Take out the rows in which a key may stand twice, given how many colons each has; None for each."""
        return [
            row if row is not None and count == self._n_keys_of([row]) else None
            for row, count in zip(rows, counts, strict=True)
        ]

    def _decoded(self, texts: Sequence[bytes]) -> tuple[list[Any], int]:
        """Decode rows; None for each that is not what the lane's type asks for, and how many they are."""
        decode, n_refused = self.decoder.decode, 0
        rows: list[Any] = []
        append = rows.append
        for text in texts:
            try:
                append(decode(text))
            except FAULTS:
                append(None)
                n_refused += 1
        return rows, n_refused

    def _n_keys_of(self, rows: Sequence[Any]) -> int:
        return len(rows) * self.n_keys + (sum(map(self.n_inside, rows)) if self.n_inside else 0)

    def _extra(self, row: Any) -> str | None:
        """Keep the other keys as JSON text; None where a value may hold keys itself."""
        values: dict[str, object] = {}
        for key, name in self.aside:
            value = values[key] = getattr(row, name)
            if type(value) in _NESTED:
                return None
        return text_of(values)

    def _group(self, row: Any) -> str | None:
        group = None if self.group is None else getattr(row, self.group)
        return None if group is None or group == "" else str(group)


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
    layout = _LAYOUTS[dialect](keys, columns) if dialect in _LAYOUTS else None
    if layout is None:
        return None
    aside = {key: f"aside_{place}" for place, key in enumerate(keys) if key not in layout.own}
    if not _are_plain(aside) or (group is not None and group not in aside):
        return None
    attributes = {**layout.own, **{key: (name, Any) for key, name in aside.items()}}
    fields = [(name, kind, msgspec.field(name=key)) for key, (name, kind) in attributes.items()]
    row = msgspec.defstruct("PlainRow", fields, frozen=True, gc=False, forbid_unknown_fields=True)
    return Lane(
        decoder=msgspec.json.Decoder(row, float_hook=number_of),
        read=layout.read,
        n_inside=layout.n_inside,
        n_keys=len(keys),
        aside=tuple(aside.items()),
        places=_places(keys, aside),
        group=None if group is None else aside[group],
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


Keys = Sequence[str]


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
    own = {"messages": ("messages", list[_Said])}
    return _talks(own, _said, lambda row: 2 * len(row.messages)) if "messages" in keys else None


def _said(row: Any) -> Messages | None:
    return tuple([Message(one.role, one.content) for one in row.messages]) or None


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
    if not names or not known <= set(keys) or known & _MEANINGFUL or labelled.is_headerless(names):
        return None
    own: dict[str, tuple[str, Any]] = {name: (f"text_{place}", str) for place, name in enumerate(names)}
    if columns.label is not None:
        own[columns.label] = ("label", str | int | bool | None)
    texts_in = attrgetter(*(attribute for attribute, _ in own.values()))
    single, column = names[0] if len(names) == 1 else None, columns.label

    def read(row: Any, origin: Origin, *, extra: str | None = None, group: str | None = None) -> Record | None:
        inputs = {single: row.text_0} if single else dict(zip(names, texts_in(row), strict=False))
        if not all(map(str.strip, inputs.values())):
            return None
        labels = _labels_of(row.label, column) if column else ()
        return Labelled(inputs, labels, origin=origin, extra=extra, group=group)

    return Layout(own, read)


@lru_cache(maxsize=1024, typed=True)  # 1 is not true
def _labels_of(label: str | int | None, column: str) -> tuple[str, ...]:
    return labelled.labels_of(label, column)


_LAYOUTS: Mapping[str, Callable[[Keys, Columns], Layout | None]] = {
    "messages": _talk,
    "sharegpt": _turns,
    "alpaca": _alpaca,
    "prompt-completion": _completed,
    "query-response": lambda keys, _: _exchange(keys, "query", "response", system="system", history="history"),
    "prompt-response": lambda keys, _: _exchange(keys, "prompt", "response"),
    "labelled": _labelled,
    "open-orca": lambda keys, _: _exchange(keys, "question", "response", system="system_prompt"),
}
