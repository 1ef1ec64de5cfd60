"""Linear layers that round what they multiply: the numbers of autocast, with less done for them."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from formtune.holding import clip
from formtune.loading import Options, tiny
from formtune.rounding import FEW, STEP, RoundedHead, filled, room

ROUNDED = Options(precision="bfloat16")


def layers(kind: str) -> tuple[nn.Module, nn.Module]:
    """A layer of a model, and the plain layer with the same weights."""
    model = tiny("gpt2" if kind == "turned" else "llama", options=ROUNDED)
    path = "transformer.h.0.mlp.c_fc" if kind == "turned" else "model.layers.0.mlp.up_proj"
    layer = model.module.get_submodule(path)
    plain = copy.deepcopy(layer)
    plain.__class__ = Conv1D if kind == "turned" else nn.Linear
    return layer, plain


def computed(layer: nn.Module, states: Tensor) -> tuple[Tensor, list[Tensor]]:
    """What a layer gives under autocast, and the gradients of its input and of its weights."""
    given = states.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(given)
    out.backward(torch.linspace(1, 2, out.numel()).view_as(out).to(out.dtype))
    found = [given.grad, *(p.grad for p in layer.parameters())]
    return out.detach(), [one for one in found if one is not None]


@pytest.mark.parametrize("kind", ["straight", "turned"])
@pytest.mark.parametrize("shape", [(1,), (7,), (2, 33), (FEW + 3,)])
def test_states_and_gradients_are_those_of_autocast(kind: str, shape: tuple[int, ...]) -> None:
    """However many rows there are; the added ones are nobody's."""
    layer, plain = layers(kind)
    torch.manual_seed(0)
    states = torch.randn(*shape, 32)
    (out, grads), (expected, wanted) = computed(layer, states), computed(plain, states)

    assert type(layer) is not type(plain)
    assert out.shape == expected.shape
    assert out.dtype == expected.dtype == torch.bfloat16
    assert len(grads) == len(wanted)
    for one, other in zip([out, *grads], [expected, *wanted], strict=True):
        assert one.dtype == other.dtype
        assert (one - other).float().norm() <= 2**-8 * other.float().norm()


@pytest.mark.parametrize("kind", ["straight", "turned"])
def test_nothing_is_rounded_where_autocast_is_off(kind: str) -> None:
    """Scores are computed in float32 by the same layers."""
    layer, plain = layers(kind)
    states = torch.randn(3, 32)

    assert torch.equal(layer(states), plain(states))


def test_without_gradients_the_numbers_are_the_same() -> None:
    """Answers go another way than updates."""
    layer, _ = layers("straight")
    states = torch.randn(5, 32)
    with torch.autocast("cpu", torch.bfloat16):
        learning = layer(states).detach()
        with torch.no_grad():
            assert torch.equal(layer(states), learning)


@given(st.integers(1, FEW))
def test_rows_are_filled_up_to_few_numbers(n_rows: int) -> None:
    """With less than one step of waste."""
    assert n_rows <= room(n_rows) < n_rows + STEP
    assert room(room(n_rows)) == room(n_rows)
    assert len({room(n) for n in range(1, FEW)}) <= FEW // STEP + math.log2(STEP)


def test_what_is_filled_up_is_zero() -> None:
    """And what was there is there."""
    rows = filled(torch.ones(3, 11, 2))

    assert rows.shape == (64, 2)
    assert torch.equal(rows.sum(0), torch.full((2,), 33.0, dtype=torch.bfloat16))
    assert filled(torch.ones(64, 2)).shape == (64, 2)


def test_queries_keys_and_values_keep_their_input_once() -> None:
    """As one tensor, which is rounded anew when the states have changed."""
    attention = tiny("llama", options=ROUNDED).module.model.layers[0].self_attn
    kept: list[Tensor] = []

    def note(saved: Tensor) -> Tensor:
        kept.append(saved)
        return saved

    states = torch.randn(40, 32)
    with torch.autocast("cpu", torch.bfloat16), torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
        attention.q_proj(states)
        attention.k_proj(states)
        first = attention.v_proj(states).detach()
        states.mul_(2)
        second = attention.v_proj(states).detach()

    assert len({one.data_ptr() for one in kept if one.shape == (64, 32)}) == 2
    assert torch.equal(second, 2 * first)


def test_a_frozen_head_is_rounded_once_and_stays() -> None:
    """Its copy serves the loss; what is frozen below it has no other."""
    model = tiny("llama", options=Options(precision="bfloat16", freeze="*"))
    head = model.module.get_output_embeddings()
    states = torch.randn(3, 32)
    exact = model.logits(states)
    with model.autocast():
        scores = model.logits(states, exact=False)
        first = head.rounded
        model.logits(states, exact=False)

    assert type(head) is RoundedHead
    assert head.rounded is first
    assert head.weight.dtype == torch.float32
    assert torch.equal(model.logits(states), exact)
    assert not torch.equal(scores, exact)
    assert (scores - exact).norm() <= 2**-6 * exact.norm()


def test_a_trained_head_has_no_copy() -> None:
    """It would be of weights that have moved on."""
    model = tiny("llama", options=ROUNDED)

    assert type(model.module.get_output_embeddings()) is nn.Linear


def with_gradients(*gradients: Tensor) -> list[nn.Parameter]:
    """Parameters that have these gradients."""
    parameters = [nn.Parameter(torch.zeros_like(one)) for one in gradients]
    for parameter, one in zip(parameters, gradients, strict=True):
        parameter.grad = one.clone()
    return parameters


@pytest.mark.parametrize("most", [0.5, 1e9, math.inf])
def test_a_gradient_is_shortened_as_torch_does(most: float) -> None:
    """Only where it is longer; its length is told either way."""
    torch.manual_seed(0)
    gradients = [torch.randn(shape) for shape in ((40, 30), (7,), (3, 2, 5))]
    ours = [*with_gradients(*gradients), nn.Parameter(torch.ones(2))]
    theirs = with_gradients(*gradients)

    assert clip(ours, most) == pytest.approx(float(nn.utils.clip_grad_norm_(theirs, most)), rel=1e-6)
    assert ours.pop().grad is None
    for one, other in zip(ours, theirs, strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.allclose(one.grad, other.grad, rtol=1e-6)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_no_number_has_no_length(value: float) -> None:
    """So that training can stop."""
    assert not math.isfinite(clip(with_gradients(torch.tensor([1.0, value])), 1.0))
    assert clip([], 1.0) == 0.0
