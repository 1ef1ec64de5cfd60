"""Adapters: they begin as the pretrained model, whatever the seed, and compute what their papers say."""

import pytest
import torch
from token_examples import answering, tokens

from formtune.adapters import Lora, new_weights, renew
from formtune.batches import Batch, collate
from formtune.errors import SettingError
from formtune.freezing import trained
from formtune.loading import Options, tiny
from formtune.models import Model
from formtune.tokens import Tokens
from formtune.training import train
from formtune.updates import TrainSettings

FAMILIES = ("bert", "gpt2", "llama", "t5", "xlnet")
DORA = Lora(kind="dora", rank=2, alpha=6.0)


def made(family: str, lora: Lora | None = None, **options: object) -> Model:
    """A tiny model that writes, or fills masks."""
    return tiny(family, output="mask" if family == "bert" else "text", options=Options(lora=lora, **options))  # type: ignore[arg-type]


def examples(model: Model) -> list[Tokens]:
    """Three examples of different lengths."""
    make = answering if model.shape == "encoder-decoder" else tokens
    return [make([7 + n, *range(30, 32 + n)], [20 + n, 25, 26], id=str(n)) for n in range(3)]


def batch_for(model: Model) -> Batch:
    """The three of them as one batch."""
    return collate(examples(model), causal=model.causal)


def states(model: Model) -> torch.Tensor:
    """The model's last states over the three examples."""
    with torch.no_grad():
        return model.hidden(batch_for(model))


def shaken(model: Model) -> None:
    """Move everything that is trained, as training would."""
    chance = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in trained(model).values():
            parameter += 0.1 * torch.randn(parameter.shape, generator=chance)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", [0, 5])
def test_dora_begins_as_the_pretrained_model(family: str, seed: int) -> None:
    """Its lengths are those of the pretrained weights, not one."""
    model = made(family, DORA)
    renew(model, seed)

    assert torch.allclose(states(model), states(made(family)), atol=1e-5)
    lengths = [p for n, p in trained(model).items() if ".lora_magnitude_vector." in n]
    assert len(lengths) == len(trained(model)) / 3
    assert not any(torch.allclose(p, torch.ones_like(p)) for p in lengths)


@pytest.mark.parametrize("family", FAMILIES)
def test_dora_learns_lengths_and_directions(family: str) -> None:
    """Each layer computes with m V / |V|, V = W + (alpha / r) B A, a length for each output (Liu et al. 2024, eq. 5)."""
    model, plain = made(family, DORA), made(family)
    shaken(model)
    learned = trained(model)
    with torch.no_grad():
        for name in [n.partition(".lora_magnitude_vector.")[0] for n in learned if ".lora_magnitude_vector." in n]:
            a, b, m = (
                learned[f"{name}.{part}.default.weight"] for part in ("lora_A", "lora_B", "lora_magnitude_vector")
            )
            weight = plain.module.get_submodule(name).weight
            whole = (weight.T if family == "gpt2" else weight) + 3.0 * b @ a  # GPT-2 keeps inputs by outputs
            whole = m[:, None] * whole / whole.norm(dim=1, keepdim=True)
            weight.copy_(whole.T if family == "gpt2" else whole)

    assert torch.allclose(states(model), states(plain), atol=1e-5)
    assert not torch.allclose(states(model), states(made(family)), atol=1e-2)


@pytest.mark.parametrize("family", FAMILIES)
def test_renewing_after_training_starts_over(family: str) -> None:
    """The same seed gives the same beginning, bit by bit; another seed other matrices and the same lengths."""
    model = made(family, DORA)
    renew(model, 1)
    first = {n: p.detach().clone() for n, p in new_weights(model).items()}
    train(model, examples(model), settings=TrainSettings(steps=2, learning_rate=1e-2))
    assert not any(torch.equal(p, first[n]) for n, p in new_weights(model).items())

    renew(model, 1)
    assert all(torch.equal(p, first[n]) for n, p in new_weights(model).items())
    renew(model, 2)
    other = {n for n, p in new_weights(model).items() if not torch.equal(p, first[n])}
    assert other == {n for n in first if ".lora_A." in n}


def test_dora_begins_as_the_pretrained_model_in_bfloat16() -> None:
    """As far as the precision goes."""
    adapted, plain = made("llama", DORA, precision="bfloat16"), made("llama", precision="bfloat16")
    with adapted.inference(), plain.inference():
        one, other = adapted.hidden(batch_for(adapted)), plain.hidden(batch_for(plain))

    assert torch.allclose(one, other, atol=0.05)


def test_adapters_stand_beside_free_layers_alone() -> None:
    """Below, nothing is computed for them."""
    model = made("llama", DORA, freeze="all-but-top-1")
    adapted = {name for name, _ in model.module.named_parameters() if ".lora_" in name}

    assert adapted == set(trained(model))
    assert {name.split(".")[2] for name in adapted} == {"2"}


@pytest.mark.parametrize("freeze", ["body", "all-but-norms"])
def test_adapters_with_no_free_layer_are_refused(freeze: str) -> None:
    """Place, problem, remedy."""
    with pytest.raises(SettingError, match=r"model\.lora\.targets: LoRA found no layer to adapt .* not frozen"):
        made("llama", Lora(rank=2), freeze=freeze)


def test_a_stabilized_scale_falls_with_the_root_of_the_rank() -> None:
    """With rank 4, alpha 8 counts 4 instead of 2."""
    stabilized = made("llama", Lora(rank=4, alpha=8.0, rank_stabilized=True))
    plain = made("llama", Lora(rank=4, alpha=16.0))
    for model in (stabilized, plain):
        shaken(model)

    assert torch.allclose(states(stabilized), states(plain), atol=1e-6)
    assert not torch.allclose(states(stabilized), states(made("llama")), atol=1e-2)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_adapters_of_embeddings_begin_at_zero(kind: str) -> None:
    """Where they are asked for by name."""
    lora = Lora(kind=kind, rank=2, targets=("embed_tokens",))  # type: ignore[arg-type]

    assert torch.allclose(states(made("llama", lora)), states(made("llama")), atol=1e-5)
