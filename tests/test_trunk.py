"""The frozen trunk: what is kept is what would be computed."""

import numpy as np
import pytest
import torch
from token_examples import tokens

from formtune.batches import Batch, collate, forest
from formtune.loading import Options, tiny
from formtune.models import Model
from formtune.training import train
from formtune.trunk import Trunk
from formtune.updates import TrainSettings

FROZEN = Options(freeze="all-but-top-1")


def pair(family: str) -> tuple[Model, Model]:
    """The same model with and without the cache."""
    output = "mask" if family == "bert" else "text"
    uncached = Options(freeze="all-but-top-1", cache_trunk=False)
    return tiny(family, output=output, options=FROZEN), tiny(family, output=output, options=uncached)


def some(*prompts: list[int]) -> Batch:
    """A batch of prompts."""
    return collate([tokens(p) for p in prompts], causal=True)


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_replayed_states_are_the_computed_ones(family: str) -> None:
    """The first time, the second time, and beside examples not seen before."""
    cached, plain = pair(family)

    with torch.no_grad():
        for batch in (some([7, 8, 9], [10]), some([7, 8, 9], [10]), some([10], [11, 12], [7, 8, 9])):
            assert torch.equal(cached.hidden(batch), plain.hidden(batch)) or torch.allclose(
                cached.hidden(batch), plain.hidden(batch), atol=1e-6
            )


def test_each_path_goes_through_the_trunk_once() -> None:
    """Seven tokens are computed for three batches of them."""
    model = tiny("llama", options=FROZEN)
    with torch.no_grad():
        for _ in range(3):
            model.hidden(some([7, 8, 9], [10, 11, 12, 13]))

    assert model.trunk is not None
    assert (model.trunk.n_computed, model.trunk.n_replayed) == (7, 14)


def test_a_continuation_is_known_by_its_whole_path() -> None:
    """The same tokens behind another prompt have other states."""
    cached, plain = pair("llama")
    one = forest([np.array([7, 8])], [[np.array([9])]])
    other = forest([np.array([7, 10])], [[np.array([9])]])

    with torch.no_grad():
        cached.hidden(one)
        assert torch.allclose(cached.hidden(other), plain.hidden(other), atol=1e-6)


def test_gradients_stop_at_the_boundary_and_are_the_same_above_it() -> None:
    """With the trunk replayed, what is free gets the gradient that it gets without."""
    cached, plain = pair("llama")
    batch = some([7, 8, 9], [10])
    with torch.no_grad():
        cached.hidden(batch)

    grads = []
    for model in (cached, plain):
        model.hidden(batch).square().sum().backward()
        grads.append({n: p.grad for n, p in model.module.named_parameters() if p.grad is not None})

    assert set(grads[0]) == set(grads[1])
    assert all(torch.allclose(grads[0][n], grads[1][n], atol=1e-5) for n in grads[0])


def test_beyond_its_limit_nothing_more_is_kept_and_nothing_changes() -> None:
    """The states are then computed anew each time."""
    cached, plain = pair("llama")
    assert cached.trunk is not None
    cached.trunk = Trunk(cached.trunk.blocks, cached.trunk.n_blocks, limit_bytes=3 * 32 * 4)

    with torch.no_grad():
        for _ in range(2):
            assert torch.allclose(cached.hidden(some([7, 8], [9, 10])), plain.hidden(some([7, 8], [9, 10])), atol=1e-6)
    assert cached.trunk.size_bytes == 2 * 32 * 4


def weights_after_training(spec: str, *, cache_trunk: bool) -> dict[str, torch.Tensor]:
    """Train five updates from the same beginning; give every weight, and say whether the cache was there."""
    model = tiny("gpt2", options=Options(freeze=spec, cache_trunk=cache_trunk))
    examples = [tokens([20 + i] * (2 + i), [30 + i, 31], id=str(i)) for i in range(4)]
    train(model, examples, settings=TrainSettings(steps=5, batch_size=4, learning_rate=1e-2))
    assert (model.trunk is not None) == (cache_trunk and "embeddings" in spec)
    return {n: p.detach().clone() for n, p in model.module.named_parameters()}


@pytest.mark.parametrize("spec", ["embeddings,*h.0.*", "*.wte.*,*h.0.*"])
def test_training_with_the_cache_ends_where_training_without_it_ends(spec: str) -> None:
    """Position tables are embeddings too; where one is trained, nothing above it is kept."""
    cached, plain = (weights_after_training(spec, cache_trunk=yes) for yes in (True, False))
    before = {n: p.detach() for n, p in tiny("gpt2").module.named_parameters()}

    assert all(torch.allclose(cached[n], plain[n], atol=1e-5) for n in plain)
    moved = {n for n in before if not torch.equal(before[n], plain[n])}
    assert ("transformer.wpe.weight" in moved) == ("embeddings" not in spec)
    assert "transformer.h.1.mlp.c_fc.weight" in moved


def test_free_embeddings_switch_the_cache_off() -> None:
    """Nothing below a trained part may be kept."""
    assert tiny("llama", options=Options(freeze="*.layers.0.*")).trunk is None
    assert tiny("llama").trunk is None
