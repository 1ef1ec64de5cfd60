"""Attention over a forest: every way of computing it is the textbook's, place by place."""

import numpy as np
import pytest
import torch
from torch import Tensor

from formtune import attention
from formtune.batches import Batch, rooted
from formtune.forests import TOGETHER, Forest, Sight, grouped

CPU = torch.device("cpu")


def batch_of(lengths: list[int], parents: list[int]) -> Batch:
    """Lay segments of these lengths behind their parents."""
    offsets = [0] * len(lengths)
    for segment, parent in enumerate(parents):
        offsets[segment] = offsets[parent] + lengths[parent] if parent >= 0 else 0
    return rooted([np.arange(n) for n in lengths], parents, offsets)


def seen_by_hand(batch: Batch, sight: Sight) -> Tensor:
    """Say for every pair of places whether the first sees the second."""
    owner = np.repeat(np.arange(batch.n_segments), batch.ends_S - batch.starts_S)
    n = len(owner)
    seen = torch.zeros(n, n, dtype=torch.bool)
    for query in range(n):
        path = batch.path(int(owner[query]))
        apart = batch.positions_T[query] - batch.positions_T
        near = np.isin(owner, path) & ((apart >= 0) | (not sight.causal))
        seen[query] = torch.from_numpy(near & (np.abs(apart) < (sight.window or n)))
    return seen


def by_hand(query: Tensor, key: Tensor, value: Tensor, seen: Tensor) -> Tensor:
    """Textbook attention with one dense mask (Vaswani et al. 2017, section 3.2.1)."""
    times = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(times, 1), value.repeat_interleave(times, 1)
    scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
    return scores.masked_fill(~seen, -torch.inf).softmax(-1) @ value


