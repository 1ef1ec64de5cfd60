"""Records to sheets of tokens, many at a time: the work per record is little, and the work per token is none.

Records are taken apart and grouped by shape (:mod:`formtune.outlines`). The texts of all of them are encoded in a few
calls, and where the bearing of tokens changes within a text is found by counting bytes. A record that has no outline, or
whose tokens cannot be parted so, goes the whole way through format, planner and encoder; so do some records of each
shape, to compare. Where one of these differs, all of its shape go the whole way.

What comes out is the same whichever way a record went, and depends on nothing but the records that are given.

Shape letters: N records, G records of one shape.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import compress

import msgspec
import numpy as np

from formtune.arms import Arm, present_all
from formtune.errors import DataError
from formtune.examples import Example, Task
from formtune.filling import Batch, Filled, fill, joint, spelling
from formtune.fitting import fit
from formtune.label_words import check_distinct
from formtune.leaves import CORRUPTIONS, Leaf, Words, in_use
from formtune.outlines import Outline, outline_of
from formtune.records import LeftOut, Record, answer_text, input_text
from formtune.shapes import OPEN, Shaped, Taker
from formtune.sheets import Group, Pool, Sheet, assemble, pieces_of, pool_of
from formtune.splits import has_answer
from formtune.tokens import Tokenizer, Tokens, plan, tokenize_each

COMPARED = 1024  # of each shape the first record is compared, and then one in so many of the slice
NOT_LEARNED = "nothing in it is learned"
NO_ANSWER = "no answer"
COLUMNS = ("ids_T", "labels_T", "weights_T", "parts_T", "types_T", "cuts_T")


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What became of some records.

    Attributes:
        leaf: their sequences.
        left_out: the other records, in their order, with place and reason.
        n_truncated: sequences whose content was cut.
        n_lossy: sequences whose content lost characters that the vocabulary lacks.
        n_controls: records in whose texts a control token is spelled; it stays text.
    """

    leaf: Leaf
    left_out: list[LeftOut]
    n_truncated: int
    n_lossy: int
    n_controls: int


@dataclass(frozen=True, slots=True)
class _Whole:
    """Records that went the whole way, by their numbers."""

    tokens: Mapping[int, Tokens]
    left_out: Mapping[int, LeftOut] = field(default_factory=dict)
    lossy: frozenset[int] = frozenset()

    def and_(self, other: "_Whole") -> "_Whole":
        """Take further ones in."""
        return _Whole({**self.tokens, **other.tokens}, {**self.left_out, **other.left_out}, self.lossy | other.lossy)


