"""Records taken apart: their texts (*fields*), and what is left of them, their *shape*.

A shape is a record's kind, roles and labels, and which of its texts are empty or have white space around them. Many records
are taken apart at once, by columns of all their texts.

Shape letters: N records, G records of one shape.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import NamedTuple, cast

import msgspec
import numpy as np

from formtune.examples import Task
from formtune.records import Conversation, Labelled, Message, Pair, Plain, Question, Record

# Around the number of a field: private-use characters; those of chat templates are others.
OPEN, CLOSE = "\ue0f5", "\ue0f6"
Fields = tuple[list[str], ...]  # for each field of some records its texts


@dataclass(frozen=True, slots=True, eq=False)
class Shaped:
    """Records of one shape.

    Attributes:
        shape: what they have in common.
        numbers_G: which records they are.
        fields: for each field its texts, without outer white space.
    """

    shape: Hashable
    numbers_G: np.ndarray
    fields: Fields


_Taken = tuple[Hashable, tuple[str, ...]] | None


@dataclass(frozen=True, slots=True)
class Taker:
    """Takes records of one task apart.

    Attributes:
        task: says whether answers are free, classes, or letters that stand for a record's own choices.
    """

    task: Task

    def grouped(self, records: Sequence[Record]) -> tuple[list[Shaped], list[int]]:
        """Take records apart, and group them by shape.

        Whether a record has an answer follows from its shape.

        Returns:
            The groups, in the order of their first records, and the numbers of records that hold more than texts (calls
            of tools, reasoning, weighted stretches).
        """
        parts = self._parts(records)
        keys, ends_N = parts.with_edges()
        members: dict[Hashable, list[int]] = defaultdict(list)
        for n, key in enumerate(keys):
            members[key].append(n)
        others = members.pop(None, [])
        starts_N = ends_N - np.fromiter(parts.n_texts, dtype=np.int64, count=len(records))
        groups = []
        for key, numbers in members.items():
            numbers_G = np.array(numbers)
            n_fields = parts.n_texts[numbers[0]]
            places = (starts_N[numbers_G] + np.arange(n_fields)[:, None]).tolist()
            fields = tuple([list(map(parts.cores.__getitem__, column)) for column in places])
            edges = key[1] if type(key) is _Edged else n_fields
            groups.append(Shaped((self._shape(records[numbers[0]]), edges), numbers_G, fields))
        return groups, others

    def _parts(self, records: Sequence[Record]) -> "_Parts":
        """Take records apart by columns where they are of one kind, since a call for each would take most of the time."""
        kinds = set(map(type, records))
        if kinds == {Conversation}:
            return _parts_of_conversations(cast("Sequence[Conversation]", records))
        if kinds == {Labelled}:
            return _parts_of_labelled(cast("Sequence[Labelled]", records))
        taken = [self._taken(record) for record in records]
        texts = [() if one is None else one[1] for one in taken]
        # Pairs and questions without an answer have a text less than those with one.
        keys: list[Hashable] = [None if one is None else (one[0], len(one[1])) for one in taken]
        return _apart(keys, list(map(len, texts)), chain.from_iterable(texts))

    def _shape(self, record: Record) -> Hashable:
        taken = self._taken(record)
        assert taken is not None
        return taken[0]

    def marked(self, record: Record) -> Record:
        """Put marks in the place of a record's texts; its outer white space stays, and what is empty stays empty."""
        taken = self._taken(record)
        assert taken is not None
        marks = [_marked(number, text) for number, text in enumerate(taken[1])]
        return self._with_texts(record, iter(marks))

    def _taken(self, record: Record) -> _Taken:
        match record:
            case Conversation(messages=messages):
                shape = tuple(m.role for m in messages), tuple(m.weight for m in messages)
                return None if _holds_more(record) else (shape, tuple(m.content for m in messages))
            case Labelled(inputs=inputs, labels=labels):
                return (tuple(inputs), labels), tuple(inputs.values())
            case Pair(source=source, targets=targets):
                return (record.source_language, record.target_language), (source, *targets[:1])
            case Plain(text=text):
                return "plain", (text,)
            case Question():
                return self._taken_question(record)
        return None

    def _taken_question(self, record: Question) -> _Taken:
        texts = (record.question,) if record.context is None else (record.question, record.context)
        shape = (record.context is None, record.answerable, len(record.choices))
        if self.task.letters:
            places = [record.choices.index(answer) for answer in record.answers if answer in record.choices]
            is_plain = len(set(record.choices)) == len(record.choices) and (places or not record.answers)
            return ((*shape, places[0] if places else None), (*texts, *record.choices)) if is_plain else None
        if self.task.labels:
            return (*shape, record.answers[:1]), texts
        return shape, (*texts, *record.answers[:1])

    def _with_texts(self, record: Record, left: Iterator[str]) -> Record:
        match record:
            case Conversation(messages=messages):
                said = tuple(msgspec.structs.replace(message, content=next(left)) for message in messages)
                return msgspec.structs.replace(record, messages=said)
            case Labelled(inputs=inputs):
                return msgspec.structs.replace(record, inputs={name: next(left) for name in inputs})
            case Pair():
                return msgspec.structs.replace(record, source=next(left), targets=tuple(left))
            case Plain():
                return msgspec.structs.replace(record, text=next(left))
        assert isinstance(record, Question)
        question = next(left)
        context = None if record.context is None else next(left)
        if self.task.letters:
            new = dict(zip(record.choices, left, strict=True))
            answers = tuple(new[answer] for answer in record.answers if answer in new)[:1]
            return msgspec.structs.replace(
                record, question=question, context=context, choices=tuple(new.values()), answers=answers
            )
        answers = record.answers if self.task.labels else tuple(left)
        return msgspec.structs.replace(record, question=question, context=context, answers=answers)


