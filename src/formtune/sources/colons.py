"""Colons of JSON texts that may part a key from its value: as many as there are keys, or more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_COLON, _QUOTE, _BACKSLASH = b':"\\'
_BEFORE = np.isin(np.arange(256), list(b'" \t\r\n'))


@dataclass(frozen=True, slots=True)
class Colons:
    """Counts colons, text by text, and asks which keys stand before some of them.

    Attributes:
        keys: that must stand at their places among the keys of a text, counted from 0, or from -1 at the end.
    """

    keys: Mapping[bytes, int]

    def in_texts(self, texts: Sequence[bytes]) -> list[int]:
        """Count in each text the colons that stand behind a bare quote or white space.

        Every key of a JSON value has such a colon. A string can hold one only behind white space, since its quotes are
        escaped.

        Returns:
            One number a text; -1 where a key that is asked for does not stand at its place.
        """
        bytes_N = np.frombuffer(b"".join(texts), np.uint8)
        colons_C = _of_keys(bytes_N)
        ends_T = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
        behind_T = np.searchsorted(colons_C, ends_T)
        counts_T = np.diff(behind_T, prepend=0)
        is_there_T = np.ones(len(texts), np.bool_)
        for key, place in self.keys.items():
            at_T = behind_T + place if place < 0 else behind_T - counts_T + place
            is_there_T &= _stands(key, at_T, bytes_N=bytes_N, colons_C=colons_C)
        found: list[int] = np.where(is_there_T, counts_T, -1).tolist()
        return found


def _of_keys(bytes_N: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Find the colons behind a bare quote or white space; before a value's first byte, where none is, stands any other."""
    colons_C = np.flatnonzero(bytes_N == _COLON)
    before_C = bytes_N[colons_C - 1]
    is_escaped_C = (before_C == _QUOTE) & (bytes_N[colons_C - 2] == _BACKSLASH)
    return colons_C[_BEFORE[before_C] & ~is_escaped_C]


def _stands(
    key: bytes, at_T: npt.NDArray[np.int64], *, bytes_N: npt.NDArray[np.uint8], colons_C: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Say of each text whether the quoted key stands right before the colon of a given place."""
    is_there_T = (at_T >= 0) & (at_T < len(colons_C))
    if not len(colons_C):
        return is_there_T
    ends_T = colons_C[np.where(is_there_T, at_T, 0)]
    for back, byte in enumerate(reversed(b'"' + key + b'"'), 1):
        is_there_T &= bytes_N[ends_T - back] == byte
    return is_there_T
