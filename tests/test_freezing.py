"""What is trained: exactly what is said, in every family; the rest stays bit by bit as it was."""

import pytest
import torch
import transformers
from token_examples import answering, tokens

from formtune.adapters import Lora
from formtune.batches import collate
from formtune.errors import SettingError
from formtune.examples import Output
from formtune.freezing import blocks_of, freeze, frozen_bottom, hold, levels, trained
from formtune.loading import Options, prepared, tiny
from formtune.models import Model
from formtune.tokens import Tokens, byte_tokenizer
from formtune.training import train
from formtune.updates import TrainSettings

FAMILIES = ("bert", "gpt2", "llama", "t5", "xlnet")
WITH_BIASES = ("bert", "gpt2", "xlnet")


def made(family: str, *, output: Output | None = None, **options: object) -> Model:
    """A tiny model that writes, or fills masks."""
    chosen = output or ("mask" if family == "bert" else "text")
    return tiny(family, output=chosen, n_classes=2, options=Options(**options))  # type: ignore[arg-type]


def examples(model: Model) -> list[Tokens]:
    """Three examples of different lengths."""
    make = answering if model.shape == "encoder-decoder" and not model.class_head else tokens
    return [make([7 + n, *range(30, 32 + n)], [20 + n, 25, 26], id=str(n)) for n in range(3)]


def albert() -> Model:
    """An ALBERT of three layers that share one block."""
    config = transformers.AlbertConfig(
        vocab_size=300, embedding_size=16, hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=64,
    )  # fmt: skip
    module = transformers.AlbertForMaskedLM(config)
    return Model(module, byte_tokenizer(), name="a", shape="encoder", output="mask", max_length=64)


