"""What became of some records: their sequences, and for each what belongs to it besides tokens.

Shape letter: N sequences.
"""

from dataclasses import dataclass, replace

import numpy as np

from formtune.sheets import Sheet, take
from formtune.tokens import Tokens

CORRUPTIONS = (None, "tokens", "spans")
Words = tuple[np.ndarray, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """Sequences with all that belongs to them.

    Attributes:
        sheet: the sequences; for an encoder-decoder what the encoder sees.
        decoder: what its decoder sees, else None.
        numbers_N: int64, which record each sequence is of; ascending.
        golds_N: int32, index of the right candidate, or -1.
        words_N: int32, which of ``words`` are a sequence's candidates, or -1.
        corruptions_N: uint8, which of :data:`CORRUPTIONS` it gets.
        words: ids of candidates, each list of them once, in the order in which sequences first have them.
    """

    sheet: Sheet
    decoder: Sheet | None
    numbers_N: np.ndarray
    golds_N: np.ndarray
    words_N: np.ndarray
    corruptions_N: np.ndarray
    words: tuple[Words, ...]

    def __len__(self) -> int:
        """Count the sequences."""
        return len(self.sheet)

    @property
    def target(self) -> Sheet:
        """The side on which something is learned."""
        return self.sheet if self.decoder is None else self.decoder

    def tokens(self, number: int, *, id: str = "") -> Tokens:
        """Give one sequence with all that belongs to it."""
        gold, words = int(self.golds_N[number]), int(self.words_N[number])
        return replace(
            self.sheet.tokens(number, id=id),
            gold=None if gold < 0 else gold,
            candidates=self.words[words] if words >= 0 else (),
            decoder=None if self.decoder is None else self.decoder.tokens(number, id=id),
            corrupt=CORRUPTIONS[self.corruptions_N[number]],
        )

    def taken(self, places_N: np.ndarray) -> "Leaf":
        """Keep some sequences, by their places in ascending order."""
        words_N, words = in_use(self.words_N[places_N], self.words)
        return Leaf(
            sheet=take(self.sheet, places_N),
            decoder=None if self.decoder is None else take(self.decoder, places_N),
            numbers_N=self.numbers_N[places_N],
            golds_N=self.golds_N[places_N],
            words_N=words_N,
            corruptions_N=self.corruptions_N[places_N],
            words=words,
        )


def in_use(words_N: np.ndarray, words: tuple[Words, ...]) -> tuple[np.ndarray, tuple[Words, ...]]:
    """Leave out what no sequence has, and number the others as they come."""
    found, firsts = np.unique(words_N, return_index=True)
    ordered = [number for number in found[np.argsort(firsts)].tolist() if number >= 0]
    number_of = np.full(len(words) + 1, -1, dtype=np.int32)  # the last stands for -1
    number_of[ordered] = np.arange(len(ordered))
    return number_of[words_N], tuple(words[number] for number in ordered)
