"""Texts that are nearly the same, found without comparing each with each: MinHash and locality-sensitive hashing.

A text is its set of shingles, stretches of five characters in normal form. Sixty-four minima of a hash over the set
form its sketch (Broder 1997); two texts whose four minima agree in one of sixteen bands become candidates (Indyk and
Motwani 1998): 98.8 % of pairs with a Jaccard similarity of 0.7, 99.98 % at 0.8. Candidates are then compared exactly.
Memory: 192 bytes for each text, and a slab of two million characters at a time.

Shape letters: N texts, H hashes, B bands, S shingles of a slab.
"""

from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np

from formtune.records import Conversation, Labelled, Pair, Question, Record, input_text
from formtune.splits import normalized

SHINGLE = 5
N_HASHES, N_BANDS = 64, 16
N_NEIGHBORS = 8  # of one bucket that a text is compared with, so that a bucket of many costs no more than its size
ALIKE = 0.8
_SLAB = 1 << 21


class Sketches(NamedTuple):
    """Texts as band keys (uint64, N x B) and as the low byte of each minimum (uint8, N x H)."""

    bands_NB: np.ndarray
    bytes_NH: np.ndarray


def sketches_of(texts: Sequence[str]) -> Sketches:
    """Sketch texts, slab by slab."""
    parts = [_sketched(slab) for slab in _slabs(texts)]
    if not parts:
        return Sketches(np.zeros((0, N_BANDS), np.uint64), np.zeros((0, N_HASHES), np.uint8))
    return Sketches(np.concatenate([p.bands_NB for p in parts]), np.concatenate([p.bytes_NH for p in parts]))


def pairs_within(sketches: Sketches, *, least: float = ALIKE) -> np.ndarray:
    """List candidates among texts: their numbers (P x 2), the smaller first, each pair once and in order."""
    n = len(sketches.bands_NB)
    found = [np.zeros((0, 2), np.int64)]
    for band in range(N_BANDS):
        order = np.argsort(sketches.bands_NB[:, band], kind="stable")
        keys = sketches.bands_NB[order, band]
        for step in range(1, min(N_NEIGHBORS, n - 1) + 1):
            same = np.flatnonzero(keys[step:] == keys[:-step])
            found.append(_likely(sketches, sketches, np.stack([order[same], order[same + step]], axis=1), least=least))
    return np.unique(np.concatenate(found), axis=0)


def pairs_across(ours: Sketches, others: Sketches, *, least: float = ALIKE) -> np.ndarray:
    """List candidates between two lists of texts: the number in the first, then in the second (P x 2)."""
    found = [np.zeros((0, 2), np.int64)]
    for band in range(N_BANDS):
        order = np.argsort(ours.bands_NB[:, band], kind="stable")
        keys = ours.bands_NB[order, band]
        wanted = others.bands_NB[:, band]
        first = np.searchsorted(keys, wanted)
        for step in range(N_NEIGHBORS):
            at = first + step
            hits = np.flatnonzero(at < len(keys))
            hits = hits[keys[at[hits]] == wanted[hits]]
            found.append(_likely(ours, others, np.stack([order[at[hits]], hits], axis=1), least=least))
    return np.unique(np.concatenate(found), axis=0)


def similarity(a: Record, b: Record) -> float:
    """Give the Jaccard similarity of two inputs, that of the field in which they differ most.

    Questions about one passage, and conversations under one system prompt, are as alike as what differs in them.
    """
    fields_a, fields_b = fields(a), fields(b)
    if len(fields_a) != len(fields_b):
        return 0.0
    return min((_jaccard(x, y) for x, y in zip(fields_a, fields_b, strict=True)), default=0.0)


