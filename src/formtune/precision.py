"""What a model calculates in, chosen by measuring: float32, or bfloat16 where this machine gains from it.

What is measured are the matrix products of one of the model's own blocks, forward and backward, since they are most of
a step (82 % in float32 for SmolLM2-135M on a CPU). What is learned stays in float32 in either case: bfloat16 is autocast
(Micikevicius et al. 2018, section 3, with bfloat16's range there is no loss to scale).
"""

import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from formtune import processes
from formtune.loading import Options
from formtune.model_files import resolve, shapes_in
from formtune.progress import Event, Progress

CLEARLY = 1.4  # products gain more than a whole step, of which they are a part: 1.8 times became 1.7, 1.5 became 1.4
SMALLEST = 1 << 17  # weights of a block; below that casting costs what is gained, and nobody waits
N_TOKENS = 512
REPEATS = 5
ENOUGH_S = 0.4

_FIRST = re.compile(r"[^0-9]*\b0\..*")  # the first number in the name of what belongs to a block is the block's


def settled(options: Options, model: str, *, progress: Progress) -> Options:
    """Put the precision that suits this machine and model in the place of ``"auto"``; the same all through a process.

    Args:
        options: how the model is prepared.
        model: its name.
        progress: told of the choice.
    """
    if options.precision != "auto":
        return options
    times = gain(resolve(model), processes.device().type)
    if times is None:
        return replace(options, precision="float32")
    chosen = "bfloat16" if times >= CLEARLY else "float32"
    told = f"{times:.1f} times as fast" if times >= 1 else f"{1 / times:.1f} times slower"
    progress(Event(f"{model}: {chosen}, since bfloat16 multiplies {told} here"))
    return replace(options, precision=chosen)


@lru_cache(maxsize=16)
def gain(folder: Path, device: str) -> float | None:
    """Measure how many times sooner bfloat16 multiplies what a model multiplies; about a second.

    Args:
        folder: of the model.
        device: ``"cpu"`` or ``"cuda"``.

    Returns:
        Time in float32 over time in bfloat16, medians of interleaved repeats; None where the model is too small to ask.
    """
    shapes = block_shapes(shapes_in(folder))
    if sum(rows * columns for rows, columns in shapes) < SMALLEST:
        return None
    weights = [torch.randn(shape, device=device, requires_grad=True) for shape in shapes]
    states = [torch.randn(N_TOKENS, columns, device=device, requires_grad=True) for _, columns in shapes]
    begun = time.perf_counter()
    pairs: list[tuple[float, float]] = []
    while not pairs or (len(pairs) < REPEATS + 1 and time.perf_counter() - begun < ENOUGH_S):
        pairs.append((_seconds(weights, states, rounded=False), _seconds(weights, states, rounded=True)))
    pairs = pairs[1:] or pairs  # the first of a shape sets kernels up
    return statistics.median(exact for exact, _ in pairs) / statistics.median(rounded for _, rounded in pairs)


def block_shapes(shapes: dict[str, tuple[int, ...]]) -> list[tuple[int, int]]:
    """List the matrices of a model's first block, rows and columns; what has more dimensions is flattened to two.

    >>> block_shapes({"embed.weight": (99, 8), "layers.0.up.weight": (16, 8), "layers.1.up.weight": (16, 8)})
    [(16, 8)]
    """
    found = [
        shape for name, shape in shapes.items() if _FIRST.fullmatch(name) and len(shape) > 1 and "bias" not in name
    ]
    return [(shape[0], torch.Size(shape[1:]).numel()) for shape in found]


def _seconds(weights: Sequence[Tensor], states: Sequence[Tensor], *, rounded: bool) -> float:
    """Time one product with each weight, forward and backward."""
    device = weights[0].device.type
    begun = time.perf_counter()
    with torch.autocast(device, torch.bfloat16, enabled=rounded):
        for weight, state in zip(weights, states, strict=True):
            out = F.linear(state, weight)
            torch.autograd.backward(out, torch.ones_like(out))
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun
