"""Which library encodes for a vocabulary: the fastest that gave the very ids of the reference, text for text.

Fast libraries write the rules of hundreds of tokenizers out anew, and are right for most vocabularies. So one is used
for an encoder only after it was compared with Hugging Face's on texts made for that vocabulary
(:mod:`formtune.encoder_probes`), and on a sample of the data at hand. What came of the first is kept below the cache
folder, under the digest of all that it depends on; the sample is compared every time.
"""

import hashlib
import json
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, get_args

import numpy as np
import tokenizers

from formtune import encoder_probes, proof_store
from formtune.flat_encoders import Fast, Flat, FlatEncoder, Library, Reference, fastest_first
from formtune.proof_store import Proof
from formtune.text_encoders import Follows, TextEncoders

SAMPLE_TEXTS = 256
SAMPLE_CHARACTERS = 65_536  # of all texts of the sample: the reference encodes them in hundredths of a second
_LONGEST = 4_096  # characters of one text of the sample
_FEW, _EVERY = 7, 100  # so many texts of every so many once more in a small call, which libraries treat in another way
_MOST_BLOCKS = 128  # of 256 characters, in which some may be taken for others
_DAILY = "\u0300"  # letters below are in texts everywhere
_SHOWN, _IDS = 60, 12  # characters and ids of a text that is told


@dataclass(frozen=True, slots=True)
class Choice:
    """Which library encodes, and why.

    Attributes:
        name: of the library.
        version: of it.
        proof: the digest under which its proof is kept; empty for the reference, which needs none.
        n_disputed: characters whose texts are left to the reference.
        others: faster libraries that were not taken, each with the reason.
    """

    name: str
    version: str
    proof: str = ""
    n_disputed: int = 0
    others: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain values, for a manifest."""
        return asdict(self)


_REFERENCE = Choice(Reference.name, Reference.version)


class Unfit(Exception):
    """A library cannot stand for an encoder; its text is a clause that says why."""


class Engines:
    """What encodes a tokenizer's texts: the reference, until :meth:`choose` finds something faster.

    Attributes:
        choices: the library that encodes texts, by what stands before them.
    """

    def __init__(self, encoders: TextEncoders, controls: Collection[str]) -> None:
        self._encoders = encoders
        self._controls = controls
        self._chosen: dict[Follows, FlatEncoder] = {}
        self._admitted: dict[int, tuple[FlatEncoder, Choice]] = {}  # by the encoder that it stands for
        self.choices: dict[Follows, Choice] = dict.fromkeys(get_args(Follows), _REFERENCE)

    def encode(self, texts: Sequence[str], follows: Follows) -> Flat:
        """Encode texts that follow nothing, a control token, or text, to the ids of the model."""
        if follows not in self._chosen:
            self._chosen[follows] = Reference(self._encoders.get(follows))
        found = self._chosen[follows].encode(texts)
        return replace(found, ids_T=self._encoders.true_ids(found.ids_T))

    def choose(self, sample: Sequence[str]) -> None:
        """Take the fastest libraries that hold for this vocabulary and on a sample of the data at hand.

        The first time for a vocabulary it takes a processor about 7 s for each library and encoder, as long as the
        reference takes for 20 MB of text; later half a second at most, and in the same process as long as the reference
        takes for the sample.

        Args:
            sample: texts like those that will be encoded; of more than 256 some are drawn.
        """
        found: dict[int, tuple[FlatEncoder, Choice]] = {}
        for follows in get_args(Follows):
            encoder = self._encoders.get(follows)  # of many vocabularies the same, whatever stands before
            if id(encoder) not in found:
                known = self._admitted.get(id(encoder))
                is_sure = known is not None and holds(known[0], encoder, sample)
                found[id(encoder)] = (is_sure and known) or admitted(encoder, controls=self._controls, sample=sample)
            self._chosen[follows], self.choices[follows] = found[id(encoder)]
        self._admitted = found


def holds(engine: FlatEncoder, encoder: tokenizers.Tokenizer, sample: Sequence[str]) -> bool:
    """Say whether an engine that was admitted encodes a sample of other data as the reference does."""
    texts = drawn(sample)
    found, right = engine.encode(texts), Reference(encoder).encode(texts)
    return np.array_equal(found.ids_T, right.ids_T) and np.array_equal(found.ends_N, right.ends_N)


def admitted(
    encoder: tokenizers.Tokenizer,
    *,
    controls: Collection[str] = (),
    sample: Sequence[str] = (),
    libraries: Sequence[Library] | None = None,
) -> tuple[FlatEncoder, Choice]:
    """Give the first library that holds for an encoder, else the reference; and say which, and why no other.

    Args:
        encoder: of text, which knows no control token.
        controls: texts of the control tokens.
        sample: texts of the data at hand, of which at most 256, with 65,536 characters in all, are compared.
        libraries: those that are tried, in this order; None: all, the fastest first.
    """
    trial = _Trial(encoder, controls, sample)
    others: dict[str, str] = {}
    for library in fastest_first(encoder) if libraries is None else libraries:
        version = library.version
        if version is None:
            others[library.package] = "it is not installed"
            continue
        about = Proof(trial.digest(library.package, version), library.package, version)
        try:
            engine = trial.passed(library, about)
        except Unfit as unfit:
            others[library.package] = str(unfit)
            continue
        return engine, Choice(library.package, version, about.digest, len(engine.disputed), others)
    return trial.reference, replace(_REFERENCE, others=others)


class _Trial:
    """One encoder, what libraries are compared on, and what the reference makes of it."""

    def __init__(self, encoder: tokenizers.Tokenizer, controls: Collection[str], sample: Sequence[str]) -> None:
        self.reference = Reference(encoder)
        self._encoder = encoder
        self._controls = controls
        self._sample = sample
        self._spec = hashlib.sha256(encoder.to_str().encode()).hexdigest()

    def digest(self, package: str, version: str) -> str:
        """Digest all that a proof depends on; engines have code of their own for some processors."""
        told = [
            self._spec,
            package,
            version,
            Reference.version,
            encoder_probes.VERSION,
            proof_store.processor(),
            *sorted(self._controls),
        ]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def passed(self, library: Library, about: Proof) -> Fast:
        """Give a library's encoder that was proved, now or before, and encodes the sample as the reference does.

        Raises:
            Unfit: where there is none.
        """
        kept = proof_store.kept(about.digest)
        if kept is not None and kept.reason:
            raise Unfit(kept.reason)
        try:
            engine = self._proved(library, kept)
            self._compare(engine, *self._data)
        except Unfit as unfit:  # found on the data of today, it is not trusted with those of tomorrow either
            proof_store.keep(replace(about, reason=str(unfit)))
            raise
        if kept is None:
            proof_store.keep(replace(about, disputed=engine.disputed))
        return engine

    def _proved(self, library: Library, kept: Proof | None) -> Fast:
        with _refusals("it refuses the vocabulary"):
            engine = Fast(library, self._encoder)
        if kept is not None:
            return engine.sparing(kept.disputed)
        with _refusals("it fails to encode"):
            engine = engine.sparing(self._disputed(engine))
        self._compare(engine, *self._characters)
        self._compare(engine, *self._probes)
        return engine

    def _disputed(self, engine: Fast) -> str:
        """Find the characters that an engine takes for others, in the blocks that it encodes in another way."""
        texts, right = self._characters
        wrong_N = unlike(engine.encode(texts), right)
        blocks = encoder_probes.characters()
        numbers = np.unique(wrong_N // (len(texts) // len(blocks)))
        if len(numbers) > _MOST_BLOCKS:
            raise Unfit(self._told(engine, texts[wrong_N[0]]))
        suspects = [character for n in numbers for character in blocks[n] if not character.isascii()]
        around = list(map(encoder_probes.alone, suspects))
        found = "".join(suspects[n] for n in unlike(engine.encode(around), self.reference.encode(around)))
        if found and min(found) < _DAILY:
            raise Unfit(self._told(engine, encoder_probes.alone(min(found))))
        return found

    @cached_property
    def _characters(self) -> tuple[list[str], Flat]:
        texts = [text for block in encoder_probes.characters() for text in encoder_probes.between(block)]
        return texts, self.reference.encode(texts)

    @cached_property
    def _probes(self) -> tuple[list[str], Flat]:
        texts = encoder_probes.probes(self._encoder, self._controls)
        return texts, self.reference.encode(texts)

    @cached_property
    def _data(self) -> tuple[list[str], Flat]:
        texts = drawn(self._sample)
        return texts, self.reference.encode(texts)

    def _compare(self, engine: FlatEncoder, texts: list[str], right: Flat) -> None:
        """Let an engine encode texts, all at once and some in small calls, and hold it to the ids of the reference.

        Raises:
            Unfit: where one text is encoded in another way, or the engine fails.
        """
        parts = [(0, len(texts)), *((n, min(n + _FEW, len(texts))) for n in range(0, len(texts), _EVERY))]
        with _refusals("it fails to encode"):
            for begin, end in parts:
                wrong_N = unlike(engine.encode(texts[begin:end]), right.between(begin, end))
                if len(wrong_N):
                    raise Unfit(self._told(engine, texts[begin + wrong_N[0]]))

    def _told(self, engine: FlatEncoder, text: str) -> str:
        """Say how a text is encoded in another way; a part of it where that alone is."""
        if not self._is_unlike(engine, text):
            return f"it encodes {_shown(text)} in another way where other texts stand beside it"
        text = smallest(text, lambda part: self._is_unlike(engine, part))
        wrong, right = (one.encode([text]).ids_T[:_IDS].tolist() for one in (engine, self.reference))
        return f"it encodes {_shown(text)} as {wrong} and not as {right}"

    def _is_unlike(self, engine: FlatEncoder, text: str) -> bool:
        return bool(len(unlike(engine.encode([text]), self.reference.encode([text]))))


@contextmanager
def _refusals(what: str) -> Iterator[None]:
    """Let whatever goes wrong in a library say that it is unfit.

    Raises:
        Unfit: where anything does.
    """
    try:
        yield
    except Unfit:
        raise
    except BaseException as error:
        # Libraries end in errors of their own, and in panics, which are no ``Exception``.
        if isinstance(error, (KeyboardInterrupt, SystemExit, MemoryError)):
            raise
        told = str(error).strip().split("\n\n")[0]
        raise Unfit(f"{what} ({' '.join(told.split())[:200]})") from error


def drawn(sample: Sequence[str], *, seed: int = 0) -> list[str]:
    """Draw what is compared of the data at hand; what cannot be written as UTF-8 is replaced by question marks."""
    texts = random.Random(seed).sample(sample, SAMPLE_TEXTS) if len(sample) > SAMPLE_TEXTS else sample
    left, found = SAMPLE_CHARACTERS, []
    for text in texts:
        part = text[: min(left, _LONGEST)]
        found.append(part.encode("utf-8", "replace").decode())
        left -= len(part)
    return found


def unlike(found: Flat, right: Flat) -> np.ndarray:
    """Give the numbers of the texts whose ids differ.

    Raises:
        Unfit: where there are more or fewer texts.

    >>> right = Flat(np.array([5, 6, 7]), np.array([1, 1, 3]))
    >>> unlike(Flat(np.array([5, 6, 8]), np.array([1, 1, 3])), right).tolist()
    [2]
    >>> unlike(Flat(np.array([5, 6, 7]), np.array([1, 2, 3])), right).tolist()
    [1, 2]
    """
    if len(found.ends_N) != len(right.ends_N):
        raise Unfit(f"it gives {len(found.ends_N):,} answers to {len(right.ends_N):,} texts")
    found_N, right_N = (np.diff(one.ends_N, prepend=0) for one in (found, right))
    is_as_long_N = found_N == right_N
    differs_T = found.ids_T[np.repeat(is_as_long_N, found_N)] != right.ids_T[np.repeat(is_as_long_N, right_N)]
    owners_T = np.repeat(np.flatnonzero(is_as_long_N), right_N[is_as_long_N])
    return np.union1d(np.flatnonzero(~is_as_long_N), owners_T[differs_T])


def smallest(text: str, holds: Callable[[str], bool]) -> str:
    """Cut a text down while something holds of it: into halves, then from either side.

    >>> smallest("aaaaaaabcaaaaaaaaaaaa", lambda part: "bc" in part)
    'bc'
    """
    step = len(text) // 2
    while step:
        shorter = next((part for part in (text[step:], text[:-step]) if holds(part)), None)
        if shorter is None:
            step //= 2
        else:
            text = shorter
            step = min(step, len(text) // 2)
    return text


def _shown(text: str) -> str:
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}... ({len(text):,} characters)"