@dataclass(slots=True, kw_only=True)
class Preparer:
    """Turns records into sheets, and remembers the outlines of shapes that it has met.

    Attributes:
        arm: the format and the model.
        task: what the format knows of the whole data set.
        tokenizer: the model's.
        start_id: what an encoder-decoder's decoder starts with, else None.
        capacity: the most tokens of a sequence.
    """

    arm: Arm
    task: Task
    tokenizer: Tokenizer
    start_id: int | None
    capacity: int
    _outlines: dict[Hashable, Outline | None] = field(default_factory=dict, init=False)
    _checked: set[tuple[str, ...]] = field(default_factory=set, init=False)

    def prepare(self, records: Sequence[Record]) -> Prepared:
        """Turn records, which need no ids, into one sequence each, in their order.

        Raises:
            SettingError: where the model lacks a token that the format needs, or cannot tell two label words apart.
            DataError: where a text yields a control token, which is a defect of the vocabulary.
        """
        batches, others, unanswered = self._grouped(records)
        filled, pool = fill(batches, self.tokenizer)
        done = list(zip(batches, filled, strict=True))
        compared = [_to_compare(batch, one) for batch, one in done]
        whole = self._whole(
            records,
            [others, *(batch.numbers_G[one.fails_G | is_G] for (batch, one), is_G in zip(done, compared, strict=True))],
        )
        own = _tokens(done, compared, pool)
        for (batch, one), is_compared_G in zip(done, compared, strict=True):
            if not all(_is_same(own[n], whole.tokens.get(n)) for n in batch.numbers_G[is_compared_G].tolist()):
                whole = whole.and_(self._whole(records, [batch.numbers_G[~is_compared_G]]))
                one.fails_G[:] = True
        long = [self._are_long(one) for one in filled]
        whole = whole.and_(_Whole(_tokens(done, long, pool)))
        for one, is_long_G in zip(filled, long, strict=True):
            one.fails_G[is_long_G] = True
        whole, n_truncated = self._fitting(whole)
        leaf = _leaf(done, pool, whole)
        left_out = {**whole.left_out, **dict.fromkeys(unanswered, LeftOut(NO_ANSWER))}
        is_learned_N = _learned(leaf)
        if not is_learned_N.all():
            left_out |= dict.fromkeys(leaf.numbers_N[~is_learned_N].tolist(), LeftOut(NOT_LEARNED))
            leaf = leaf.taken(np.flatnonzero(is_learned_N))
        lossy = whole.lossy.union(*(b.numbers_G[f.loses_G].tolist() for b, f in zip(batches, filled, strict=True)))
        said = ["\0".join((input_text(records[n]), answer_text(records[n]))) for n in others.tolist()]
        n_controls = sum(int(one.spells_G.sum()) for one in filled) + int(spelling(said, self.tokenizer).sum())
        return Prepared(
            leaf=leaf,
            left_out=[
                msgspec.structs.replace(left_out[n], at=left_out[n].at or records[n].origin, id=records[n].id or None)
                for n in sorted(left_out)
            ],
            n_truncated=n_truncated,
            n_lossy=len(lossy.intersection(leaf.numbers_N.tolist())) if lossy else 0,
            n_controls=n_controls,
        )

    def first_of(self, records: Iterable[Record]) -> Example:
        """Present the first of some records that the format takes.

        Raises:
            DataError: where it takes none.
        """
        for record in records:
            with suppress(DataError):
                return self.arm.cell.present(record, self.task, self.arm.shape)
        raise DataError("The format takes none of the records.", "Choose another format.")

    def _grouped(self, records: Sequence[Record]) -> tuple[list[Batch], np.ndarray, list[int]]:
        """Group records by shape.

        Returns:
            The groups, the numbers of records that have no outline, and of those that have no answer.
        """
        every = list(range(len(records)))
        groups, others = Taker(self.task).grouped(records) if self._may_outline() else ([], every)
        unanswered = [n for n in others if not has_answer(records[n])]
        others = [n for n in others if has_answer(records[n])]
        batches = []
        for group in groups:
            first = records[group.numbers_G[0]]
            if not has_answer(first):
                unanswered += group.numbers_G.tolist()
                continue
            found = self._outline_of(group.shape, first)
            opaque_G = np.zeros(len(group.numbers_G), dtype=bool) if found is None else self._opaque(found, group)
            others += group.numbers_G[~opaque_G].tolist()
            if found is not None and opaque_G.any():
                fields = group.fields
                if not opaque_G.all():
                    fields = tuple([list(compress(texts, opaque_G)) for texts in fields])
                numbers_G = group.numbers_G[opaque_G]
                gold = -1 if found.gold is None else found.gold
                batches.append(Batch(found, numbers_G, fields, golds_G=np.full(len(numbers_G), gold, dtype=np.int32)))
        return joint(batches), np.array(others, dtype=np.int64), unanswered

    def _may_outline(self) -> bool:
        """Say whether the format is one of our own, and what stands in all records holds none of our marks."""
        fixed = (*self.task.labels, *self.task.words, self.task.instruction, self.task.question, *self.task.inputs)
        return self.arm.format.template is None and not any(OPEN in text for text in fixed)

    def _outline_of(self, shape: Hashable, record: Record) -> Outline | None:
        """Give the outline of a shape, made from a record of it where it is not known."""
        if shape not in self._outlines:
            self._outlines[shape] = self._outline(Taker(self.task).marked(record))
        return self._outlines[shape]

    def _outline(self, marked: Record) -> Outline | None:
        try:
            example = self.arm.cell.present(marked, self.task, self.arm.shape)
            planned = plan(example, self.tokenizer, shape=self.arm.shape, start=self.start_id)
        except DataError:
            return None
        found = outline_of(planned, self.tokenizer)
        if found is not None:
            self._check_words(found.words, found.candidates)
        return found

    def _check_words(self, words: tuple[str, ...], candidates: Words) -> None:
        """Refuse label words that the model cannot tell apart, once for each list of them."""
        if candidates and words not in self._checked:
            check_distinct(candidates, words)
            self._checked.add(words)

    def _opaque(self, found: Outline, group: Shaped) -> np.ndarray:
        """Say of each record whether a chat template cannot tell its texts from others."""
        opaque_G = np.ones(len(group.numbers_G), dtype=bool)
        if found.in_template:
            opaque_G[list(self.tokenizer.chat_template.looked_into(group.fields))] = False
        return opaque_G

    def _whole(self, records: Sequence[Record], numbers: Sequence[np.ndarray]) -> _Whole:
        """Take records the whole way, one by one."""
        chosen = np.unique(np.concatenate(numbers)).tolist()
        named = [msgspec.structs.replace(records[n], id=str(n)) for n in chosen]
        examples, unpresentable = present_all(self.arm, named, self.task)
        tokenized = tokenize_each(examples, self.tokenizer, shape=self.arm.shape, decoder_start_id=self.start_id)
        words = {example.id: example.candidates for example in examples}
        for one in tokenized.tokens:
            self._check_words(words[one.id], one.candidates)
        return _Whole(
            {int(one.id): one for one in tokenized.tokens},
            {int(one.id or 0): one for one in (*unpresentable, *tokenized.left_out)},
            frozenset(map(int, tokenized.lossy)),
        )

    def _are_long(self, filled: Filled) -> np.ndarray:
        """Say which sequences are longer than the model; they are cut one by one."""
        is_long_G: np.ndarray = np.zeros(len(filled.fails_G), dtype=bool)
        for side in filled.sides:
            is_long_G |= side.lengths() > self.capacity
        is_long_G &= ~filled.fails_G
        return is_long_G

    def _fitting(self, whole: _Whole) -> tuple[_Whole, int]:
        """Cut content so that every sequence fits; what does not even without content is left out.

        Returns:
            What fits, and how many sequences were cut.
        """
        kept, left_out, n_cut = fit(list(whole.tokens.values()), self.capacity)
        tokens = {int(one.id): one for one in kept}
        too_long = {int(one.id or 0): one for one in left_out}
        return _Whole(tokens, {**whole.left_out, **too_long}, whole.lossy), n_cut


