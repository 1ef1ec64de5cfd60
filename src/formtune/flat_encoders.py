"""Texts to ids, all in one array, by Hugging Face's encoder or by a faster library that encodes as it does.

The others are built from the JSON of the very encoder that they stand for: the model's vocabulary and rules without its
control tokens (:mod:`formtune.text_encoders`). Whether one is right for a vocabulary is no matter of trust:
:mod:`formtune.encoder_proofs` compares it with the reference before it is used.

All of them work with as many threads as ``RAYON_NUM_THREADS`` says when they first encode, else with one for each
processor of the process. Where several processes encode at the same time, let it be 1 in their environment.

Shape letters: T tokens, N texts.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from importlib import metadata
from itertools import chain
from typing import Any, Protocol

import numpy as np
import tokenizers
from tokenizers import pre_tokenizers

FORGET_CHARACTERS = 1 << 27  # of text, after which gigatoken is built anew: at worst a gigabyte of words by then
_RARE = 0x20000  # from here on: ideographs outside daily use, tags, private use


@dataclass(frozen=True, slots=True, eq=False)
class Flat:
    """The ids of some texts, one text after another.

    Attributes:
        ids_T: int32, of all texts.
        ends_N: int64, for each text the place in ``ids_T`` where its ids end and those of the next begin.
        is_whole: whether the encoder knows that the vocabulary lacks no byte of the texts; else nobody has looked.
    """

    ids_T: np.ndarray
    ends_N: np.ndarray
    is_whole: bool = False

    def of(self, n: int) -> np.ndarray:
        """Give the ids of one text, by its number from 0."""
        return self.ids_T[self.ends_N[n - 1] if n else 0 : self.ends_N[n]]

    def between(self, begin: int, end: int) -> "Flat":
        """Give some of the texts, from one number up to another."""
        first = self.ends_N[begin - 1] if begin else 0
        ends_N = self.ends_N[begin:end] - first
        return Flat(self.ids_T[first : first + ends_N[-1]] if len(ends_N) else self.ids_T[:0], ends_N)

    def owners(self, places_T: np.ndarray) -> np.ndarray:
        """Give the number of the text that each place of ``ids_T`` belongs to."""
        return np.searchsorted(self.ends_N, places_T, side="right")

    def replaced(self, numbers_N: np.ndarray, others: "Flat") -> "Flat":
        """Put other ids in place of those of some texts.

        Args:
            numbers_N: of the texts, ascending, each once.
            others: their ids, in this order.
        """
        before_N = np.diff(self.ends_N, prepend=0)
        after_N = before_N.copy()
        after_N[numbers_N] = np.diff(others.ends_N, prepend=0)
        is_other_N = np.zeros(len(before_N), dtype=bool)
        is_other_N[numbers_N] = True
        is_other_T = np.repeat(is_other_N, after_N)
        ids_T = np.empty(len(is_other_T), dtype=np.int32)
        ids_T[is_other_T] = others.ids_T
        ids_T[~is_other_T] = self.ids_T[~np.repeat(is_other_N, before_N)]
        return Flat(ids_T, np.cumsum(after_N))


class FlatEncoder(Protocol):
    """What turns texts into ids.

    Attributes:
        name: of the library.
        version: of the library.
    """

    name: str
    version: str

    def encode(self, texts: Sequence[str]) -> Flat:
        """Encode texts; what is raised for what is no text is what the reference raises."""


class Reference:
    """Hugging Face's encoder itself."""

    name = "tokenizers"
    version = tokenizers.__version__

    def __init__(self, encoder: tokenizers.Tokenizer) -> None:
        self._encoder = encoder

    def encode(self, texts: Sequence[str]) -> Flat:
        """Encode texts; every id passes through a Python list, which takes a small part of the time."""
        lists = [one.ids for one in self._encoder.encode_batch_fast(list(texts))]
        ends_N = np.cumsum(np.fromiter(map(len, lists), dtype=np.int64, count=len(lists)))
        n_ids = int(ends_N[-1]) if lists else 0
        return Flat(np.fromiter(chain.from_iterable(lists), dtype=np.int32, count=n_ids), ends_N)


Encode = Callable[[list[str]], Flat]


@dataclass(frozen=True, slots=True)
class Library:
    """A library that may stand for the reference.

    Attributes:
        package: its name on the package index.
        build: makes the function that encodes out of an encoder's JSON; whatever it raises says that it cannot.
    """

    package: str
    build: Callable[[str], Encode]

    @property
    def version(self) -> str | None:
        """The version that is installed, or None."""
        try:
            return metadata.version(self.package)
        except metadata.PackageNotFoundError:
            return None


