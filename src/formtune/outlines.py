"""What records of one shape become: laid out once, with marks in place of their texts, and then reused.

The texts of a record (its *fields*) are taken out; what is left is its shape: kind, roles, labels, which texts are
empty or begin with white space. One record of each shape is put through the format, the chat template and the planner
with a mark in place of every field, and what comes out says where each field goes: an *outline*. Other records of that
shape need no more than their fields put in.

That is right as long as neither format nor template looks into a text. Our own formats do not, but for those that part
a text into words, which tear the marks and so have no outline; of a template its syntax tree tells what it looks for.
Whoever uses outlines compares some records of each shape with what the whole way makes of them.
"""

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, pairwise
from operator import itemgetter
from typing import NamedTuple

import msgspec
import numpy as np

from formtune.assembly import (
    TARGET,
    Bearing,
    Columns,
    Encoded,
    Item,
    Slot,
    Text,
    assemble,
    check_targets,
    encode,
    requests,
)
from formtune.errors import DataError
from formtune.examples import Task
from formtune.records import Conversation, Labelled, Message, Pair, Plain, Question, Record
from formtune.text_encoders import Follows
from formtune.tokenizers import Tokenizer
from formtune.tokens import Planned

OPEN, _CLOSE = "\ue0f5", "\ue0f6"  # private-use characters; those of chat templates are others
_MARK = re.compile(f"{OPEN}(\\d+){_CLOSE}")


class Fields(NamedTuple):
    """A record, taken apart: what its shape is, and its texts without outer white space."""

    shape: Hashable
    texts: tuple[str, ...]


_Taken = tuple[Hashable, tuple[str, ...]] | None


@dataclass(frozen=True, slots=True)
class Taker:
    """Takes records of one task apart.

    Attributes:
        task: says whether answers are free, classes, or letters that stand for a record's own choices.
    """

    task: Task

    def fields(self, records: Sequence[Record]) -> list[Fields | None]:
        """Take records apart; None for those that hold more than texts (calls of tools, reasoning, weighted stretches).

        Whether a record has an answer follows from its shape.
        """
        conversations = [record for record in records if type(record) is Conversation]
        if len(conversations) == len(records):
            return _fields_of_conversations(conversations)
        return [None if one is None else _without_edges(*one) for one in map(self._taken, records)]

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
    return bool(record.tools) or any(map(_is_more_than_text, record.messages))


def _is_more_than_text(m: Message) -> bool:
    return bool(m.tool_calls or m.thinking or m.spans or m.name or m.tool_call_id or m.parts)


def _fields_of_conversations(records: Sequence[Conversation]) -> list[Fields | None]:
    """Take conversations apart: by columns of all their messages, since a call for each would take most of the time."""
    messages = list(chain.from_iterable([record.messages for record in records]))
    roles = [m.role for m in messages]
    weights = [m.weight for m in messages]
    contents = [m.content for m in messages]
    cores = list(map(str.strip, contents))
    # Texts that nothing was taken off are compared by where they lie in memory.
    edged = {n for n, (core, text) in enumerate(zip(cores, contents, strict=True)) if core != text or not core}
    more = {n for n, m in enumerate(messages) if _is_more_than_text(m)}
    fields: list[Fields | None] = []
    end = 0
    for record in records:
        start, end = end, end + len(record.messages)
        if record.tools or (more and not more.isdisjoint(range(start, end))):
            fields.append(None)
            continue
        shape, texts = (tuple(roles[start:end]), tuple(weights[start:end])), tuple(cores[start:end])
        if edged and not edged.isdisjoint(range(start, end)):
            fields.append(Fields((shape, tuple(map(_edges, contents[start:end], texts))), texts))
        else:
            fields.append(Fields((shape, end - start), texts))
    return fields


def _without_edges(shape: Hashable, texts: tuple[str, ...]) -> Fields:
    """Take outer white space off texts, and into the shape."""
    cores = tuple([text.strip() for text in texts])
    if cores == texts and "" not in cores:
        return Fields((shape, len(texts)), texts)
    return Fields((shape, tuple(map(_edges, texts, cores))), cores)


def _edges(text: str, core: str) -> tuple[str, str] | None:
    """Give the white space around a text; None where nothing is within."""
    if not core:
        return None
    before, _, after = text.partition(core)
    return before, after


def _marked(number: int, text: str) -> str:
    core = text.strip()
    return text.replace(core, f"{OPEN}{number}{_CLOSE}", 1) if core else text