def untied(family: str, **options: object) -> Model:
    """An encoder-decoder whose head is not the table of its embeddings, as in Flan-T5."""
    torch.manual_seed(0)
    ids = {"vocab_size": 300, "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    if family == "t5":
        config = transformers.T5Config(
            **ids, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, tie_word_embeddings=False
        )
        module = transformers.T5ForConditionalGeneration(config)  # transformers unties it where weights differ
    else:
        stacks = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
        config = transformers.BartConfig(**ids, **stacks, d_model=32, tie_word_embeddings=False)
        module = transformers.BartForConditionalGeneration(config)
    module.lm_head.weight = torch.nn.Parameter(torch.randn(300, 32))
    model = Model(module, byte_tokenizer(), name="u", shape="encoder-decoder", output="text", max_length=64)
    return prepared(model, seed=0, options=Options(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_a_head_that_is_not_tied_is_no_part_of_the_body(family: str) -> None:
    """Neither is it frozen with the body or with the lower blocks, nor does it lie below them."""
    assert set(trained(untied(family, freeze="body"))) == {"lm_head.weight"}
    assert "lm_head.weight" in trained(untied(family, freeze="all-but-top-1"))
    assert levels(untied(family))["lm_head.weight"] == 0


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_below_a_head_alone_an_encoder_is_kept_and_only_the_head_moves(family: str) -> None:
    """What the decoder gives is computed anew."""
    model = untied(family, freeze="body")
    before = {n: p.detach().clone() for n, p in model.module.named_parameters()}
    for _ in range(2):
        train(model, examples(model), settings=TrainSettings(steps=2, learning_rate=1e-2, warmup=0.0))

    assert {n for n, p in model.module.named_parameters() if not torch.equal(p, before[n])} == {"lm_head.weight"}
    assert model.trunk is not None
    assert model.trunk.boundary == "source"
    assert model.trunk.n_computed == sum(len(one.ids_T) for one in examples(model))


@pytest.mark.parametrize("family", WITH_BIASES)
def test_biases_alone_are_trained(family: str) -> None:
    """Those of layers, of norms and of a pretrained head, and XLNet's of its attention."""
    model = made(family, freeze="all-but-biases")
    plain = made(family)

    assert set(trained(model)) == {name for name in trained(plain) if name.endswith("bias")}
    n_free, n_all = (sum(p.numel() for p in trained(one).values()) for one in (model, plain))
    assert n_free < 0.1 * n_all


def test_a_new_head_is_trained_beside_the_biases() -> None:
    """With its weights."""
    names = set(trained(made("bert", output="head", freeze="all-but-biases")))

    assert {"class_head.linear.weight", "class_head.linear.bias", "embeddings.LayerNorm.bias"} <= names
    assert not any(name.endswith("weight") for name in names - {"class_head.linear.weight"})


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_a_family_without_biases_cannot_train_them_alone(family: str) -> None:
    """T5's relative positions are called a bias, and are a table. Norms it has."""
    with pytest.raises(SettingError, match=rf"model\.freeze: A model of the type '{family}' has no biases"):
        made(family, freeze="all-but-biases")

    assert all("norm" in name for name in trained(made(family, freeze="all-but-norms")))


@pytest.mark.parametrize(
    ("family", "freeze", "lora"),
    [
        *((family, "all-but-biases", None) for family in WITH_BIASES),
        *((family, "all-but-norms", None) for family in FAMILIES),
        *((family, "all-but-top-1", None) for family in FAMILIES),
        *((family, freeze, Lora(rank=2, kind="dora")) for family in FAMILIES for freeze in ("none", "all-but-top-1")),
    ],
)
def test_what_is_trained_moves_and_nothing_else(family: str, freeze: str, lora: Lora | None) -> None:
    """Bit by bit, weight decay included; of what is trained, only what this use of the model does not read stays."""
    model = made(family, freeze=freeze, lora=lora)
    before = {n: p.detach().clone() for n, p in model.module.named_parameters()}
    settings = TrainSettings(steps=2, learning_rate=1e-2, warmup=0.0, weight_decay=0.5)
    train(model, examples(model), settings=settings)

    moved = {n for n, p in model.module.named_parameters() if not torch.equal(p, before[n])}
    unread = {n for n in trained(model) if n.endswith(("r_s_bias", "seg_embed"))}  # XLNet's, of pairs
    assert moved == set(trained(model)) - unread
    assert moved


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_blocks_below_the_adapters_are_the_frozen_bottom(family: str, kind: str) -> None:
    """Embeddings and all blocks but the top one of each stack."""
    model = made(family, freeze="all-but-top-1", lora=Lora(rank=2, kind=kind))  # type: ignore[arg-type]

    bottom = frozen_bottom(model)

    for stack in blocks_of(model):
        assert [block in bottom for block in stack] == [True] * (len(stack) - 1) + [False]
    weight = model.base.get_input_embeddings().weight  # T5's encoder has it in a module of its own
    assert any(getattr(module, "weight", None) is weight for module in bottom)


def test_biases_of_the_top_leave_the_bottom_frozen_and_cached() -> None:
    """Where two ways of freezing meet, what both leave free is trained."""
    model = made("bert", freeze="all-but-biases,all-but-top-1")
    cut = made("bert", freeze="all-but-biases,all-but-top-1", cache_trunk=False)
    batch = collate(examples(model), causal=False)

    assert model.trunk is not None
    assert model.trunk.n_blocks == 2
    with torch.no_grad():
        assert torch.allclose(model.hidden(batch), cut.hidden(batch), atol=1e-6)
    assert made("bert", freeze="all-but-biases").quiet == ()
    assert made("bert", freeze="all-but-biases").trunk is None


@pytest.mark.parametrize("family", ["gpt2", "xlnet"])
def test_embeddings_below_trained_biases_are_frozen_alone(family: str) -> None:
    """They have no biases of their own."""
    model = made(family, freeze="all-but-biases")

    assert model.base.get_input_embeddings() in frozen_bottom(model)
    assert not set(blocks_of(model)[0]) & set(frozen_bottom(model))


def test_layers_that_share_a_block_have_no_top() -> None:
    """ALBERT's whole body would be frozen in silence."""
    with pytest.raises(SettingError, match=r"model\.freeze: The layers of the model type 'albert' are not separate"):
        freeze(albert(), "all-but-top-1")
    model = albert()
    freeze(model, "embeddings")
    assert blocks_of(model) == []


def test_levels_count_from_the_top() -> None:
    """Heads and the norm after the blocks stand above them, embeddings below."""
    found = levels(made("llama"))
    lowest = {name.removeprefix("model.layers.")[0]: level for name, level in found.items() if ".layers." in name}

    assert lowest == {"0": 3, "1": 2, "2": 1}
    others = {name: level for name, level in found.items() if ".layers." not in name}
    assert others == {"model.embed_tokens.weight": 4, "model.norm.weight": 0, "lm_head.weight": 0}


def test_a_tied_head_lies_where_the_embeddings_do() -> None:
    """It is the same weight."""
    found = levels(made("gpt2"))

    assert found["transformer.wte.weight"] == found["transformer.wpe.weight"] == 4
    assert found["transformer.ln_f.weight"] == 0


def test_each_side_of_an_encoder_decoder_counts_from_its_own_top() -> None:
    """What both sides share lies below both."""
    found = levels(made("t5"))
    sides = {(name.split(".")[0], name.split(".")[2]): level for name, level in found.items() if ".block." in name}

    assert sides == {("encoder", "0"): 2, ("encoder", "1"): 1, ("decoder", "0"): 2, ("decoder", "1"): 1}
    assert found["shared.weight"] == 3
    assert found["decoder.final_layer_norm.weight"] == 0


def test_adapters_lie_where_their_blocks_do_and_new_heads_above() -> None:
    """A class head is no part of a block."""
    found = levels(made("bert", output="head", lora=Lora(rank=2, kind="dora")))

    assert {level for name, level in found.items() if ".layer.0." in name} == {3}
    assert {level for name, level in found.items() if ".layer.2." in name} == {1}
    assert found["class_head.linear.weight"] == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_what_waits_is_still_listed(family: str) -> None:
    """It gets no gradient until it joins, and is saved with the rest all the same."""
    model = made(family)
    everything = set(trained(model))
    waiting = frozenset(name for name, level in levels(model).items() if level > 1)

    hold(model, waiting)

    assert set(trained(model)) == everything
    assert {name for name, p in trained(model).items() if not p.requires_grad} == waiting
    hold(model, frozenset())
    assert all(p.requires_grad for p in trained(model).values())


def test_waiting_frees_nothing_that_is_frozen() -> None:
    """What the recipe freezes stays frozen when the rest joins."""
    model = made("llama", freeze="embeddings")
    hold(model, frozenset({"model.layers.0.mlp.up_proj.weight"}))
    hold(model, frozenset())

    assert not model.base.get_input_embeddings().weight.requires_grad
