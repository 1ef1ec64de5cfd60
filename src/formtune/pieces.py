"""A sum over rows whose gradient is computed while it is summed, so that what a piece needs is let go with the piece.

Checkpointing bounds memory as well, but computes every piece twice; a loss is the last thing that is computed, so its
gradient can be had at once (Hsu et al. 2024, Liger, section 3.2).

Shape letters: N rows, D width.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Piece = Callable[[Tensor, slice], Tensor]


def summed(piece: Piece, states_ND: Tensor, weights: Sequence[Tensor], *, pieces: Sequence[slice]) -> Tensor:
    """Add up what a function gives for some rows at a time, with gradients.

    Args:
        piece: takes states of rows, and which these are; gives a scalar that depends on the states and on ``weights``.
        states_ND: the states.
        weights: what else gets a gradient; something must.
        pieces: the rows of each piece, in order; together they are all.

    Returns:
        The sum, float32, which can be differentiated once.
    """
    total: Tensor = _Summed.apply(piece, pieces, states_ND, *weights)  # type: ignore[no-untyped-call]
    return total


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 (torch's way)
        ctx: Any, piece: Piece, pieces: Sequence[slice], states_ND: Tensor, *weights: Tensor
    ) -> Tensor:
        learns = ctx.needs_input_grad[2]
        total = torch.zeros((), dtype=torch.float32, device=states_ND.device)
        to_states: list[Tensor] = []
        to_weights: list[Tensor | None] = [None] * len(weights)
        for rows in pieces:
            with torch.enable_grad():
                states = states_ND[rows].detach().requires_grad_(learns)
                part = piece(states, rows)
            found = list(torch.autograd.grad(part, [*([states] if learns else []), *weights], allow_unused=True))
            to_states += [found.pop(0)] if learns else []
            to_weights = [_added(sofar, more) for sofar, more in zip(to_weights, found, strict=True)]
            total += part.detach()
        ctx.gradients = [torch.cat(to_states) if learns else None, *to_weights]
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        found, ctx.gradients = ctx.gradients, None  # let go, so that a parameter can take its own without copying it
        return (None, None, *(None if one is None else one.mul_(grads[0].to(one.dtype)) for one in found))


def _added(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """Add one gradient to another in place; what was never met has none."""
    return one if other is None else other if one is None else one.add_(other)
