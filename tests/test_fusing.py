"""Fused layers give the same numbers and gradients, and stand only where they do."""

import copy

import pytest
import torch
from torch import nn
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm
from transformers.models.t5.modeling_t5 import T5LayerNorm

from formtune.fusing import fuse_here
from formtune.loading import tiny


def layer_of(kind: str) -> nn.Module:
    """A layer with drawn weights."""
    torch.manual_seed(0)
    config = tiny("llama").module.config
    made = {"llama": LlamaRMSNorm, "t5": T5LayerNorm, "gemma": GemmaRMSNorm}.get(kind)
    layer = made(32) if made else LlamaMLP(config)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    return layer


@pytest.mark.parametrize("kind", ["llama", "t5", "mlp"])
def test_states_and_gradients_are_those_of_the_layer(kind: str) -> None:
    """Of the input and of every weight, within rounding."""
    plain = layer_of(kind)
    fused = nn.Sequential(copy.deepcopy(plain))
    fuse_here(fused)
    assert type(fused[0]) is not type(plain)
    first, second = (torch.linspace(-3, 3, 4 * 32).view(1, 4, 32).requires_grad_() for _ in range(2))
    toward = torch.linspace(1, 2, 4 * 32).view(1, 4, 32)
    expected, found = plain(first), fused(second)
    expected.backward(toward)
    found.backward(toward)

    assert (found - expected).norm() <= 1e-5 * expected.norm()
    pairs = [(second, first), *zip(fused.parameters(), plain.parameters(), strict=True)]
    for one, other in pairs:
        assert one.grad is not None
        assert other.grad is not None
        assert (one.grad - other.grad).norm() <= 1e-5 * other.grad.norm()


def test_a_norm_that_computes_otherwise_is_left() -> None:
    """Gemma's weight counts from one."""
    layer = nn.Sequential(layer_of("gemma"))
    fuse_here(layer)

    assert type(layer[0]) is GemmaRMSNorm


def test_a_copy_has_weights_of_its_own() -> None:
    """What is replaced is the class, which holds nothing."""
    model = tiny("llama").module
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.model.norm.weight.zero_()

        assert not other.model.norm(torch.ones(1, 32)).any()
        assert model.model.norm(torch.ones(1, 32)).any()


def test_a_frozen_norm_gets_no_gradient() -> None:
    """And what is below it does."""
    layer = nn.Sequential(layer_of("llama"))
    fuse_here(layer)
    layer.requires_grad_(False)
    states = torch.ones(1, 2, 32, requires_grad=True)
    layer(states * torch.arange(32)).sum().backward()

    assert layer[0].weight.grad is None
    assert states.grad is not None
