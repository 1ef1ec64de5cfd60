"""Segments to arrays: what is encoded together, and what each token carries.

A sequence is first planned as items: texts to encode, ids that stand fixed, mask slots. All texts of all sequences are
then encoded in a few calls, each distinct one once, and the arrays are filled for all sequences at a time.

Shape letters: T tokens, of one sequence or of all in a row.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from formtune.errors import DataError, SettingError
from formtune.examples import Segment, Shape
from formtune.text_encoders import Follows
from formtune.tokenizers import Tokenizer

SCAFFOLD, CONTENT, TARGET, CONTROL = range(4)
_PARTS = {"scaffold": SCAFFOLD, "content": CONTENT, "target": TARGET}
_CUTS = {"end": 1, "start": 2}


class Bearing(NamedTuple):
    """What a token carries besides its id: the columns of :class:`formtune.tokens.Tokens`."""

    part: int = CONTROL
    weight: float = 0.0
    cut: int = 0
    type: int = 0

    def most(self, *others: "Bearing") -> "Bearing":
        """Give the most of each: what a token carries that stands in several parts.

        So a token of scaffold and content is content, and it weighs what the heavier weighs.
        """
        part, weight, cut, type_ = (max(column) for column in zip(self, *others, strict=True))
        return Bearing(int(part), weight, int(cut), int(type_))


@dataclass(frozen=True, slots=True)
class Text:
    """A text to encode as one string; ``bearings`` hold up to the characters ``ends``, one after the other."""

    follows: Follows
    text: str
    ends: tuple[int, ...]
    bearings: tuple[Bearing, ...]

    @property
    def is_target(self) -> bool:
        """Whether it is to be produced."""
        return self.bearings[0].part == TARGET


@dataclass(frozen=True, slots=True)
class Fixed:
    """Ids that stand as they are."""

    ids: tuple[int, ...]
    bearing: Bearing


@dataclass(frozen=True, slots=True)
class Slot:
    """Masks in place of a text, always as many as the longest candidate has tokens.

    Were there as many as the right one has, their number would tell it. What the filling does not need is asked for
    nothing.
    """

    filling: str
    candidates: tuple[str, ...]
    bearing: Bearing


Item = Text | Fixed | Slot
Encoded = tuple[np.ndarray, np.ndarray]
Requests = dict[tuple[Follows, str], bool]


class Planner:
    """Plans one sequence, without what the model puts around it.

    Attributes:
        items: what has been planned so far.
        type: token type of what comes next.
    """

    def __init__(
        self, tokenizer: Tokenizer, shape: Shape, *, candidates: tuple[str, ...] = (), follows: Follows = "nothing"
    ) -> None:
        """Begin a sequence.

        Args:
            tokenizer: the model's.
            shape: the model's; only encoders tell two texts apart by their token type.
            candidates: what an open mask slot may be filled with.
            follows: what stands before the first segment.
        """
        self.items: list[Item] = []
        self.type = 0
        self._tokenizer = tokenizer
        self._shape = shape
        self._candidates = candidates
        self._follows: Follows = follows
        self._texts: list[str] = []
        self._ends: list[int] = []
        self._bearings: list[Bearing] = []
        self._strips = False

    def pause(self) -> Follows:
        """End the running text: no token crosses this place. Say what a text behind it would follow."""
        self._end_text()
        return self._follows

    def extend(self, segments: Iterable[Segment]) -> None:
        """Plan segments, in order.

        Raises:
            SettingError: where one asks for a control token that the model does not have.
        """
        for segment in segments:
            self._add(segment)

    def _add(self, segment: Segment) -> None:
        match segment.control:
            case None:
                self._add_text(segment)
            case "boundary":
                self._end_text()
            case "mask":
                mask = _need(self._tokenizer.mask_id, "mask token", "Use a masked-language model, or another format.")
                self._end_text(strip=self._tokenizer.strips(mask)[0])
                self.items.append(Slot(segment.text, self._candidates, self._bearing(segment)))
                self._follow(mask)
            case "separator":
                self._add_separator(segment)
            case "stop":
                stop = self._tokenizer.sep_id if self._tokenizer.eos_id is None else self._tokenizer.eos_id
                self._add_control(_need(stop, "token that ends a text", "Use another model."), segment)
            case "token":
                token = self._tokenizer.id_of(segment.text)
                self._add_control(_need(token, f"token {segment.text!r}", "Use another chat template."), segment)

    def _bearing(self, segment: Segment) -> Bearing:
        cut = _CUTS[segment.cut] if segment.part == "content" else 0
        return Bearing(_PARTS[segment.part], segment.weight, cut, self.type)

    def _add_text(self, segment: Segment) -> None:
        bearing = self._bearing(segment)
        if self._bearings and (bearing.part == TARGET) != (self._bearings[-1].part == TARGET):
            self._end_text()
        # Some control tokens (Phi's <|end|>) take the white space behind them away.
        text = segment.text.lstrip() if self._strips and not self._texts else segment.text
        if text:
            self._texts.append(text)
            self._ends.append((self._ends[-1] if self._ends else 0) + len(text))
            self._bearings.append(bearing)

    def _end_text(self, *, strip: bool = False) -> None:
        text = "".join(self._texts)
        if strip:
            text = text.rstrip()
        if text:
            ends = tuple(min(end, len(text)) for end in self._ends)
            self.items.append(Text(self._follows, text, ends, tuple(self._bearings)))
            self._follows, self._strips = "text", False
        self._texts, self._ends, self._bearings = [], [], []

    def _add_control(self, token: int, segment: Segment) -> None:
        self._end_text(strip=self._tokenizer.strips(token)[0])
        part = TARGET if segment.part == "target" else CONTROL
        self.items.append(Fixed((token,), Bearing(part, segment.weight, 0, self.type)))
        self._follow(token)

    def _follow(self, token: int) -> None:
        self._follows, self._strips = "control", self._tokenizer.strips(token)[1]

    def _add_separator(self, segment: Segment) -> None:
        ids = self._tokenizer.separator_ids if self._shape == "encoder" else ()
        if not ids and self._tokenizer.sep_id is not None:
            ids = (self._tokenizer.sep_id,)
        if not ids:
            self._add_text(Segment("\n", segment.part, segment.weight, cut=segment.cut))
            return
        self._end_text()
        self.items.append(Fixed(ids, Bearing(CONTROL, segment.weight, 0, self.type)))
        self._follows = "nothing"  # the second of a pair is encoded like a text of its own
        if self._shape == "encoder":
            self.type = self._tokenizer.second_type


def _need(token: int | None, what: str, remedy: str) -> int:
    if token is None:
        raise SettingError(f"The model has no {what}.", remedy, at="--model")
    return token


def requests(items: Iterable[Item]) -> Requests:
    """List the texts that items need encoded, each with whether its characters are needed too."""
    wanted: Requests = {}
    for item in items:
        match item:
            case Text(follows=follows, text=text, bearings=bearings):
                wanted[follows, text] = wanted.get((follows, text), False) or len(set(bearings)) > 1
            case Slot(filling=filling, candidates=candidates):
                wanted |= {("text", one): False for one in (filling, *candidates)}
    return wanted


def encode(wanted: Requests, tokenizer: Tokenizer) -> dict[tuple[Follows, str], Encoded]:
    """Encode texts, in one call for each thing they can follow and each kind of answer."""
    groups: dict[tuple[Follows, bool], list[str]] = {}
    for (follows, text), offsets in wanted.items():
        groups.setdefault((follows, offsets), []).append(text)
    found: dict[tuple[Follows, str], Encoded] = {}
    for (follows, offsets), texts in groups.items():
        encoded = tokenizer.encode(texts, follows, offsets=offsets)
        found |= {(follows, text): one for text, one in zip(texts, encoded, strict=True)}
    return found


def check_targets(items: Iterable[Item], encoded: Mapping[tuple[Follows, str], Encoded], tokenizer: Tokenizer) -> bool:
    """Tell whether content loses characters that the vocabulary lacks.

    Raises:
        DataError: where a target loses some: the model could never produce it.
    """
    loses = False
    for item in items:
        if isinstance(item, Fixed):
            continue
        is_target = isinstance(item, Slot) or item.is_target
        key: tuple[Follows, str] = ("text", item.filling) if isinstance(item, Slot) else (item.follows, item.text)
        lost = tokenizer.lost(key[1])
        is_unknown = tokenizer.unk_id is not None and bool((encoded[key][0] == tokenizer.unk_id).any())
        if is_target and (lost or is_unknown):
            raise DataError(
                "The answer holds characters that the model's vocabulary lacks.",
                "Use a model whose vocabulary has them, or take the record out.",
            )
        loses = loses or bool(lost) or is_unknown
    return loses


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The arrays of one sequence."""

    ids_T: np.ndarray
    labels_T: np.ndarray
    weights_T: np.ndarray
    parts_T: np.ndarray
    types_T: np.ndarray
    cuts_T: np.ndarray


