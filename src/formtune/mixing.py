"""Mixtures: how much of each source is met, and which of its sequences.

Only sizes are looked at. Of source ``i``, which holds ``n_i`` (tokens, learned tokens, or sequences), the share

    p_i ∝ weight_i · min(n_i, cap_i) ^ (1 / T)

is met. With T = 1 sources count as they are large, up to the cap (Raffel et al. 2020, section 3.5.2); a larger T raises
the small ones, towards equal shares (as in Xue et al. 2021). Weights are ours, and multiply.

Sequences are met whole. Those of a source come in a drawn order, none twice before all have come once; then that order
begins again. All sources are spread evenly: every stretch of a mixture holds them in the shares of the whole.

Shape letters: S sources, N sequences of one source, M sequences of all sources, D sequences that are drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Which sequences are met, and how much of each source that is.

    Attributes:
        numbers_D: int64, the sequences in the order in which they are met, numbered over all sources.
        counts_M: int64, how often each sequence is met.
        asked_S: float64, the share of each source that follows from weights, sizes, caps and temperature.
        reached_S: float64, the share that its drawn sequences make.
    """

    numbers_D: np.ndarray
    counts_M: np.ndarray
    asked_S: np.ndarray
    reached_S: np.ndarray


def shares(
    amounts: Sequence[int], *, weights: Sequence[float], caps: Sequence[int | None], temperature: float = 1.0
) -> np.ndarray:
    """Give the share of each source: float64, S, of sum 1.

    Args:
        amounts: what each source holds, in whatever is counted; none is empty.
        weights: factors, above 0.
        caps: the most that each counts as, or None.
        temperature: T, above 0.

    >>> shares([100, 10_000], weights=[1, 1], caps=[None, None], temperature=2.0).round(3).tolist()
    [0.091, 0.909]
    """
    # By logarithms, so that no power of a count overflows however small T is.
    logs_S = np.log(weights) + np.log(capped(amounts, caps)) / temperature
    raised_S = np.exp(logs_S - logs_S.max())
    found: np.ndarray = raised_S / raised_S.sum()
    return found


def capped(amounts: Sequence[int], caps: Sequence[int | None]) -> list[int]:
    """Give what each source counts as."""
    return [min(n, n if cap is None else cap) for n, cap in zip(amounts, caps, strict=True)]


def mix(sizes: Sequence[np.ndarray], shares_S: np.ndarray, *, total: int, seed: int) -> Mixture:
    """Draw sequences so that each source makes its share of a total, up to half a sequence.

    Args:
        sizes: of each source what every sequence counts: int64, N, with a sum above 0.
        shares_S: see :func:`shares`.
        total: how much is drawn of all sources together, in the unit of the sizes.
        seed: where chance comes from; a source that is added at the end changes nothing in the order of the others.

    Cost: a random order of each source, and a sort of everything that is drawn.
    """
    firsts = np.cumsum([0, *(len(sizes_N) for sizes_N in sizes)])
    drawn = [
        drawn_of(sizes_N, float(share) * total, seed=(seed, source))
        for source, (sizes_N, share) in enumerate(zip(sizes, shares_S, strict=True))
    ]
    amounts_S = np.array([sizes_N[one].sum() for sizes_N, one in zip(sizes, drawn, strict=True)], dtype=np.float64)
    numbers_D = np.concatenate([first + one for first, one in zip(firsts, drawn, strict=False)])
    return Mixture(
        numbers_D=numbers_D[spread_evenly([len(one) for one in drawn])],
        counts_M=np.bincount(numbers_D, minlength=int(firsts[-1])),
        asked_S=shares_S,
        reached_S=amounts_S / max(1.0, amounts_S.sum()),
    )


def drawn_of(sizes_N: np.ndarray, amount: float, *, seed: Sequence[int]) -> np.ndarray:
    """Draw sequences of one source: whole passes in a random order, then the part of one that comes nearest.

    Args:
        sizes_N: what each sequence counts; their sum is above 0.
        amount: how much is drawn.
        seed: of the order.

    Returns:
        int64, their numbers from 0, in the order in which they are met.
    """
    order_N = np.random.default_rng(seed).permutation(len(sizes_N))
    passes, rest = divmod(amount, int(sizes_N.sum()))
    ends_N = np.cumsum(sizes_N[order_N])
    n_more = int(np.searchsorted(ends_N, rest))
    if n_more < len(ends_N):
        before = int(ends_N[n_more - 1]) if n_more else 0
        n_more += bool(rest - before > ends_N[n_more] - rest)
    return np.concatenate([np.tile(order_N, int(passes)), order_N[:n_more]])


def spread_evenly(counts: Sequence[int]) -> np.ndarray:
    """Order what stands source after source so that each source is spread evenly over the whole.

    The k-th of a source's n stands at (k + 1/2) / n of the way. A random order would do so on average alone: by chance
    there would be stretches with none of a small source.

    Returns:
        int64: places among all, source after source.

    >>> spread_evenly([4, 2]).tolist()
    [0, 4, 1, 2, 5, 3]
    """
    ways_D = np.concatenate([(np.arange(n) + 0.5) / max(1, n) for n in counts])
    return np.argsort(ways_D, kind="stable")
