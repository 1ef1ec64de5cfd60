"""Attention over packed examples on a CPU: ours against other exact ways, forward and backward, and dropout against torch's.

    python benchmarks/attention_backends.py [--tokens 1500] [--repeats 7]

Heads as in SmolLM2-135M (causal, nine over three) and MiniLM (both ways, twelve). Every way computes the same numbers;
the ways are interleaved and medians are printed, with how many times longer than ours each takes.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from formtune import attention, forests
from formtune.batches import Batch, rooted
from formtune.dropout import dropped
from formtune.forests import Forest, Sight

CPU = torch.device("cpu")
MODELS = {"SmolLM2-135M": (Sight(causal=True), 9, 3, 64), "MiniLM": (Sight(causal=False), 12, 12, 32)}
LENGTHS = (15, 60, 250, 1000)


def packed(mean: int, n_tokens: int) -> Batch:
    """Lay examples of about a length side by side, as long as a row of real ones is uneven."""
    chance = np.random.default_rng(mean)
    lengths: list[int] = []
    while sum(lengths) < n_tokens:
        lengths.append(int(chance.integers(mean // 2, mean * 3 // 2 + 1)))
    return rooted([np.arange(n) for n in lengths], [-1] * len(lengths), [0] * len(lengths))


def dense(query: Tensor, key: Tensor, value: Tensor, *, seen_TT: Tensor) -> Tensor:
    """One call over the row, with a mask of all pairs of places."""
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=seen_TT, enable_gqa=key.shape[1] != query.shape[1]
    )


def padded(query: Tensor, key: Tensor, value: Tensor, *, batch: Batch, sight: Sight) -> Tensor:
    """One call over rows padded to the longest, laid out and taken back."""
    spans = list(zip(batch.starts_S.tolist(), batch.ends_S.tolist(), strict=True))
    longest = max(end - start for start, end in spans)

    def rows(states: Tensor) -> Tensor:
        return torch.cat([F.pad(states[:, :, a:b], (0, 0, 0, longest - b + a)) for a, b in spans])

    mask = None
    if not sight.causal:
        counts = torch.tensor([end - start for start, end in spans])
        mask = (torch.arange(longest)[None] < counts[:, None])[:, None, None]
    found = F.scaled_dot_product_attention(
        rows(query),
        rows(key),
        rows(value),
        attn_mask=mask,
        is_causal=sight.causal,
        enable_gqa=key.shape[1] != query.shape[1],
    )
    return torch.cat([found[i : i + 1, :, : b - a] for i, (a, b) in enumerate(spans)], 2)


def apart(batch: Batch) -> Forest:
    """Give the forest in which every segment is a group of its own."""
    together, forests.TOGETHER = forests.TOGETHER, 0
    try:
        return Forest(batch, CPU)
    finally:
        forests.TOGETHER = together


def ways_of(batch: Batch, sight: Sight) -> Mapping[str, Callable[..., Tensor]]:
    """Name every way."""
    forest, each = Forest(batch, CPU), apart(batch)
    owner = np.repeat(np.arange(batch.n_segments), batch.ends_S - batch.starts_S)
    seen = torch.from_numpy(owner[:, None] == owner[None]) & (
        torch.ones(len(owner), len(owner), dtype=torch.bool).tril() if sight.causal else torch.tensor(True)
    )
    return {
        "groups (ours)": lambda *states: attention.by_groups(*states, forest=forest, sight=sight),
        "segment by segment": lambda *states: attention.by_groups(*states, forest=each, sight=sight),
        "one dense mask": lambda *states: dense(*states, seen_TT=seen),
        "padded rows": lambda *states: padded(*states, batch=batch, sight=sight),
    }


def timings(ways: Mapping[str, Callable[..., Tensor]], inputs: list[Tensor]) -> dict[str, Callable[[], float]]:
    """Make what times one pass forward and backward, for every way."""
    toward = torch.randn_like(inputs[0]).float()

    def passed(way: Callable[..., Tensor]) -> Callable[[], object]:
        return lambda: (way(*inputs).float() * toward).sum().backward()

    return {name: partial(timed_call, passed(way)) for name, way in ways.items()}


def measured(timed: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, float]:
    """Give the median of each, taken in turns, the first turn not counted."""
    found: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(repeats + 1):
        for name, one in timed.items():
            found[name].append(one())
    return {name: statistics.median(times[1:]) for name, times in found.items()}


def compare_attention(n_tokens: int, repeats: int) -> None:
    """Print a line for each model, length and precision."""
    for model, (sight, heads, groups, width) in MODELS.items():
        for mean in LENGTHS:
            batch = packed(mean, n_tokens)
            for kind in (torch.float32, torch.bfloat16):
                torch.manual_seed(0)
                shape = (1, 1, len(batch.ids_T), width)
                inputs = [
                    torch.randn(shape).repeat(1, n, 1, 1).to(kind).requires_grad_() for n in (heads, groups, groups)
                ]
                times = measured(timings(ways_of(batch, sight), inputs), repeats)
                own = times["groups (ours)"]
                told = ", ".join(f"{name} {t / own:.2f}" for name, t in times.items() if t is not own)
                print(f"{model}, {str(kind)[6:]}, about {mean} tokens each: {own * 1e3:.1f} ms; {told}", flush=True)


def compare_dropout(repeats: int) -> None:
    """Print how long torch's dropout takes against ours."""
    values = torch.randn(1024, 1536)
    ways = {"ours": partial(dropped, values, 0.1), "torch": partial(F.dropout, values, 0.1)}
    times = measured({name: partial(timed_call, way) for name, way in ways.items()}, repeats * 3)
    print(f"dropout: {times['ours'] * 1e3:.2f} ms; torch {times['torch'] / times['ours']:.2f}", flush=True)


def timed_call(call: Callable[[], object]) -> float:
    """Time a call."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1500)
    parser.add_argument("--repeats", type=int, default=7)
    asked = parser.parse_args()
    compare_attention(asked.tokens, asked.repeats)
    compare_dropout(asked.repeats)


if __name__ == "__main__":
    main()
