"""Linear layers in bfloat16 as autocast computes them, without what autocast does again and again.

The weights of frozen layers are cast once. On a CPU a kernel is made anew for every number of rows that a product meets: twelve
for a block, 2 ms each with oneDNN, where multiplying 200 tokens takes 4 ms; and examples side by side never have equally
many. So few rows are filled up to one of a few numbers, and what several layers take (queries, keys, values) is cast and
kept once.

Shape letters: M rows, filled up; I inputs, O outputs.
"""

import threading
import weakref
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from formtune.models import Model

FEW = 512  # rows from which making a kernel is not felt, and autocast's own way is as fast
STEP = 32


def round_products(model: Model) -> None:
    """Let the linear layers of a model multiply as this module does wherever autocast is on.

    The weights of frozen ones are kept in bfloat16, which halves the memory of a frozen model. Embeddings and norms stay
    as they are, and so does the head over the vocabulary, since scores that answers are chosen by are computed in
    float32; it gets a rounded copy besides, made when a loss first asks for it.

    Args:
        model: frozen and adapted already.
    """
    from transformers.pytorch_utils import Conv1D

    body = set(model.base.modules()) - {model.module.get_output_embeddings()}
    kinds: dict[Any, Any] = {nn.Linear: Rounded, Conv1D: _rounded(Conv1D)}
    for layer in model.module.modules():
        if not isinstance(layer, nn.Linear | Conv1D):
            continue
        frozen = not layer.weight.requires_grad
        if layer in body:
            layer.__class__ = kinds.get(type(layer), type(layer))
            if frozen:
                layer.weight.data = layer.weight.data.bfloat16()
        elif frozen and type(layer) is nn.Linear:
            layer.__class__ = RoundedHead


class Rounded(nn.Linear):
    """A linear layer that rounds what it multiplies where autocast is on."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        """Multiply in whatever autocast says."""
        if not torch.is_autocast_enabled(input.device.type):
            return super().forward(input)
        return _multiplied(input, self.weight, self.bias)


class RoundedHead(nn.Linear):
    """A frozen linear layer of a head: in float32, but for a copy that autocast takes."""

    rounded: Tensor | None = None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        """Multiply in whatever autocast says."""
        if not torch.is_autocast_enabled(input.device.type):
            return super().forward(input)
        if self.rounded is None or self.rounded.device != input.device:
            self.rounded = self.weight.detach().to(torch.get_autocast_dtype(input.device.type))
        return _multiplied(input, self.rounded, self.bias)


@lru_cache(maxsize=1)
def _rounded(kind: Any) -> Any:
    """Make a class that does with GPT-2's layers, whose weights are ``[I, O]``, what :class:`Rounded` does."""

    def forward(self: Any, x: Tensor) -> Tensor:
        if not (torch.is_grad_enabled() and torch.is_autocast_enabled(x.device.type)):
            states: Tensor = kind.forward(self, x)  # autocast remembers a cast weight, but none that is turned round
            return states
        return _multiplied(x, self.weight.t(), self.bias)

    return type(kind.__name__, (kind,), {"forward": forward})


def _multiplied(states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Multiply as autocast would: states ``[..., I]`` → ``[..., O]``."""
    if states.device.type != "cpu" or states.shape[:-1].numel() >= FEW:
        return F.linear(states, weight, bias)
    if torch.is_grad_enabled():
        product: Tensor = _Product.apply(states, weight, bias)  # type: ignore[no-untyped-call]
        return product
    return _emptied(F.linear(_rows.of(states), weight, bias), states.shape[:-1])  # autocast remembers what it casts


class _Product(torch.autograd.Function):
    """``states @ weight.T + bias`` in bfloat16."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: PLR0917 (torch's way)
        rows_MI, weight_OI = _rows.of(states), weight.bfloat16()
        ctx.save_for_backward(rows_MI, weight_OI)
        ctx.shape, ctx.kinds = states.shape, (states.dtype, weight.dtype, None if bias is None else bias.dtype)
        product_MO = F.linear(rows_MI, weight_OI, None if bias is None else bias.bfloat16())
        return _emptied(product_MO, states.shape[:-1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        rows_MI, weight_OI = ctx.saved_tensors
        to_states, to_weight, to_bias = ctx.kinds
        grad_MO = filled(grads[0])
        found: list[Tensor | None] = [None, None, None]
        if ctx.needs_input_grad[0]:
            found[0] = _emptied(grad_MO @ weight_OI, ctx.shape[:-1]).to(to_states)
        if ctx.needs_input_grad[1]:
            found[1] = (grad_MO.t() @ rows_MI).to(to_weight)
        if ctx.needs_input_grad[2]:
            found[2] = grad_MO.sum(0).to(to_bias)
        return found[0], found[1], found[2]


class _Rows(threading.local):
    """The last states that were rounded: queries, keys and values are products of the same ones."""

    def __init__(self) -> None:
        self._states: Callable[[], Tensor | None] = lambda: None
        self._version = -1
        self._rows = torch.empty(0)

    def of(self, states: Tensor) -> Tensor:
        """Give the rows of states, rounded and filled up."""
        if self._states() is not states or self._version != states._version:
            self._states, self._version, self._rows = weakref.ref(states), states._version, filled(states)
        return self._rows


_rows = _Rows()


def room(n_rows: int) -> int:
    """Give the number of rows that few are filled up to: a power of two, or a multiple of 32.

    >>> [room(n) for n in (1, 5, 17, 33)]
    [1, 8, 32, 64]
    """
    return 1 << max(0, n_rows - 1).bit_length() if n_rows <= STEP else -(-n_rows // STEP) * STEP


def filled(states: Tensor) -> Tensor:
    """Round states ``[..., I]`` to bfloat16 rows ``[M, I]``, those that fill up being zero."""
    n_rows = states.shape[:-1].numel()
    if (n_filled := room(n_rows)) == n_rows:
        return states.reshape(n_rows, -1).bfloat16()
    rows_MI = states.new_empty(n_filled, states.shape[-1], dtype=torch.bfloat16)
    rows_MI[:n_rows].view(states.shape).copy_(states)
    rows_MI[n_rows:].zero_()
    return rows_MI


def _emptied(rows_MO: Tensor, shape: torch.Size) -> Tensor:
    """Take back what :func:`filled` added: ``[M, O]`` → ``[*shape, O]``."""
    return rows_MO[: shape.numel()].view(*shape, -1)
