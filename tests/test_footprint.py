"""How much memory a training takes, and what follows from it."""

from dataclasses import replace

import pytest
import torch
import transformers
from token_examples import some_tokens

from formtune.adapters import Lora
from formtune.errors import SettingError
from formtune.footprint import MOST_TOKENS, Limits, activations, standing_bytes, within_memory
from formtune.freezing import trained
from formtune.loading import Options, tiny
from formtune.models import Model
from formtune.objective import Objective
from formtune.tokens import byte_tokenizer
from formtune.training import train
from formtune.updates import MICRO_BATCH_TOKENS, TrainSettings

FAMILIES = ("bert", "gpt2", "llama", "qwen3", "t5", "xlnet")
SETTINGS = TrainSettings(steps=3, batch_size=4, learning_rate=1e-3)
MEGABYTE = 1 << 20


def made(family: str, **options: object) -> Model:
    """A tiny model that learns tokens."""
    return tiny(family, output="mask" if family == "bert" else "text", options=Options(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_computed_twice_train_to_the_same_weights(family: str) -> None:
    """With dropout, which falls on the same places again."""
    found = []
    for twice in (False, True):
        model = made(family)
        train(model, some_tokens(model, 8), settings=replace(SETTINGS, checkpoint_activations=twice))
        found.append(trained(model))

    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_computed_twice_keep_less(family: str) -> None:
    """Counted by what autograd keeps in the forward pass of four rows."""
    kept = []
    for twice in (False, True):
        model = made(family)
        objective = Objective(model, label_smoothing=0.0, recomputes=twice)
        model.train(True)
        sizes: dict[int, int] = {}

        def note(tensor: torch.Tensor, sizes: dict[int, int] = sizes) -> torch.Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = objective(some_tokens(model, 4, length=60), torch.ones(4).numpy())[0]
        kept.append(sum(sizes.values()))
        loss.backward()

    assert kept[1] < 0.7 * kept[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_kept_grows_as_said(family: str) -> None:
    """Measured on small rows, and right within a quarter for twice as many of three times their length."""
    model = made(family)
    small, large = some_tokens(model, 3, length=40), some_tokens(model, 6, length=120)
    said = activations(model, small)
    exact = activations(model, large)

    assert said.of(720, 120) == pytest.approx(exact.of(720, 120), rel=0.25)
    assert said.most_tokens(said.of(720, 120), 120) == pytest.approx(720, abs=2)


def test_as_many_tokens_are_computed_at_once_as_fit() -> None:
    """Less memory, fewer tokens; then blocks are computed twice; then it is too little."""
    model = made("llama")
    tokens = some_tokens(model, 8, length=100)
    standing = standing_bytes(model, SETTINGS)

    def fitted(megabytes: float) -> TrainSettings:
        limits = Limits(memory_bytes=standing + round(megabytes * MEGABYTE))
        return within_memory(model, tokens, SETTINGS, limits=limits)

    assert fitted(1000).micro_batch_tokens == MICRO_BATCH_TOKENS
    assert 100 <= fitted(2).micro_batch_tokens < MICRO_BATCH_TOKENS
    assert not fitted(2).checkpoint_activations
    assert fitted(0.4).checkpoint_activations
    with pytest.raises(SettingError, match=r"training.memory_gb: Training takes about"):
        fitted(0.05)


def test_more_is_computed_at_once_where_products_are_fast() -> None:
    """In bfloat16 what each micro-batch costs is felt."""
    model = made("llama", precision="bfloat16")
    tokens = some_tokens(model, 8, length=100)
    found = within_memory(model, tokens, SETTINGS, limits=Limits())

    assert found.micro_batch_tokens == MOST_TOKENS["cpu"]["bfloat16"] > MICRO_BATCH_TOKENS


def test_what_the_user_says_is_taken() -> None:
    """Both, or one of the two."""
    model = made("llama")
    tokens = some_tokens(model, 8)
    both = within_memory(
        model, tokens, SETTINGS, limits=Limits(micro_batch_tokens=77, checkpoint_activations=True, memory_bytes=1)
    )
    one = within_memory(model, tokens, SETTINGS, limits=Limits(checkpoint_activations=True))

    assert (both.micro_batch_tokens, both.checkpoint_activations) == (77, True)
    assert (one.micro_batch_tokens, one.checkpoint_activations) == (MICRO_BATCH_TOKENS, True)


def test_adapters_take_little_beside_the_model() -> None:
    """Gradients, moments and best weights are those of what is trained."""
    whole, adapters = made("llama"), made("llama", lora=Lora(rank=2))

    assert standing_bytes(adapters, SETTINGS) < standing_bytes(whole, SETTINGS)


def test_a_model_without_separate_blocks_is_not_computed_twice() -> None:
    """It is said where it was asked for."""
    config = transformers.AlbertConfig(
        vocab_size=300, embedding_size=16, hidden_size=32, num_attention_heads=2, intermediate_size=32
    )
    module = transformers.AlbertForMaskedLM(config)
    model = Model(module, byte_tokenizer(), name="albert", shape="encoder", output="mask", max_length=64)
    with pytest.raises(SettingError, match=r"training.checkpoint_activations: The layers of the model type 'albert'"):
        Objective(model, label_smoothing=0.0, recomputes=True)