def inputs_of(batch: Batch, *, learned: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Draw queries, keys and values, the same each time."""
    chance = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, heads, len(batch.ids_T), 16, generator=chance, requires_grad=learned) for heads in (4, 2, 2)
    )
    return query, key, value


FORESTS = {
    "side by side": ([5, 3, 9], [-1, -1, -1]),
    "a paragraph and its questions": ([20, 4, 3, 5], [-1, 0, 0, 0]),
    "longer than one group": ([TOGETHER, 10, 12, TOGETHER + 5], [-1, 0, 0, -1]),
    "longer than blocks": ([300, 150, 128, 20, 260, 90], [-1, 0, 0, -1, 3, 4]),
    "nested": ([20, 10, 3, 4, 5, 6], [-1, 0, 1, 1, 0, -1]),
}
SIGHTS = [Sight(causal=True), Sight(causal=False), Sight(causal=True, window=4), Sight(causal=False, window=7)]


@pytest.mark.parametrize("sight", SIGHTS, ids=str)
@pytest.mark.parametrize("forest", FORESTS.values(), ids=FORESTS)
def test_groups_give_the_textbooks_states_and_gradients(forest: tuple[list[int], list[int]], sight: Sight) -> None:
    """Four query heads over two of keys; the gradients of all three inputs too."""
    batch = batch_of(*forest)
    found, wanted = inputs_of(batch, learned=True), inputs_of(batch, learned=True)

    states = attention.by_groups(*found, forest=Forest(batch, CPU), sight=sight)
    expected = by_hand(*wanted, seen_by_hand(batch, sight))
    toward = torch.randn_like(expected)
    states.backward(toward)
    expected.backward(toward)

    assert torch.allclose(states, expected, atol=1e-5)
    for one, other in zip(found, wanted, strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.allclose(one.grad, other.grad, atol=1e-5)


def lengths_by_hand(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bounds_own: Tensor,
    bounds_seen: Tensor,
    longest_own: int,
    longest_seen: int,
    *,
    scale: float | None,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> Tensor:
    """Stand in for the kernel, which runs on GPUs alone: sequence by sequence, last query beside last key."""
    assert enable_gqa
    assert scale is None
    found = []
    for s in range(len(bounds_own) - 1):
        q, k = (slice(int(b[s]), int(b[s + 1])) for b in (bounds_own, bounds_seen))
        n_q, n_k = q.stop - q.start, k.stop - k.start
        assert n_q <= longest_own
        assert n_k <= longest_seen
        apart = torch.arange(n_k - n_q, n_k)[:, None] - torch.arange(n_k)[None]
        left, right = (n_k if side < 0 else side for side in window_size)
        states = [part.transpose(0, 1)[None] for part in (query[q], key[k], value[k])]
        found.append(by_hand(*states, (apart <= left) & (-apart <= right))[0].transpose(0, 1))
    return torch.cat(found)


@pytest.mark.parametrize("sight", [sight for sight in SIGHTS if sight.causal], ids=str)
@pytest.mark.parametrize("forest", FORESTS.values(), ids=FORESTS)
def test_lengths_give_the_textbooks_states(forest: tuple[list[int], list[int]], sight: Sight) -> None:
    """Queries stand behind the keys of their ancestors."""
    batch = batch_of(*forest)
    inputs = inputs_of(batch, learned=False)

    states = attention.by_lengths(*inputs, forest=Forest(batch, CPU), sight=sight, attend=lengths_by_hand)

    assert torch.allclose(states, by_hand(*inputs, seen_by_hand(batch, sight)), atol=1e-5)


@pytest.mark.parametrize("sight", [sight for sight in SIGHTS if not sight.causal], ids=str)
def test_lengths_see_both_ways(sight: Sight) -> None:
    """Side by side: only causal models share beginnings."""
    batch = batch_of([5, 30, 9], [-1, -1, -1])
    inputs = inputs_of(batch, learned=False)

    states = attention.by_lengths(*inputs, forest=Forest(batch, CPU), sight=sight, attend=lengths_by_hand)

    assert torch.allclose(states, by_hand(*inputs, seen_by_hand(batch, sight)), atol=1e-5)


@pytest.mark.parametrize("causal", [True, False])
def test_dropout_falls_on_shares_of_attention(causal: bool) -> None:
    """With a rate of nearly one hardly anything is left; with none nothing changes."""
    batch = batch_of([40, 30], [-1, -1])
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 2, 70, 8) for _ in range(3))
    whole, same, little = (
        attention.by_groups(query, key, value.abs(), forest=Forest(batch, CPU), sight=Sight(causal), dropout=rate)
        for rate in (0.0, 1e-9, 0.98)
    )

    assert torch.allclose(whole, same, atol=1e-5)
    assert float((little == 0).float().mean()) > 0.3


def test_long_texts_may_stay_in_bfloat16() -> None:
    """What comes in bfloat16 goes out in it, and says the same within its rounding."""
    batch = batch_of([attention.LONG * 2], [-1])
    torch.manual_seed(0)
    exact = [torch.randn(1, heads, attention.LONG * 2, 16) for heads in (2, 1, 1)]
    forest = Forest(batch, CPU)
    assert forest.n_keys_mean >= attention.LONG
    rounded = attention.by_groups(*(one.bfloat16() for one in exact), forest=forest, sight=Sight(causal=True))
    wanted = attention.by_groups(*exact, forest=forest, sight=Sight(causal=True))

    assert rounded.dtype == torch.bfloat16
    assert float((rounded.float() - wanted).abs().max()) < 0.05


@pytest.mark.parametrize("change", attention.CHANGES)
def test_what_would_change_the_scores_is_refused(change: str) -> None:
    """A family that asks for it is padded instead, since the probe fails."""
    batch = batch_of([3], [-1])
    states = torch.zeros(1, 1, 3, 4)
    with pytest.raises(TypeError, match=change):
        attention.forest_attention(
            torch.nn.Linear(1, 1), states, states, states, None, segments=Forest(batch, CPU), **{change: 1.0}
        )


def test_short_neighbors_attend_in_one_call() -> None:
    """Up to so many tokens, and only where their ancestors are the same."""
    groups = grouped(batch_of([10, 10, 10, 100, 5, 5], [-1, -1, -1, -1, 3, 3]))

    assert [(g.start, g.end, g.n_segments) for g in groups] == [(0, 30, 3), (30, 130, 1), (130, 140, 2)]
    assert groups[2].before == ((30, 130),)
