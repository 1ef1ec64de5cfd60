"""Blocks that keep their input alone, and are computed a second time in the backward pass: memory for time.

Chen et al. 2016, "Training deep nets with sublinear memory cost", section 4.1; about a third more work.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from formtune.errors import SettingError
from formtune.freezing import blocks_of
from formtune.models import Model


def blocks_to_recompute(model: Model) -> list[nn.Module]:
    """List the blocks of every stack.

    Raises:
        SettingError: where the layers of the model are not separate blocks.
    """
    blocks = [block for stack in blocks_of(model) for block in stack]
    if not blocks:
        raise SettingError(
            f"The layers of the model type {model.family!r} are not separate blocks, so they cannot be computed twice.",
            "Set it to false, or leave it out.",
            at="training.checkpoint_activations",
        )
    return blocks


@contextmanager
def recomputed(blocks: Sequence[nn.Module]) -> Iterator[None]:
    """Let those of some blocks that learn keep their input alone, in the forward passes of a while.

    Numbers stay as they are: dropout falls on the same places again. Backward passes may come later.
    """
    changed = [block for block in blocks if torch.is_grad_enabled() and _learns(block)]
    for block in changed:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    try:
        yield
    finally:
        for block in changed:
            del block.forward


def _learns(block: nn.Module) -> bool:
    return any(p.requires_grad for p in block.parameters())
