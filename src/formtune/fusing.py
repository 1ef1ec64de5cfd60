"""Norms, rotations and gates in fewer passes over memory, with less kept for the backward pass.

On a CPU two functions of our own replace what autograd would make of a dozen small steps: root-mean-square norms (Zhang
and Sennrich 2019) keep their input and one number a token, gated layers (Shazeer 2020, SwiGLU) keep gate and value but not
their product. On a GPU Liger's kernels (Hsu et al. 2024) do the same and more, where the extra ``formtune[cuda]`` is
installed. The loss is ours either way: its scores are computed at the places that are asked alone.
"""

from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from formtune.models import Model

PARTS = ("gate_proj", "up_proj", "down_proj", "act_fn")  # of a gated layer, as transformers names them
CLOSE = 1e-5  # of the largest entry: a class that gives other numbers is left as it is


def fuse(model: Model) -> None:
    """Put fused layers in the place of a model's own; what has none stays.

    The probe that every model passes when it is loaded (:func:`formtune.loading.prove`) runs with them.

    Args:
        model: where it computes; Liger's kernels run on a GPU alone.
    """
    if model.device.type == "cpu":
        fuse_here(model.module)
    elif find_spec("liger_kernel") is not None:
        from transformers.integrations.liger import apply_liger_kernel

        apply_liger_kernel(model.module, {"cross_entropy": False, "fused_linear_cross_entropy": False})


def fuse_here(module: nn.Module) -> None:
    """Let norms and gated layers inside a module compute as this module does, where that gives the same numbers."""
    for layer in module.modules():
        forward = _forward_for(layer)
        kind: Any = type(layer)
        if forward is not None and _alike(layer, fused := _with(kind, forward)):
            layer.__class__ = fused  # not an attribute of the instance, which a copy would share


def _forward_for(layer: nn.Module) -> Callable[..., Tensor] | None:
    if type(layer).__name__.endswith(("RMSNorm", "T5LayerNorm")) and hasattr(layer, "variance_epsilon"):
        return _normed
    return _gated if all(hasattr(layer, part) for part in PARTS) else None


@lru_cache(maxsize=64)
def _with(kind: Any, forward: Callable[..., Tensor]) -> Any:
    """Make a class that differs in its forward pass alone."""
    return type(kind.__name__, (kind,), {"forward": forward})


@torch.no_grad()
def _alike(layer: nn.Module, fused: Any) -> bool:
    """Tell whether a layer gives the same as one of another class would, on a few drawn states."""
    weight = next(layer.parameters())
    states = torch.randn(3, weight.shape[-1], generator=torch.Generator().manual_seed(0)).to(weight)
    expected = layer(states)
    found = fused.forward(layer, states)
    return bool((found - expected).abs().max() <= CLOSE * expected.abs().max())


def _normed(layer: Any, hidden_states: Tensor) -> Tensor:
    states: Tensor = _Normed.apply(hidden_states, layer.weight, layer.variance_epsilon)  # type: ignore[no-untyped-call]
    return states


def _gated(layer: Any, x: Tensor) -> Tensor:
    product = _Gated.apply(layer.gate_proj(x), layer.up_proj(x))  # type: ignore[no-untyped-call]
    states: Tensor = layer.down_proj(product)
    return states


class _Normed(torch.autograd.Function):
    """``weight · x / sqrt(mean(x²) + eps)`` along the last dimension, in float32 inside."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, eps: float) -> Tensor:  # noqa: PLR0917 (torch's way)
        wide = states.float()
        scale = (torch.linalg.vecdot(wide, wide) / wide.shape[-1] + eps).rsqrt_().unsqueeze(-1)
        ctx.save_for_backward(states, weight, scale)
        normed: Tensor = (wide * scale).to(states.dtype) * weight
        return normed

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        states, weight, scale = ctx.saved_tensors
        grad, unit = grads[0].float(), states.float() * scale
        to_weight = (grad * unit).flatten(0, -2).sum(0).to(weight.dtype) if ctx.needs_input_grad[1] else None
        toward = grad * weight
        share = torch.linalg.vecdot(toward, unit).unsqueeze(-1) / states.shape[-1]
        return toward.addcmul_(unit, share, value=-1).mul_(scale).to(states.dtype), to_weight, None


class _Gated(torch.autograd.Function):
    """``silu(gate) · value``."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(gate, value)
        return F.silu(gate).mul_(value)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        gate, value = ctx.saved_tensors
        return torch.ops.aten.silu_backward(grads[0] * value, gate), F.silu(gate).mul_(grads[0])
