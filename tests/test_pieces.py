"""A sum in pieces has the value and the gradients of the sum at once."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from token_examples import answering, tokens
from torch import Tensor, nn

from formtune import objective
from formtune.adapters import Lora
from formtune.freezing import trained
from formtune.loading import Options, tiny
from formtune.objective import Objective
from formtune.pieces import summed


@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.parametrize("n_rows", [1, 4, 7, 100])
def test_value_and_gradients(n_rows: int, learns: bool) -> None:
    """Of the states, where there is something to learn below, and of every weight that is met."""
    torch.manual_seed(0)
    states = torch.randn(7, 3, requires_grad=learns)
    layer, unused = nn.Linear(3, 5), nn.Parameter(torch.ones(2))
    factors = torch.linspace(1, 2, 7)

    def piece(own: Tensor, rows: slice) -> Tensor:
        return (layer(own).square().sum(1) * factors[rows]).sum()

    weights = [*layer.parameters(), unused]
    wanted = ([states] if learns else []) + list(layer.parameters())
    whole = piece(states, slice(None))
    expected = torch.autograd.grad(3 * whole, wanted)
    pieces = [slice(start, start + n_rows) for start in range(0, 7, n_rows)]
    found = summed(piece, states, weights, pieces=pieces)
    grads = torch.autograd.grad(3 * found, [*wanted, unused], allow_unused=True)

    assert found.item() == pytest.approx(whole.item(), rel=1e-6)
    assert grads[-1] is None
    for one, other in zip(grads[:-1], expected, strict=True):
        assert one is not None
        assert torch.allclose(one, other, rtol=1e-5)


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "t5", "xlnet"])
@pytest.mark.parametrize(
    "options",
    [
        Options(),
        Options(freeze="body"),
        Options(freeze="all-but-top-1"),
        Options(lora=Lora(rank=2)),
        Options(lora=Lora(kind="dora", rank=2)),
    ],
    ids=["all", "head", "top", "lora", "dora"],
)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_update_in_pieces_is_that_update(
    family: str, options: Options, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loss and every gradient, whatever is frozen, adapted and tied."""
    output = "mask" if family == "bert" else "text"
    model = tiny(family, output=output, options=replace(options, precision=precision))  # type: ignore[arg-type]
    if not trained(model):
        pytest.skip("nothing of its own above the body")
    make = answering if family == "t5" else tokens
    examples = [make([20 + i] * (3 + i), [30 + i] * 3, id=str(i)) for i in range(3)]
    factors = np.full(3, 0.3, dtype=np.float32)
    found = []
    for n_rows in (512, 2):
        monkeypatch.setattr(objective, "N_ROWS", {"cpu": n_rows})
        loss, _ = Objective(model, label_smoothing=0.1)(examples, factors)
        gradients = torch.autograd.grad(loss, list(trained(model).values()), allow_unused=True)
        found.append((loss.detach(), gradients))
    (loss, whole), (again, pieces) = found

    most = 1e-5 if precision == "float32" else 2e-2
    least = 1e-6 * max(float(one.norm()) for one in whole if one is not None)  # a key's bias has none but by rounding
    assert torch.allclose(loss, again, rtol=most)
    for one, other in zip(whole, pieces, strict=True):
        assert (one is None) == (other is None)
        assert one is None or other is None or (one - other).norm() <= most * one.norm() + least


def test_where_nothing_learns_the_loss_is_a_number() -> None:
    """Nobody asks for a gradient of what has none."""
    model = tiny("llama", options=Options(freeze="*"))
    examples = [tokens([20], [30] * 300, id=str(i)) for i in range(2)]
    examples[1] = tokens([21], [31] * 300, id="1")
    loss, _ = Objective(model, label_smoothing=0.0)(examples, np.full(2, 0.5, dtype=np.float32))

    assert torch.isfinite(loss)
    assert not loss.requires_grad
