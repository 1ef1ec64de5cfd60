"""Tokens that fit: cut content, never what is learned, and leave room for an answer.

Shape letter: T tokens of one example.
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np

from formtune.examples import Output, Shape
from formtune.records import LeftOut
from formtune.tokens import CONTROL, Tokens

CUT_START = 2  # in Tokens.cuts_T; 1 is the end
TOO_LONG = "longer than the model, even without content that may be cut"
NO_ROOM = "the model has no room for an answer behind it, even without content that may be cut"
ROOM_FOR_WORDS = 8  # tokens a written label word may take beyond the longest one: other case, other spaces, a full stop


def fit(tokens: Sequence[Tokens], capacity: int) -> tuple[list[Tokens], list[LeftOut], int]:
    """Cut content so that every example fits; what is to be learned is never cut.

    Both sides of an encoder-decoder example have the capacity to themselves.

    Returns:
        The examples that fit, in order; those that do not even without content; how many were cut.
    """
    kept: list[Tokens] = []
    left_out: list[LeftOut] = []
    n_truncated = 0
    for example in tokens:
        cut = truncate(example, capacity)
        if cut is None or (cut.decoder is not None and len(cut.decoder.ids_T) > capacity):
            left_out.append(LeftOut(TOO_LONG, id=example.id))
            continue
        n_truncated += len(cut.ids_T) < len(example.ids_T)
        kept.append(cut)
    return kept, left_out, n_truncated


def truncate(tokens: Tokens, capacity: int) -> Tokens | None:
    """Cut content tokens, the longest field first, each from the side that its format names.

    Returns:
        The example itself where it fits, a shorter one, or None where its content is not enough to cut.
    """
    excess = len(tokens.ids_T) - capacity
    if excess <= 0:
        return tokens
    runs = _content_runs(tokens.cuts_T)
    lengths = [end - start for start, end in runs]
    if sum(lengths) < excess:
        return None
    keep_T = np.ones(len(tokens.ids_T), dtype=bool)
    for (start, end), n_cut in zip(runs, _water_fill(lengths, excess), strict=True):
        if tokens.cuts_T[start] == CUT_START:
            keep_T[start : start + n_cut] = False
        else:
            keep_T[end - n_cut : end] = False
    return _take(tokens, keep_T)


def room_for(asked: Sequence[Tokens], *, shape: Shape, output: Output, n_written: int) -> int:
    """Say how many tokens must be free behind every prompt; only a decoder writes where it reads.

    Args:
        asked: prompts, with the label words that are scored behind them.
        shape: the model's.
        output: where its answers are read off.
        n_written: the most tokens of a free answer, 0 where none is written.
    """
    if shape != "decoder" or output == "head" or not any(map(asks, asked)):
        return 0
    return max(most_written(asked, n_written), _longest_word(asked))


def asks(prompt: Tokens) -> bool:
    """Tell whether there is anything to answer: a text that is learned whole has no prompt."""
    return bool((prompt.parts_T != CONTROL).any())


def most_written(asked: Sequence[Tokens], n_written: int) -> int:
    """Let a written label word be little longer than the longest one: what goes on beyond that is none of them."""
    longest = _longest_word(asked)
    return min(n_written, longest + ROOM_FOR_WORDS) if longest else n_written


def _longest_word(asked: Sequence[Tokens]) -> int:
    return max((len(ids) for p in asked for ids in p.candidates), default=0)


def _content_runs(cuts_T: np.ndarray) -> list[tuple[int, int]]:
    if not len(cuts_T):
        return []
    edges = np.flatnonzero(np.diff(cuts_T)) + 1
    bounds = [0, *edges.tolist(), len(cuts_T)]
    return [(a, b) for a, b in pairwise(bounds) if cuts_T[a] > 0]


def _water_fill(lengths: Sequence[int], excess: int) -> list[int]:
    """Say how much each field loses so that the longest end equally long."""
    low, high = 0, max(lengths)
    while low < high:
        level = (low + high + 1) // 2
        if sum(max(0, n - level) for n in lengths) >= excess:
            low = level
        else:
            high = level - 1
    cuts = [max(0, n - low) for n in lengths]
    spare = sum(cuts) - excess
    for index, cut in enumerate(cuts):
        back = min(spare, 1) if cut else 0
        cuts[index] -= back
        spare -= back
    return cuts


def _take(tokens: Tokens, keep_T: np.ndarray) -> Tokens:
    arrays = {f.name: getattr(tokens, f.name) for f in fields(tokens) if f.name.endswith("_T")}
    return replace(tokens, **{name: array[keep_T] for name, array in arrays.items() if array is not None})