def _to_compare(batch: Batch, filled: Filled) -> np.ndarray:
    """Choose records of a batch that go the whole way too: bool, G."""
    is_compared_G: np.ndarray = ~filled.fails_G & (batch.numbers_G % COMPARED == 0)
    is_compared_G[np.flatnonzero(~filled.fails_G)[:1]] = True
    return is_compared_G


def _tokens(done: Sequence[tuple[Batch, Filled]], chosen: Sequence[np.ndarray], pool: Pool) -> dict[int, Tokens]:
    """Give what some records became, one by one.

    Args:
        done: the batches, and what became of them.
        chosen: bool, G, for each batch which of its records.
        pool: what they are cut from.

    Returns:
        By their numbers, which are their ids as well.
    """
    some = [
        (batch, one, is_chosen_G) for (batch, one), is_chosen_G in zip(done, chosen, strict=True) if is_chosen_G.any()
    ]
    found: dict[int, Tokens] = {}
    if not some:
        return found
    numbers_N = np.sort(np.concatenate([batch.numbers_G[is_chosen_G] for batch, _, is_chosen_G in some]))
    sheets = []
    for side in range(max(len(one.sides) for _, one, _ in some)):
        groups = [one.sides[side].only(is_chosen_G) for _, one, is_chosen_G in some]
        placed = [group.numbered(np.searchsorted(numbers_N, group.numbers_G)) for group in groups]
        sheets.append(assemble(placed, pool, n_sequences=len(numbers_N)))
    for batch, _, is_chosen_G in some:
        about = batch.outline
        for n, gold in zip(batch.numbers_G[is_chosen_G].tolist(), batch.golds_G[is_chosen_G].tolist(), strict=True):
            place = int(np.searchsorted(numbers_N, n))
            found[n] = replace(
                sheets[0].tokens(place, id=str(n)),
                gold=None if gold < 0 else gold,
                candidates=about.candidates,
                corrupt=about.corrupt,
                decoder=sheets[1].tokens(place, id=str(n)) if len(sheets) > 1 else None,
            )
    return found


def _is_same(one: Tokens | None, other: Tokens | None) -> bool:
    """Tell whether two sequences are the same in all that they carry."""
    if one is None or other is None:
        return one is other
    pairs = [(getattr(one, name), getattr(other, name)) for name in COLUMNS]
    pairs += zip(one.candidates, other.candidates, strict=False)
    return (
        (one.gold, one.corrupt, len(one.candidates)) == (other.gold, other.corrupt, len(other.candidates))
        and all(np.array_equal(*pair) for pair in pairs)
        and _is_same(one.decoder, other.decoder)
    )