class Fast:
    """A library in place of the reference, which keeps the texts that the library gets wrong.

    A vocabulary may lack single bytes (SmolLM2's lacks 21), which the reference drops before it merges what is left.
    For them the library gets dummies beyond all ids, and texts whose ids hold one are encoded by the reference. So are
    texts with a word that a Unigram vocabulary does not know, of which several are made one by a rule of their own, and
    texts that hold a character which the library is known to see in another way.

    Attributes:
        disputed: these characters.
    """

    def __init__(self, library: Library, encoder: tokenizers.Tokenizer) -> None:
        """Build it, without disputed characters."""
        self.name, self.version = library.package, library.version or ""
        self.disputed = ""
        self._reference = Reference(encoder)
        self._process = os.getpid()
        self._spec = _with_every_byte(encoder)
        self._encode = library.build(self._spec.text)
        self._is_disputed_C = np.zeros(0, dtype=bool)

    def sparing(self, disputed: str) -> "Fast":
        """Give it with disputed characters; where there are any, those beyond U+1FFFF are disputed too."""
        made = copy(self)
        made.disputed = disputed
        if disputed:
            made._is_disputed_C = np.zeros(sys.maxunicode + 1, dtype=bool)
            made._is_disputed_C[list(map(ord, disputed))] = True
            made._is_disputed_C[_RARE:] = True
        return made

    def encode(self, texts: Sequence[str]) -> Flat:
        """Encode texts; a process that was forked from the one that built it gets the reference."""
        if not texts or os.getpid() != self._process:  # the library's threads are not there, and it would wait for them
            return self._reference.encode(texts)
        left_N = self._with_disputed(texts)
        asked = list(texts)
        for n in left_N:
            asked[n] = ""
        try:
            found = self._encode(asked)
        except (TypeError, UnicodeEncodeError):  # a surrogate, for which the reference has its own words
            return self._reference.encode(texts)
        if len(doubtful_T := self._spec.doubtful(found.ids_T)):
            left_N = np.union1d(left_N, found.owners(doubtful_T))
        if len(left_N):
            return found.replaced(left_N, self._reference.encode([texts[n] for n in left_N]))
        return replace(found, is_whole=self._spec.shows_lost)

    def _with_disputed(self, texts: Sequence[str]) -> np.ndarray:
        """Give the numbers of the texts that hold a disputed character; none is ASCII."""
        numbers_N = np.array(
            [n for n, text in enumerate(texts) if not text.isascii()] if self.disputed else [], dtype=int
        )
        if not len(numbers_N):
            return numbers_N
        others = [texts[n] for n in numbers_N]
        codes_C = np.frombuffer("".join(others).encode("utf-32-le", "surrogatepass"), dtype="<u4")
        ends_N = np.cumsum(np.fromiter(map(len, others), dtype=np.int64, count=len(others)))
        places_C = np.flatnonzero(self._is_disputed_C[codes_C])
        return numbers_N[np.unique(np.searchsorted(ends_N, places_C, side="right"))]


@dataclass(frozen=True, slots=True)
class _Spec:
    """An encoder's JSON with an entry for each byte.

    Attributes:
        text: the JSON.
        first_dummy: the first id that is none of the encoder's own.
        unknown: Unigram's id for what it does not know, or -1.
        shows_lost: whether a text in which the vocabulary lacks a byte has a dummy, and no other has.
    """

    text: str
    first_dummy: int
    unknown: int
    shows_lost: bool

    def doubtful(self, ids_T: np.ndarray) -> np.ndarray:
        """Give the places of ids for which the reference has another answer."""
        if self.unknown < 0 and np.max(ids_T, initial=-1) < self.first_dummy:
            return np.zeros(0, dtype=np.int64)
        return np.flatnonzero((ids_T >= self.first_dummy) | (ids_T == self.unknown))


def _with_every_byte(encoder: tokenizers.Tokenizer) -> _Spec:
    spec = encoder.to_str()
    parts: dict[str, Any] = json.loads(spec)
    first = 1 + max(encoder.get_vocab(with_added_tokens=True).values(), default=-1)
    model = parts["model"]
    if model["type"] != "BPE" or model.get("byte_fallback"):
        unknown = model.get("unk_id")
        return _Spec(spec, first, -1 if unknown is None else unknown, shows_lost=False)
    lacking = set(pre_tokenizers.ByteLevel.alphabet()) - model["vocab"].keys()
    in_others = any(not lacking.isdisjoint(piece) for piece in model["vocab"])
    model["vocab"] |= {char: first + n for n, char in enumerate(sorted(lacking))}
    return _Spec(json.dumps(parts) if lacking else spec, first, -1, shows_lost=not in_others)


def _gigatoken(spec: str) -> Encode:
    """Encode byte-level BPE, and BPE with byte fallback; it is built anew now and then, since it forgets no word."""
    import gigatoken

    engine, n_read = gigatoken.Tokenizer.from_json(spec), 0

    def encode(texts: list[str]) -> Flat:
        import awkward

        nonlocal engine, n_read
        if n_read > FORGET_CHARACTERS:
            engine, n_read = gigatoken.Tokenizer.from_json(spec), 0
        n_read += sum(map(len, texts))
        rows = engine.encode_batch(texts)
        ends_N = np.cumsum(awkward.to_numpy(awkward.num(rows)), dtype=np.int64)
        return Flat(awkward.to_numpy(awkward.flatten(rows)).astype(np.uint32, copy=False).view(np.int32), ends_N)

    return encode


def _splintr(spec: str) -> Encode:
    """Encode BPE of either kind, WordPiece and Unigram."""
    import splintr

    engine = splintr.from_json_bytes(spec.encode())

    def encode(texts: list[str]) -> Flat:
        ids, ends = engine.encode_batch_flat(texts)
        ends_N = np.frombuffer(ends, dtype="<u8")[1:].astype(np.int64)
        return Flat(np.frombuffer(ids, dtype="<i4"), ends_N)

    return encode


LIBRARIES = (Library("gigatoken", _gigatoken), Library("splintr-rs", _splintr))


def fastest_first(encoder: tokenizers.Tokenizer) -> tuple[Library, ...]:
    """Order the libraries by how fast they encode a vocabulary of this kind (``benchmarks/tokenizer_engines.py``)."""
    return LIBRARIES[::-1] if getattr(encoder.model, "byte_fallback", False) else LIBRARIES