def _holds_more(record: Conversation) -> bool:
    """Say whether a conversation has tools, or a message more than a text."""
    return bool(record.tools) or bool(_more_than_text(record.messages))


def _more_than_text(messages: Iterable[Message]) -> list[int]:
    """List the places of messages that are more than a text."""
    return [
        place
        for place, m in enumerate(messages)
        if m.tool_calls or m.thinking or m.spans or m.name or m.tool_call_id or m.parts
    ]


class _Edged(NamedTuple):
    """What a shape is told by where texts have white space around them, or are empty."""

    key: Hashable
    edges: tuple[tuple[str, str] | str, ...]


@dataclass(frozen=True, slots=True)
class _Parts:
    """Records taken apart.

    Attributes:
        keys: for each record what its shape is told by, edges aside; None where it holds more than texts.
        n_texts: how many texts each has.
        contents: all texts, one record after another.
        cores: these without outer white space.
    """

    keys: list[Hashable]
    n_texts: list[int]
    contents: list[str]
    cores: list[str]

    def with_edges(self) -> tuple[list[Hashable], np.ndarray]:
        """Let keys tell of the edges of texts as well; give them, and the place behind the last text of each record."""
        ends_N = np.cumsum(self.n_texts, dtype=np.int64)
        n_texts = len(self.contents)
        whole, cores = (np.fromiter(map(len, texts), np.int64, n_texts) for texts in (self.contents, self.cores))
        edged = np.flatnonzero((cores < whole) | (cores == 0))
        if not len(edged):
            return self.keys, ends_N
        keys = self.keys.copy()
        for n in np.unique(np.searchsorted(ends_N, edged, side="right")).tolist():
            if keys[n] is not None:
                own = slice(int(ends_N[n]) - self.n_texts[n], int(ends_N[n]))
                keys[n] = _Edged(keys[n], tuple(map(_edges, self.contents[own], self.cores[own])))
        return keys, ends_N


def _apart(keys: list[Hashable], n_texts: list[int], texts: Iterable[str]) -> _Parts:
    contents = list(texts)
    return _Parts(keys, n_texts, contents, list(map(str.strip, contents)))


def _parts_of_conversations(records: Sequence[Conversation]) -> _Parts:
    said = [record.messages for record in records]
    messages = list(chain.from_iterable(said))
    n_texts = list(map(len, said))
    # One character for each role and weight, so that what tells the shape of a record is a piece of one text.
    spoken: list[Hashable] = [m.role for m in messages]
    weights = [m.weight for m in messages]
    if weights.count(None) < len(weights):
        spoken = list(zip(spoken, weights, strict=True))
    letters = {one: chr(number) for number, one in enumerate(dict.fromkeys(spoken))}
    code = "".join(map(letters.__getitem__, spoken))
    ends = list(accumulate(n_texts))
    keys: list[Hashable] = [code[end - n : end] for end, n in zip(ends, n_texts, strict=True)]
    for place in _more_than_text(messages):
        keys[bisect_right(ends, place)] = None
    for n, record in enumerate(records):
        if record.tools:
            keys[n] = None
    return _apart(keys, n_texts, [m.content for m in messages])


def _parts_of_labelled(records: Sequence[Labelled]) -> _Parts:
    inputs = [record.inputs for record in records]
    keys: list[Hashable] = list(zip(map(tuple, inputs), [record.labels for record in records], strict=True))
    return _apart(keys, list(map(len, inputs)), chain.from_iterable([one.values() for one in inputs]))


def _edges(text: str, core: str) -> tuple[str, str] | str:
    """Give the white space around a text; where nothing is within, the text."""
    if not core:
        return text
    before, _, after = text.partition(core)
    return before, after


def _marked(number: int, text: str) -> str:
    core = text.strip()
    return text.replace(core, f"{OPEN}{number}{CLOSE}", 1) if core else text