def _leaf(batches: Sequence[tuple[Batch, Filled]], pool: Pool, whole: _Whole) -> Leaf:
    """Assemble the sequences of all batches, and those that went the whole way and stand in no batch."""
    groups = [[side.only(~one.fails_G) for side in one.sides] for _, one in batches]
    fast = [sides[0].numbers_G for sides in groups]
    slow = sorted(set(whole.tokens).difference(*(numbers_G.tolist() for numbers_G in fast)))
    numbers_N = np.sort(np.concatenate([np.array(slow, dtype=np.int64), *fast]))
    tokens = [whole.tokens[n] for n in slow]
    n_sides = max([1, *(len(sides) for sides in groups), *(1 + (one.decoder is not None) for one in tokens)])
    sheets = []
    for side in range(n_sides):
        own = [one if side == 0 else one.decoder for one in tokens]
        found, joint = _with_tokens(pool, [one for one in own if one is not None], slow)
        members = [*(sides[side] for sides in groups), *found]
        placed = [group.numbered(np.searchsorted(numbers_N, group.numbers_G)) for group in members]
        sheets.append(assemble(placed, joint, n_sequences=len(numbers_N)))
    about = _About(numbers_N)
    for (batch, filled), numbers_G in zip(batches, fast, strict=True):
        known = batch.outline
        about.add(numbers_G, golds_G=batch.golds_G[~filled.fails_G], corrupt=known.corrupt, candidates=known.candidates)
    for n, one in zip(slow, tokens, strict=True):
        gold = -1 if one.gold is None else one.gold
        about.add(np.array([n]), golds_G=np.array([gold]), corrupt=one.corrupt, candidates=one.candidates)
    return about.leaf(sheets)


def _with_tokens(pool: Pool, tokens: Sequence[Tokens], numbers: Sequence[int]) -> tuple[list[Group], Pool]:
    """Put tokens into a pool behind what is there, each a group of its own."""
    if not tokens:
        return [], pool
    labels_T = pool.ids_T if pool.labels_T is None else pool.labels_T
    joint = pool_of([pool.ids_T, *(one.ids_T for one in tokens)], [labels_T, *(one.labels_T for one in tokens)])
    starts = len(pool.ids_T) + np.cumsum([0, *(len(one.ids_T) for one in tokens)])
    groups = [
        Group(np.array([n]), list(pieces_of(one, int(start))))
        for n, one, start in zip(numbers, tokens, starts, strict=False)
    ]
    return groups, joint


class _About:
    """What belongs to sequences besides their tokens, as it is found out."""

    def __init__(self, numbers_N: np.ndarray) -> None:
        self._numbers_N = numbers_N
        self._golds_N = np.full(len(numbers_N), -1, dtype=np.int32)
        self._words_N = np.full(len(numbers_N), -1, dtype=np.int32)
        self._corruptions_N = np.zeros(len(numbers_N), dtype=np.uint8)
        self._words: dict[tuple[tuple[int, ...], ...], tuple[int, Words]] = {}

    def add(self, numbers_G: np.ndarray, *, golds_G: np.ndarray, corrupt: str | None, candidates: Words) -> None:
        """Say it of some records; a gold of -1 is none."""
        places_G = np.searchsorted(self._numbers_N, numbers_G)
        self._corruptions_N[places_G] = CORRUPTIONS.index(corrupt)
        self._golds_N[places_G] = golds_G
        if candidates:
            key = tuple(tuple(ids.tolist()) for ids in candidates)
            number, _ = self._words.setdefault(key, (len(self._words), candidates))
            self._words_N[places_G] = number

    def leaf(self, sheets: Sequence[Sheet]) -> Leaf:
        """Put it beside the sequences."""
        words_N, words = in_use(self._words_N, tuple(candidates for _, candidates in self._words.values()))
        return Leaf(
            sheet=sheets[0],
            decoder=sheets[1] if len(sheets) > 1 else None,
            numbers_N=self._numbers_N,
            golds_N=self._golds_N,
            words_N=words_N,
            corruptions_N=self._corruptions_N,
            words=words,
        )


def _learned(leaf: Leaf) -> np.ndarray:
    """Say of each sequence whether the loss asks for something."""
    return (leaf.golds_N >= 0) | (leaf.corruptions_N > 0) | (leaf.target.n_learned() > 0)