def assemble(
    sequences: Sequence[Sequence[Item]], encoded: Mapping[tuple[Follows, str], Encoded], tokenizer: Tokenizer
) -> list[Columns]:
    """Fill the arrays of all sequences."""
    rows = _Rows(encoded, tokenizer.mask_id)
    lengths = []
    for items in sequences:
        before = rows.n_tokens
        for item in items:
            rows.add(item)
        lengths.append(rows.n_tokens - before)
    return rows.columns(lengths)


class _Rows:
    """All tokens in a row: ids, labels, and for each the number of its bearing in a table."""

    def __init__(self, encoded: Mapping[tuple[Follows, str], Encoded], mask_id: int | None) -> None:
        self._encoded = encoded
        self._mask_id = mask_id
        self._ids: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []
        self._owners: list[np.ndarray] = []
        self._table: dict[Bearing, int] = {}
        self.n_tokens = 0

    def add(self, item: Item) -> None:
        match item:
            case Fixed(ids=ids, bearing=bearing):
                ids_T = np.array(ids, dtype=np.int32)
                self._append(ids_T, ids_T, np.full(len(ids), self._number(bearing)))
            case Slot(bearing=bearing):
                self._append_slot(item, self._number(bearing), self._number(bearing._replace(weight=0.0)))
            case Text(follows=follows, text=text, bearings=bearings):
                ids_T, offsets_T2 = self._encoded[follows, text]
                if len(set(bearings)) == 1:
                    self._append(ids_T, ids_T, np.full(len(ids_T), self._number(bearings[0])))
                else:
                    self._append(ids_T, ids_T, self._owners_of(item, offsets_T2))

    def _append(self, ids_T: np.ndarray, labels_T: np.ndarray, owners_T: np.ndarray) -> None:
        self._ids.append(ids_T)
        self._labels.append(labels_T)
        self._owners.append(owners_T)
        self.n_tokens += len(ids_T)

    def _number(self, bearing: Bearing) -> int:
        return self._table.setdefault(bearing, len(self._table))

    def _append_slot(self, slot: Slot, asked: int, unasked: int) -> None:
        texts = [text for text in (slot.filling, *slot.candidates) if text]
        n_masks = max((len(self._encoded["text", text][0]) for text in texts), default=1)
        filling = self._encoded["text", slot.filling][0] if slot.filling else np.zeros(0, dtype=np.int32)
        masks_T = np.full(n_masks, self._mask_id, dtype=np.int32)
        owners_T = np.where(np.arange(n_masks) < len(filling), asked, unasked)
        self._append(masks_T, np.concatenate([filling, masks_T[len(filling) :]]), owners_T)

    def _owners_of(self, item: Text, offsets_T2: np.ndarray) -> np.ndarray:
        """Find the bearing of each token by the characters it covers; one that covers several gets the most of each."""
        last = len(item.ends) - 1
        firsts_T = offsets_T2[:, 0]
        lasts_T = np.maximum(offsets_T2[:, 1] - 1, firsts_T)
        begin_T = np.minimum(np.searchsorted(item.ends, firsts_T, side="right"), last)
        end_T = np.minimum(np.searchsorted(item.ends, lasts_T, side="right"), last)
        numbers = np.array([self._number(bearing) for bearing in item.bearings])
        owners_T = numbers[begin_T]
        for t in np.flatnonzero(begin_T < end_T):
            first, *others = item.bearings[begin_T[t] : end_T[t] + 1]
            owners_T[t] = self._number(first.most(*others))
        return owners_T

    def columns(self, lengths: Sequence[int]) -> list[Columns]:
        """Look the bearings up and part the row into sequences."""
        if not lengths:
            return []
        empty = [np.zeros(0, dtype=np.int32)]
        owners_T = np.concatenate(self._owners or empty)
        kinds = {"weights_T": np.float32, "parts_T": np.uint8, "types_T": np.uint8, "cuts_T": np.uint8}
        names = {"weights_T": "weight", "parts_T": "part", "types_T": "type", "cuts_T": "cut"}
        whole = {"ids_T": np.concatenate(self._ids or empty), "labels_T": np.concatenate(self._labels or empty)}
        for name, kind in kinds.items():
            values = np.array([getattr(bearing, names[name]) for bearing in self._table], dtype=kind)
            whole[name] = values[owners_T]
        places = np.cumsum(lengths)[:-1]
        parted = {name: np.split(column, places) for name, column in whole.items()}
        return [Columns(**{name: parts[n] for name, parts in parted.items()}) for n in range(len(lengths))]
