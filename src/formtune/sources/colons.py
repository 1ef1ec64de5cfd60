"""Colons of JSON texts that may part a key from its value: as many as there are keys, or more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_COLON, _QUOTE, _BACKSLASH, _BREAK, _OPEN, _CLOSE = b':"\\\n{}'
_BEFORE = np.isin(np.arange(256), list(b'" \t\r\n'))


@dataclass(frozen=True, slots=True)
class Colons:
    """The colons of JSON texts that stand behind a bare quote or white space.

    Every key of a JSON text has such a colon. A string can hold one only behind white space, since its quotes are escaped.

    Attributes:
        bytes_N: the texts, one after another.
        colons_C: where the colons stand in them.
    """

    bytes_N: npt.NDArray[np.uint8]
    colons_C: npt.NDArray[np.int64]

    @property
    def total(self) -> int:
        """How many there are in all texts."""
        return len(self.colons_C)

    def are_lines(self, n_rows: int) -> bool:
        """Say whether so many objects stand in the text, one in each line.

        Only between two objects does a line break stand between braces alone.
        """
        breaks_B = self._breaks()
        before_B, behind_B = self.bytes_N[breaks_B - 1], self.bytes_N[breaks_B + 1]
        return len(breaks_B) == n_rows - 1 and bool(np.all((before_B == _CLOSE) & (behind_B == _OPEN)))

    def in_lines(self, places: Mapping[bytes, int]) -> list[int]:
        """Count the colons of each line, as :meth:`in_texts` does those of each text."""
        return self._counts(np.append(self._breaks(), len(self.bytes_N)), places)

    def _breaks(self) -> npt.NDArray[np.int64]:
        """Give the places of line breaks, that behind the last line aside."""
        return np.flatnonzero(self.bytes_N[:-1] == _BREAK)

    def in_texts(self, texts: Sequence[bytes], places: Mapping[bytes, int]) -> list[int]:
        """Count the colons of each text.

        Args:
            texts: those that were looked through.
            places: of keys that must stand there, among the keys of a text: from 0, or from -1 at the end.

        Returns:
            One number a text; -1 where a key that is asked for does not stand at its place.
        """
        return self._counts(np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts))), places)

    def _counts(self, ends_T: npt.NDArray[np.int64], places: Mapping[bytes, int]) -> list[int]:
        behind_T = np.searchsorted(self.colons_C, ends_T)
        counts_T = np.diff(behind_T, prepend=0)
        is_there_T = np.ones(len(ends_T), np.bool_)
        for key, place in places.items():
            is_there_T &= self._stands(key, behind_T + place if place < 0 else behind_T - counts_T + place)
        found: list[int] = np.where(is_there_T, counts_T, -1).tolist()
        return found

    def _stands(self, key: bytes, at_T: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Say of each text whether the quoted key stands right before the colon of a given place."""
        is_there_T = (at_T >= 0) & (at_T < self.total)
        if not self.total:
            return is_there_T
        ends_T = self.colons_C[np.where(is_there_T, at_T, 0)]
        for back, byte in enumerate(reversed(b'"' + key + b'"'), 1):
            is_there_T &= self.bytes_N[ends_T - back] == byte
        return is_there_T


def find_colons(texts: Sequence[bytes]) -> Colons:
    """Look through texts; before the first byte of all, where no key ends, the last one is taken to stand."""
    bytes_N = np.frombuffer(b"".join(texts), np.uint8)
    colons_C = np.flatnonzero(bytes_N == _COLON)
    before_C = bytes_N[colons_C - 1]
    is_escaped_C = (before_C == _QUOTE) & (bytes_N[colons_C - 2] == _BACKSLASH)
    return Colons(bytes_N, colons_C[_BEFORE[before_C] & ~is_escaped_C])
