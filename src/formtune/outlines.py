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
from functools import cached_property
from itertools import groupby, pairwise
from operator import itemgetter

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
from formtune.shapes import CLOSE, OPEN, Fields
from formtune.text_encoders import Follows
from formtune.tokenizers import Tokenizer
from formtune.tokens import Planned

_MARK = re.compile(f"{OPEN}(\\d+){CLOSE}")

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

    def n_bytes(self, fields: Fields, n_records: int) -> np.ndarray:
        """Count its bytes in UTF-8 for several records, from their fields: int64."""
        n_bytes_N = np.zeros(n_records, dtype=np.int64)
        for part in self.parts:
            if isinstance(part, str):
                n_bytes_N += _n_bytes(part)
            else:
                n_bytes_N += np.fromiter(map(_n_bytes, fields[part]), dtype=np.int64, count=n_records)
        return n_bytes_N

    def texts(self, fields: Fields, n_records: int) -> list[str]:
        """Write it for several records, from their fields."""
        return _written(self.parts, fields, n_records)


@dataclass(frozen=True, slots=True)
class Writing:
    """A text that is encoded as one, with fields in it."""

    follows: Follows
    stretches: tuple[Stretch, ...]

    @property
    def is_target(self) -> bool:
        """Whether it is to be produced."""
        return self.stretches[0].bearing.part == TARGET

    def texts(self, fields: Fields, n_records: int) -> list[str]:
        """Write it for several records, from their fields."""
        return _written(tuple(part for stretch in self.stretches for part in stretch.parts), fields, n_records)


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """Tokens that are the same in every record, with one bearing."""

    ids_T: np.ndarray
    labels_T: np.ndarray
    bearing: Bearing

    @property
    def layout(self) -> Hashable:
        """What two of them share exactly if they are the same."""
        return self.ids_T.tobytes(), self.labels_T.tobytes(), self.bearing


Place = Writing | Standing


@dataclass(frozen=True, eq=False)
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

    @cached_property
    def layout(self) -> Hashable:
        """What two outlines share exactly if they differ in nothing but the gold."""
        sides = tuple(tuple(p.layout if isinstance(p, Standing) else p for p in places) for places in self.sides)
        candidates = tuple(ids.tobytes() for ids in self.candidates)
        return sides, candidates, self.words, self.corrupt, self.in_template


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


def _written(parts: tuple[Part, ...], fields: Fields, n_records: int) -> list[str]:
    match parts:
        case (int(field),):
            return fields[field]
        case (str(before), int(field)):
            return [before + text for text in fields[field]]
    columns = [[part] * n_records if isinstance(part, str) else fields[part] for part in parts]
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
        if OPEN in bare or CLOSE in bare:
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
