"""Outlines filled in: the texts of many records encoded in a few calls, and parted where their bearing changes.

Where a token ends is known without characters being counted: tokens of a byte-level vocabulary stand for so many bytes
each, and those of a text add up to its bytes. A token that stands on both sides of a seam bears the most of each. Of
other vocabularies only the commonest seam is found, behind a beginning that is the same in every record.

Shape letters: T tokens of all texts, J texts, G records of one shape, K tokens of a beginning.
"""

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise
from unicodedata import is_normalized

import numpy as np

from formtune.outlines import Outline, Standing, Stretch, Writing
from formtune.shapes import Fields
from formtune.sheets import Group, Piece, Pool
from formtune.text_encoders import Follows
from formtune.tokens import Tokenizer


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Records that are laid out alike.

    Attributes:
        outline: how; its gold is that of the first.
        numbers_G: which records they are.
        fields: their texts.
        golds_G: int32, index of the right candidate, or -1.
    """

    outline: Outline
    numbers_G: np.ndarray
    fields: Fields
    golds_G: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Filled:
    """What became of a batch.

    Attributes:
        sides: for each side of its outline the pieces that its sequences are made of.
        fails_G: bool, of which records that cannot be said: a seam is not found, or a target is not in the vocabulary.
        loses_G: bool, in which records content lost characters that the vocabulary lacks.
        spells_G: bool, in which records a text spells a control token.
    """

    sides: tuple[Group, ...]
    fails_G: np.ndarray
    loses_G: np.ndarray
    spells_G: np.ndarray


@dataclass(frozen=True, eq=False)
class _Encoded:
    """All texts that follow the same, as ids.

    Attributes:
        texts: what they were.
        ids_T: their ids.
        offset: where these begin in the pool.
        ends_J: where each text ends in them.
        lengths_V: bytes that each id stands for; None where tokens do not tell.
        lost_J: bool, whether bytes were dropped.
        changed_J: bool, whether a text was brought into another form before it was encoded.
        unknown_J: bool, whether a token stands for what the vocabulary lacks.
        spells_J: bool, whether a control token is spelled.
    """

    texts: list[str]
    ids_T: np.ndarray
    offset: int
    ends_J: np.ndarray
    lengths_V: np.ndarray | None
    lost_J: np.ndarray
    changed_J: np.ndarray
    unknown_J: np.ndarray
    spells_J: np.ndarray

    @cached_property
    def n_bytes(self) -> np.ndarray | None:
        """Bytes up to the end of each token, and 0 before the first; None where tokens do not tell."""
        if self.lengths_V is None:
            return None
        return np.concatenate([[0], np.cumsum(self.lengths_V[self.ids_T], dtype=np.int64)])


def joint(batches: Sequence[Batch]) -> list[Batch]:
    """Put those together that differ in which candidate is right, and in nothing else: shapes may be as many as labels."""
    alike: dict[Hashable, list[Batch]] = {}
    for batch in batches:
        alike.setdefault((batch.outline.layout, len(batch.fields)), []).append(batch)
    return [_joined(members) if len(members) > 1 else members[0] for members in alike.values()]


def _joined(members: Sequence[Batch]) -> Batch:
    return Batch(
        members[0].outline,
        np.concatenate([batch.numbers_G for batch in members]),
        tuple([list(chain.from_iterable(column)) for column in zip(*(batch.fields for batch in members), strict=True)]),
        golds_G=np.concatenate([batch.golds_G for batch in members]),
    )


def fill(batches: Sequence[Batch], tokenizer: Tokenizer) -> tuple[list[Filled], Pool]:
    """Encode what the records of several shapes say, and tell what their sequences are made of.

    Returns:
        For each batch its pieces, and the pool that all of them are cut from.

    Raises:
        DataError: where a text yields a control token, which is a defect of the vocabulary.
    """
    wanted: dict[Follows, list[str]] = {}
    firsts: dict[tuple[int, int, int], int] = {}
    for n, batch in enumerate(batches):
        for key, writing in _writings(batch.outline):
            texts = wanted.setdefault(writing.follows, [])
            firsts[n, *key] = len(texts)
            texts += writing.texts(batch.fields, len(batch.numbers_G))
    pooled = _Pooled()
    encoded = {follows: _encode(texts, follows, tokenizer, pooled=pooled) for follows, texts in wanted.items()}
    found = []
    for n, batch in enumerate(batches):
        filler = _Filler(batch, tokenizer)
        sides = []
        for side, places in enumerate(batch.outline.sides):
            pieces: list[Piece] = []
            for k, place in enumerate(places):
                if isinstance(place, Standing):
                    pieces.append(Piece(pooled.add(place.ids_T, place.labels_T), len(place.ids_T), place.bearing))
                else:
                    pieces += filler.pieces(place, encoded[place.follows], firsts[n, side, k])
            sides.append(Group(batch.numbers_G, pieces))
        found.append(Filled(tuple(sides), filler.fails_G, filler.loses_G, filler.spells_G))
    return found, pooled.pool()


def _writings(outline: Outline) -> list[tuple[tuple[int, int], Writing]]:
    """List the texts of an outline, each with its side and its place there."""
    return [
        ((side, k), place)
        for side, places in enumerate(outline.sides)
        for k, place in enumerate(places)
        if isinstance(place, Writing)
    ]


class _Pooled:
    """Ids that are being collected, and labels where they differ."""

    def __init__(self) -> None:
        self._ids: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []
        self._differ = False
        self._n_tokens = 0

    def add(self, ids_T: np.ndarray, labels_T: np.ndarray | None = None) -> int:
        """Take ids in; give the place of the first."""
        start = self._n_tokens
        self._ids.append(ids_T)
        self._labels.append(ids_T if labels_T is None else labels_T)
        self._differ = self._differ or (labels_T is not None and not np.array_equal(ids_T, labels_T))
        self._n_tokens += len(ids_T)
        return start

    def pool(self) -> Pool:
        """Give all of them."""
        empty = [np.zeros(0, dtype=np.int32)]
        labels_T = np.concatenate(self._labels) if self._differ else None
        return Pool(np.concatenate(self._ids or empty), labels_T)


def _encode(texts: list[str], follows: Follows, tokenizer: Tokenizer, *, pooled: _Pooled) -> _Encoded:
    flat, everything = tokenizer.encode_flat(texts, follows), "".join(texts)
    unknown_J = np.zeros(len(texts), dtype=bool)
    if tokenizer.unk_id is not None:
        unknown_J[flat.owners(np.flatnonzero(flat.ids_T == tokenizer.unk_id))] = True
    return _Encoded(
        texts=texts,
        ids_T=flat.ids_T,
        offset=pooled.add(flat.ids_T),
        ends_J=flat.ends_N,
        lengths_V=tokenizer.byte_lengths,
        lost_J=np.zeros(len(texts), dtype=bool) if flat.is_whole else _lost(texts, everything, tokenizer),
        changed_J=_changed(texts, everything, tokenizer),
        unknown_J=unknown_J,
        spells_J=spelling(texts, tokenizer, everything=everything),
    )


def _lost(texts: list[str], everything: str, tokenizer: Tokenizer) -> np.ndarray:
    """Say of each text whether the vocabulary lacks some of its bytes; all are looked at at once, which mostly says no."""
    if tokenizer.missing_bytes and tokenizer.lost(everything):
        return np.array([bool(tokenizer.lost(text)) for text in texts])
    return np.zeros(len(texts), dtype=bool)


def _changed(texts: list[str], everything: str, tokenizer: Tokenizer) -> np.ndarray:
    """Say of each text whether it was not in the form that texts are brought into; of all at once, likewise."""
    form = tokenizer.normal_form
    if form and not everything.isascii() and not is_normalized(form, everything):
        return np.array([not is_normalized(form, text) for text in texts], dtype=bool)
    return np.zeros(len(texts), dtype=bool)


def spelling(texts: Sequence[str], tokenizer: Tokenizer, *, everything: str | None = None) -> np.ndarray:
    """Say of each text whether it spells a control token, which stays text.

    All are searched at once, for the characters that control tokens begin with, since few texts spell one.

    Args:
        texts: any.
        tokenizer: the model's.
        everything: the texts behind one another, where they were joined already.

    Returns:
        bool, J.
    """
    everything = "".join(texts) if everything is None else everything
    spells_J = np.zeros(len(texts), dtype=bool)
    places = []
    for first in {control[0] for control in tokenizer.controls}:
        others = "|".join(re.escape(control[1:]) for control in tokenizer.controls if control[0] == first)
        places += [match.span() for match in re.finditer(f"{re.escape(first)}(?:{others})", everything)]
    if places:
        ends_J = np.cumsum(list(map(len, texts)))
        firsts, lasts = (np.searchsorted(ends_J, ends, side="right") for ends in (np.array(places) - (0, 1)).T)
        spells_J[firsts[firsts == lasts]] = True  # one that stands across two texts is none
    return spells_J


@dataclass(frozen=True, slots=True, eq=False)
class _Own:
    """One text of each record of a batch, among all that follow the same: where its ids begin and end."""

    encoded: _Encoded
    texts: Sequence[str]
    changed_G: np.ndarray
    starts_G: np.ndarray
    ends_G: np.ndarray


_Seam = tuple[np.ndarray, np.ndarray]  # where the tokens before it end, and those behind it begin: one may stand on it


class _Filler:
    """Finds the pieces of one batch.

    Attributes:
        fails_G: as in :class:`Filled`.
        loses_G: likewise.
        spells_G: likewise.
    """

    def __init__(self, batch: Batch, tokenizer: Tokenizer) -> None:
        self._fields, self._n_records = batch.fields, len(batch.numbers_G)
        self._tokenizer = tokenizer
        self.fails_G, self.loses_G, self.spells_G = np.zeros((3, self._n_records), dtype=bool)

    def pieces(self, writing: Writing, encoded: _Encoded, first: int) -> list[Piece]:
        """Give the pieces of one text of each record; records in which they cannot be told fail.

        Args:
            writing: the text.
            encoded: all texts that follow the same.
            first: the place of the first record's among them.
        """
        own = slice(first, first + self._n_records)
        ends_G = encoded.ends_J[own]
        starts_G = np.concatenate([encoded.ends_J[first - 1 : first] if first else [0], ends_G[:-1]])
        self.fails_G |= encoded.lost_J[own]
        self.spells_G |= encoded.spells_J[own]
        if writing.is_target:
            self.fails_G |= encoded.unknown_J[own]
        else:
            self.loses_G |= encoded.unknown_J[own]
        return self._parted(writing, _Own(encoded, encoded.texts[own], encoded.changed_J[own], starts_G, ends_G))

    def _parted(self, writing: Writing, own: _Own) -> list[Piece]:
        offset, place_G = own.encoded.offset, own.starts_G
        pieces = []
        for (before_G, behind_G), (this, following) in zip(
            self._seams(writing, own), pairwise(writing.stretches), strict=True
        ):
            self.fails_G |= before_G < place_G  # one token on two seams
            pieces.append(Piece(place_G + offset, before_G - place_G, this.bearing))
            pieces.append(Piece(before_G + offset, behind_G - before_G, this.bearing.most(following.bearing)))
            place_G = behind_G
        return [*pieces, Piece(place_G + offset, own.ends_G - place_G, writing.stretches[-1].bearing)]

    def _seams(self, writing: Writing, own: _Own) -> list[_Seam]:
        stretches = writing.stretches
        if len(stretches) == 1:
            return []
        if own.encoded.n_bytes is not None:
            self.fails_G |= own.changed_G
            return self._seams_by_bytes(stretches[:-1], own.encoded.n_bytes, own.starts_G)
        if len(stretches) == 2 and stretches[0].is_fixed:
            return [self._seam_behind(stretches[0].texts((), 1)[0], writing.follows, own)]
        self.fails_G[:] = True
        return [(own.starts_G, own.starts_G)] * (len(stretches) - 1)

    def _seams_by_bytes(self, stretches: Sequence[Stretch], bytes_T: np.ndarray, starts_G: np.ndarray) -> list[_Seam]:
        reached_G = bytes_T[starts_G]
        seams = []
        for stretch in stretches:
            reached_G = reached_G + stretch.n_bytes(self._fields, self._n_records)
            behind_G = np.minimum(np.searchsorted(bytes_T, reached_G, side="left"), len(bytes_T) - 1)
            seams.append((behind_G - (bytes_T[behind_G] != reached_G), behind_G))
        return seams

    def _seam_behind(self, beginning: str, follows: Follows, own: _Own) -> _Seam:
        """Find the seam behind a beginning, whose ids the text must begin with, and with a letter behind it."""
        ids_K = self._tokenizer.encode_flat([beginning], follows).ids_T
        goes_on_G = np.array([text[len(beginning)].isalnum() for text in own.texts])
        fits_G = goes_on_G & (own.ends_G - own.starts_G > len(ids_K))
        places_GK = own.starts_G[fits_G][:, None] + np.arange(len(ids_K))
        fits_G[fits_G] = (own.encoded.ids_T[places_GK] == ids_K).all(axis=1)
        self.fails_G |= ~fits_G
        behind_G = own.starts_G + np.where(fits_G, len(ids_K), 0)
        return behind_G, behind_G