Part = str | int  # characters, or the number of the field that goes there


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a text with one bearing."""

    parts: tuple[Part, ...]
    bearing: Bearing

    @property
    def is_fixed(self) -> bool:
        """Whether it is the same in every record."""
        return all(isinstance(part, str) for part in self.parts)

    def n_bytes(self, rows: Sequence[tuple[str, ...]]) -> np.ndarray:
        """Count its bytes in UTF-8 for several records, from their fields: int64."""
        n_bytes_N = np.zeros(len(rows), dtype=np.int64)
        for part in self.parts:
            if isinstance(part, str):
                n_bytes_N += len(part.encode("utf-8", "surrogatepass"))
            else:
                n_bytes_N += np.fromiter((_n_bytes(row[part]) for row in rows), dtype=np.int64, count=len(rows))
        return n_bytes_N

    def texts(self, rows: Sequence[tuple[str, ...]]) -> list[str]:
        """Write it for several records, from their fields."""
        return _written(self.parts, rows)


@dataclass(frozen=True, slots=True)
class Writing:
    """A text that is encoded as one, with fields in it."""

    follows: Follows
    stretches: tuple[Stretch, ...]

    @property
    def is_target(self) -> bool:
        """Whether it is to be produced."""
        return self.stretches[0].bearing.part == TARGET

    def texts(self, rows: Sequence[tuple[str, ...]]) -> list[str]:
        """Write it for several records, from their fields."""
        return _written(tuple(part for stretch in self.stretches for part in stretch.parts), rows)


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """Tokens that are the same in every record, with one bearing."""

    ids_T: np.ndarray
    labels_T: np.ndarray
    bearing: Bearing


Place = Writing | Standing


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """What records of one shape become.

    Attributes:
        sides: the places of the sequence, and of an encoder-decoder's second side.
        gold: index of the right candidate; None where unknown or free.
        candidates: ids of each candidate.
        words: their texts.
        corrupt: as in :class:`formtune.tokens.Tokens`.
        in_template: whether a chat template laid it out.
    """

    sides: tuple[tuple[Place, ...], ...]
    gold: int | None
    candidates: tuple[np.ndarray, ...]
    words: tuple[str, ...]
    corrupt: str | None
    in_template: bool


def outline_of(planned: Planned, tokenizer: Tokenizer) -> Outline | None:
    """Make an outline from what a marked record was planned as.

    Returns:
        None where a mark was torn, or went where no field can be put in, or where what stands fixed is not in the
        vocabulary: then each record goes the whole way, which tells what is wrong.
    """
    example = planned.example
    if example.turns and not tokenizer.chat_template.is_steady:
        return None
    if any(OPEN in word for word in example.candidates):
        return None
    items = [planned.items] if planned.decoder is None else [planned.items, planned.decoder]
    fixed = [item for side in items for item in side if _is_fixed(item)]
    fixed += [item for candidate in planned.candidates for item in candidate]
    encoded = encode(requests(fixed), tokenizer)
    try:
        if check_targets(fixed, encoded, tokenizer):
            return None
    except DataError:
        return None
    sides = [_places(side, encoded, tokenizer) for side in items]
    if any(side is None for side in sides):
        return None
    return Outline(
        sides=tuple(side for side in sides if side is not None),
        gold=example.gold,
        candidates=tuple(columns.ids_T for columns in assemble(planned.candidates, encoded, tokenizer)),
        words=example.candidates,
        corrupt=example.corrupt,
        in_template=bool(example.turns),
    )


def _n_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _written(parts: tuple[Part, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    match parts:
        case (int(field),):
            return [row[field] for row in rows]
        case (str(before), int(field)):
            return [before + row[field] for row in rows]
    columns = [[part] * len(rows) if isinstance(part, str) else [row[part] for row in rows] for part in parts]
    return list(map("".join, zip(*columns, strict=True)))


def _places(
    items: Sequence[Item], encoded: Mapping[tuple[Follows, str], Encoded], tokenizer: Tokenizer
) -> tuple[Place, ...] | None:
    places: list[Place] = []
    for is_fixed, group in groupby(items, key=_is_fixed):
        run = list(group)
        if is_fixed:
            places += _standing(assemble([run], encoded, tokenizer)[0])
            continue
        writings = [_writing(item) for item in run if isinstance(item, Text)]
        if len(writings) < len(run) or None in writings:
            return None
        places += [writing for writing in writings if writing is not None]
    return tuple(places)


def _is_fixed(item: Item) -> bool:
    return OPEN not in _said(item)


def _said(item: Item) -> str:
    """Give the texts of an item, in which marks are looked for."""
    match item:
        case Text(text=text):
            return text
        case Slot(filling=filling, candidates=candidates):
            return "\n".join((filling, *candidates))
    return ""


def _writing(item: Text) -> Writing | None:
    """Part a marked text where its bearing changes; None where a mark was torn."""
    stretches = []
    carried = zip(pairwise((0, *item.ends)), item.bearings, strict=True)
    for bearing, group in groupby(carried, key=itemgetter(1)):
        spans = [span for span, _ in group]
        text = item.text[spans[0][0] : spans[-1][1]]
        bare = _MARK.sub("", text)
        if OPEN in bare or _CLOSE in bare:
            return None
        if text:
            stretches.append(Stretch(tuple(_parts(text)), rounded(bearing)))
    return Writing(item.follows, tuple(stretches))


def _parts(text: str) -> Iterator[Part]:
    place = 0
    for match in _MARK.finditer(text):
        if place < match.start():
            yield text[place : match.start()]
        yield int(match[1])
        place = match.end()
    if place < len(text):
        yield text[place:]


def _standing(columns: Columns) -> Iterator[Standing]:
    """Part tokens that stand fixed where their bearing changes."""
    carried = zip(columns.parts_T, columns.weights_T, columns.cuts_T, columns.types_T, strict=True)
    start = 0
    for (part, weight, cut, type_), run in groupby(carried):
        end = start + len(list(run))
        bearing = Bearing(int(part), float(weight), int(cut), int(type_))
        yield Standing(columns.ids_T[start:end], columns.labels_T[start:end], bearing)
        start = end


def rounded(bearing: Bearing) -> Bearing:
    """Give the weight as it is kept, in float32."""
    return bearing._replace(weight=float(np.float32(bearing.weight)))
