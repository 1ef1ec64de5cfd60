"""Examples to tokens: ids with, for each, what stands there, how much it is learned and whether it may be cut.

Shape letters: T tokens.
"""

from dataclasses import dataclass

import numpy as np

from formtune.tokenizers import Tokenizer, byte_tokenizer, load_tokenizer

__all__ = ["CONTENT", "CONTROL", "SCAFFOLD", "TARGET", "Tokenizer", "Tokens", "byte_tokenizer", "load_tokenizer"]

SCAFFOLD, CONTENT, TARGET, CONTROL = range(4)


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """One example as arrays of equal length.

    Attributes:
        id: the record's id.
        ids_T: int32, what the model sees.
        labels_T: int32, what stands at that place: the same as ``ids_T`` except in mask slots.
        weights_T: float32, loss weight of ``labels_T`` at that place.
        parts_T: uint8: SCAFFOLD, CONTENT, TARGET, or CONTROL (scaffold that is a control token).
        types_T: uint8 token type: 0, then what the model gives the second text after the first separator.
        cuts_T: uint8: 0 never cut, 1 cut from the end, 2 cut from the start.
        gold: index of the right candidate; None where unknown or free.
        candidates: ids of each candidate, as they follow the prompt (``words``) or fill the slot (``mask``).
        decoder: for encoder-decoder models the target side, beginning with the decoder's start token.
        corrupt: ``"tokens"`` or ``"spans"``: the batch stage corrupts the content anew each epoch.
        words_T: int32 number of the word each content token belongs to, -1 elsewhere; only where ``corrupt`` is set.
    """

    id: str
    ids_T: np.ndarray
    labels_T: np.ndarray
    weights_T: np.ndarray
    parts_T: np.ndarray
    types_T: np.ndarray
    cuts_T: np.ndarray
    gold: int | None = None
    candidates: tuple[np.ndarray, ...] = ()
    decoder: "Tokens | None" = None
    corrupt: str | None = None
    words_T: np.ndarray | None = None

    @property
    def n_prompt(self) -> int:
        """Tokens before the first target token; all of them where there is none."""
        targets = np.flatnonzero(self.parts_T == TARGET)
        return int(targets[0]) if len(targets) else len(self.ids_T)