def fields(record: Record) -> tuple[str, ...]:
    """Part what is asked into the fields that must each be alike, in normal form."""
    match record:
        case Labelled():
            texts = list(record.inputs.values())
        case Question():
            texts = [record.context or "", "\n".join((record.question, *record.choices))]
        case Pair():
            texts = [record.source]
        case Conversation():
            system = "\n".join(m.content for m in record.messages if m.role == "system")
            texts = [system, "\n".join(m.content for m in record.messages if m.role == "user")]
        case _:
            texts = [input_text(record)]
    return tuple(map(normalized, texts))


def _jaccard(a: str, b: str) -> float:
    if a == b:
        return 1.0
    ours, theirs = _shingles(a), _shingles(b)
    return len(ours & theirs) / len(ours | theirs)


@lru_cache(maxsize=4096)
def _shingles(text: str) -> frozenset[str]:
    return frozenset(text[k : k + SHINGLE] for k in range(max(1, len(text) - SHINGLE + 1)))


def _slabs(texts: Sequence[str]) -> Iterator[list[str]]:
    slab: list[str] = []
    size = 0
    for text in texts:
        slab.append(text.ljust(SHINGLE))
        size += len(text)
        if size >= _SLAB:
            yield slab
            slab, size = [], 0
    if slab:
        yield slab


@cache
def _drawn() -> tuple[np.ndarray, np.ndarray]:
    """Draw the hash functions: an odd factor and a shift for each, always the same."""
    drawn = np.random.default_rng(1997).integers(0, 1 << 63, size=(2, N_HASHES), dtype=np.uint64)
    return drawn[0] | np.uint64(1), drawn[1]


def _sketched(texts: Sequence[str]) -> Sketches:
    hashes_S, starts_N = _hashed(texts)
    bands_NB = np.zeros((len(texts), N_BANDS), np.uint64)
    bytes_NH = np.empty((len(texts), N_HASHES), np.uint8)
    scratch_S = np.empty_like(hashes_S)
    factors_H, shifts_H = _drawn()
    for h in range(N_HASHES):
        np.multiply(hashes_S, factors_H[h], out=scratch_S)
        scratch_S += shifts_H[h]
        minima_N = np.minimum.reduceat(scratch_S, starts_N)
        bytes_NH[:, h] = minima_N >> np.uint64(32)
        band = h * N_BANDS // N_HASHES
        bands_NB[:, band] = _mixed(bands_NB[:, band] ^ minima_N)
    return Sketches(bands_NB, bytes_NH)


def _hashed(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Hash every shingle of every text, and say where each text's begin."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    lengths_N = np.fromiter(map(len, texts), np.int64, len(texts))
    ends_N = np.cumsum(lengths_N)
    rolled = np.zeros(len(codes) - SHINGLE + 1, np.uint64)
    for k in range(SHINGLE):
        rolled *= np.uint64(0x9E3779B97F4A7C15)
        rolled += codes[k : len(codes) - SHINGLE + 1 + k]
    inside = np.ones(len(rolled), dtype=bool)
    across = (ends_N[:-1, None] - np.arange(1, SHINGLE)).ravel()  # shingles that begin in one text and end in the next
    inside[across] = False
    counts_N = lengths_N - SHINGLE + 1
    return _mixed(rolled[inside]), np.concatenate([[0], np.cumsum(counts_N)[:-1]])


def _mixed(values: np.ndarray) -> np.ndarray:
    """Spread the bits of 64-bit numbers (the finalizer of SplitMix64, Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = values ^ (values >> np.uint64(31))
    return mixed


def _likely(ours: Sketches, others: Sketches, pairs: np.ndarray, *, least: float) -> np.ndarray:
    """Keep the pairs whose sketches agree nearly as often as the least similarity asks: four standard errors below it."""
    if not len(pairs):
        return pairs
    agree = (ours.bytes_NH[pairs[:, 0]] == others.bytes_NH[pairs[:, 1]]).mean(axis=1)
    likely: np.ndarray = pairs[agree >= least - 4 * np.sqrt(least * (1 - least) / N_HASHES)]
    return likely
