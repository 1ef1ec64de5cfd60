"""Models: one way in for every family, and the same numbers however tokens are laid out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from token_examples import answering, tokens

from formtune.adapters import Lora
from formtune.batches import Batch, branched, collate
from formtune.errors import SettingError
from formtune.examples import Output
from formtune.freezing import blocks_of, freeze, frozen_bottom, trained
from formtune.loading import Options, load_model, tiny
from formtune.models import Model
from formtune.tokens import byte_tokenizer

CAUSAL = ("gpt2", "llama")
PACKING = (("bert", "mask"), ("bert", "head"), ("gpt2", "text"), ("llama", "text"), ("llama", "head"))


def batch_for(model: Model) -> Batch:
    """Three examples of different lengths."""
    pieces = [([7, 8, 9, 10], [11, 12]), ([13], [14]), ([15, 16], [17, 18, 19])]
    make = answering if model.shape == "encoder-decoder" and not model.class_head else tokens
    return collate([make(prompt, target) for prompt, target in pieces], causal=model.causal)


def row_by_row(model: Model, batch: Batch) -> torch.Tensor:
    """Compute the states of each example alone, padded path, eager attention."""
    packs, model.packs = model.packs, False
    with torch.no_grad(), model.attending("eager"):
        states = model.hidden(batch)
    model.packs = packs
    return states


@pytest.mark.parametrize(("family", "output"), PACKING)
def test_a_flat_row_gives_the_states_of_separate_rows(family: str, output: Output) -> None:
    """Nothing is attended across examples."""
    model = tiny(family, output=output, n_classes=3)
    batch = batch_for(model)

    with torch.no_grad():
        states = model.hidden(batch)

    assert model.packs
    assert torch.allclose(states, row_by_row(model, batch), atol=1e-5)


@pytest.mark.parametrize("family", ["t5", "xlnet"])
def test_families_that_cannot_pack_are_padded(family: str) -> None:
    """An example's states do not depend on what is computed beside it."""
    model = tiny(family)
    batch = batch_for(model)
    alone = [batch_for_one(model, i) for i in range(3)]

    with torch.no_grad():
        together = model.hidden(batch)
        one_by_one = torch.cat([model.hidden(one) for one in alone])

    assert not model.packs
    assert torch.allclose(together, one_by_one, atol=1e-5)


def batch_for_one(model: Model, index: int) -> Batch:
    """One of the three examples alone."""
    prompt, target = [([7, 8, 9, 10], [11, 12]), ([13], [14]), ([15, 16], [17, 18, 19])][index]
    make = answering if model.shape == "encoder-decoder" else tokens
    return collate([make(prompt, target)], causal=model.causal)


@pytest.mark.parametrize("family", [*CAUSAL, "xlnet"])
def test_a_continuation_sees_its_prompt_and_no_sibling(family: str) -> None:
    """A prompt computed once for three continuations gives what three whole texts give."""
    model = tiny(family)
    prompt, children = np.array([7, 8, 9]), [np.array([10, 11]), np.array([12]), np.array([13, 14, 15])]
    whole = collate([tokens([*prompt, *child]) for child in children], causal=True)

    with torch.no_grad():
        shared = model.hidden(branched([prompt], [children]))
        apart = model.hidden(whole)

    starts = np.cumsum([0, *(3 + len(c) for c in children)])[:-1]
    behind = torch.cat([apart[s + 3 : s + 3 + len(c)] for s, c in zip(starts, children, strict=True)])
    assert torch.allclose(shared[3:], behind, atol=1e-5)
    assert torch.allclose(shared[:3], apart[:3], atol=1e-5)


@pytest.mark.parametrize("family", [*CAUSAL, "t5", "xlnet"])
def test_the_future_does_not_change_the_past(family: str) -> None:
    """The state that predicts a token does not depend on that token."""
    model = tiny(family)
    make = answering if family == "t5" else tokens
    one = collate([make([7, 8, 9], [10, 11])], causal=True)
    other = collate([make([7, 8, 9], [10, 99])], causal=True)

    with torch.no_grad():
        last = -2  # the place that asks for the last token
        assert torch.allclose(model.hidden(one)[last], model.hidden(other)[last], atol=1e-6)


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5", "xlnet"])
def test_answers_are_the_likeliest_tokens_and_end_at_the_stop(family: str) -> None:
    """Many at once, one as a stream, and step by step through the states: the same tokens."""
    model = tiny(family)
    prompts = [[7, 8, 9], [10, 11, 12, 13, 14]]

    answers = model.generate(prompts, max_new_tokens=4, stop_ids=[])

    assert answers == [list(model.stream(p, max_new_tokens=4, stop_ids=[])) for p in prompts]
    assert answers[0] == by_hand(model, prompts[0], n=4)
    stop = answers[1][1]
    assert model.generate(prompts[1:], max_new_tokens=4, stop_ids=[stop])[0] == answers[1][: answers[1].index(stop)]


def by_hand(model: Model, prompt: list[int], *, n: int) -> list[int]:
    """Take the likeliest token n times, each time from the whole text."""
    written: list[int] = []
    for _ in range(n):
        if model.shape == "encoder-decoder":
            start = model.decoder_start_id or 0
            batch = collate([answering(prompt, written, start=start)], causal=True)
        else:
            batch = collate([tokens([*prompt, *written])], causal=True)
        with torch.no_grad():
            written.append(int(model.logits(model.hidden(batch)[-1:]).argmax()))
    return written


def test_sampling_with_a_seed_repeats_itself() -> None:
    """And the temperature matters."""
    model = tiny("llama")
    asked = {"max_new_tokens": 12, "stop_ids": [], "temperature": 1.0, "top_p": 0.9}

    first = list(model.stream([7, 8], seed=1, **asked))

    assert first == list(model.stream([7, 8], seed=1, **asked))
    assert first != list(model.stream([7, 8], seed=2, **asked))


def test_all_but_the_top_blocks_are_frozen() -> None:
    """The norm above the blocks stays free; embeddings and tied heads do not."""
    model = tiny("llama", options=Options(freeze="all-but-top-1"))

    names = set(trained(model))

    assert names == {
        n
        for n, _ in model.module.named_parameters()
        if ".layers.2." in n or n == "model.norm.weight" or n == "lm_head.weight"
    }
    assert len(blocks_of(model)) == 1


@pytest.mark.parametrize(
    ("spec", "frozen"),
    [
        ("embeddings", "embeddings.word_embeddings.weight"),
        ("body", "encoder.layer.2.output.dense.weight"),
        ("*.layer.0.*", "encoder.layer.0.output.dense.weight"),
        ("re:layer\\.[01]\\.", "encoder.layer.1.output.dense.weight"),
        ("embeddings,*.layer.0.*", "encoder.layer.0.output.dense.weight"),
    ],
)
def test_parts_and_patterns_freeze(spec: str, frozen: str) -> None:
    """The class head is always trained."""
    model = tiny("bert", output="head", n_classes=2, options=Options(freeze=spec))

    assert frozen not in trained(model)
    assert "class_head.linear.weight" in trained(model)


IDS = {"vocab_size": 300, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
WIDE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
STACKS = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
FFN = {"encoder_ffn_dim": 64, "decoder_ffn_dim": 64}


def of_config(config: Any) -> Model:
    """Make a model of a configuration, with nothing frozen."""
    shape = "encoder-decoder" if config.is_encoder_decoder else "decoder"
    loader: Any = transformers.AutoModelForSeq2SeqLM if shape != "decoder" else transformers.AutoModelForCausalLM
    if config.model_type in ("modernbert", "mpnet"):
        shape, loader = "encoder", transformers.AutoModelForMaskedLM
    module = loader.from_config(config)
    return Model(module, byte_tokenizer(), name="a", shape=shape, output="text", max_length=64)


def opt() -> Model:
    """Make an OPT with projections around its blocks."""
    return of_config(
        transformers.OPTConfig(
            **IDS, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=64, word_embed_proj_dim=16
        )
    )


def norms_of(family: str) -> tuple[Model, set[str]]:
    """Make a model of a family, and name the norms that follow its blocks."""
    match family:
        case "opt":
            return opt(), {"model.decoder.final_layer_norm"}
        case "t5":
            return tiny("t5"), {"encoder.final_layer_norm", "decoder.final_layer_norm"}
        case "bloom":
            return of_config(transformers.BloomConfig(**IDS, hidden_size=32, n_layer=2, n_head=4)), {"transformer.ln_f"}
        case "mbart":
            sides = {"model.encoder.layer_norm", "model.decoder.layer_norm"}
            return of_config(transformers.MBartConfig(**IDS, **STACKS, **FFN, d_model=32)), sides
        case "phi":
            return of_config(transformers.PhiConfig(**IDS, **WIDE)), {"model.final_layernorm"}
        case _:
            special = {"cls_token_id": 0, "sep_token_id": 1}
            return of_config(transformers.ModernBertConfig(**IDS, **WIDE, **special)), {"model.final_norm"}


@pytest.mark.parametrize("family", ["opt", "t5", "bloom", "mbart", "phi", "modernbert"])
def test_the_norm_after_the_blocks_is_free_in_every_family(family: str) -> None:
    """Whatever it is called, so that arms with different models are frozen alike; norms of embeddings are not."""
    model, norms = norms_of(family)
    freeze(model, "all-but-top-0")
    inside = {id(p) for p in model.base.parameters()}
    free = {n for n, p in model.module.named_parameters() if p.requires_grad and id(p) in inside}

    assert {n.rpartition(".")[0] for n in free} == norms


@pytest.mark.parametrize(
    ("family", "frozen"),
    [
        ("gpt2", {"transformer.wte.weight", "transformer.wpe.weight"}),
        ("opt", {"model.decoder.embed_tokens.weight", "model.decoder.embed_positions.weight"}),
        ("bloom", {f"transformer.word_embeddings{end}" for end in (".weight", "_layernorm.weight", "_layernorm.bias")}),
    ],
)
def test_embeddings_are_those_of_words_and_of_positions(family: str, frozen: set[str]) -> None:
    """With the norm behind them, where there is one."""
    model = tiny("gpt2") if family == "gpt2" else norms_of(family)[0]
    freeze(model, "embeddings")

    assert {n for n, p in model.module.named_parameters() if not p.requires_grad} == frozen


def test_what_lies_below_a_frozen_block_and_is_free_keeps_the_bottom_from_being_frozen() -> None:
    """OPT's projection stands between embeddings and blocks, MPNet's table of distances is in each block."""
    model = opt()
    freeze(model, "embeddings,*.layers.0.*")
    assert frozen_bottom(model) == ()
    freeze(model, "*.project_*")
    assert blocks_of(model)[0][0] in frozen_bottom(model)

    model = of_config(transformers.MPNetConfig(**IDS, **WIDE))
    freeze(model, "embeddings,*.layer.0.*")
    assert frozen_bottom(model) == ()


def test_the_sides_of_an_encoder_decoder_are_frozen_apart() -> None:
    """The decoder's own positions are free, and the encoder is whole."""
    model = of_config(transformers.MBartConfig(**IDS, **STACKS, **FFN, d_model=32))
    freeze(model, "encoder")

    assert set(blocks_of(model)[0]) <= set(frozen_bottom(model))
    assert not set(blocks_of(model)[1]) & set(frozen_bottom(model))


def test_a_pattern_that_is_no_regular_expression_is_refused() -> None:
    """With the place of the setting."""
    with pytest.raises(SettingError, match=r"model\.freeze: '\[' is not a regular expression"):
        tiny("llama", options=Options(freeze="re:["))


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    """It would otherwise train everything in silence."""
    with pytest.raises(SettingError, match=r"model\.freeze: 'layers\.9' freezes nothing"):
        tiny("llama", options=Options(freeze="layers.9"))


def test_more_free_blocks_than_there_are_is_refused() -> None:
    """With the number that there is."""
    with pytest.raises(SettingError, match="has 3 blocks"):
        tiny("llama", options=Options(freeze="all-but-top-4"))


def test_lora_begins_as_the_pretrained_model_and_trains_little() -> None:
    """B is zero, so the product adds nothing yet."""
    plain, adapted = tiny("llama"), tiny("llama", options=Options(lora=Lora(rank=2)))
    batch = batch_for(plain)

    with torch.no_grad():
        assert torch.allclose(plain.hidden(batch), adapted.hidden(batch), atol=1e-6)
    assert all("lora_" in name for name in trained(adapted))
    assert 0 < sum(p.numel() for p in trained(adapted).values()) < 0.2 * sum(p.numel() for p in trained(plain).values())


def test_lora_on_layers_that_are_not_there_is_refused() -> None:
    """With the place of the setting."""
    with pytest.raises(SettingError, match=r"model\.lora\.targets"):
        tiny("llama", options=Options(lora=Lora(targets=("nonsense",))))


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_a_segment_is_pooled_to_one_state(pooling: str) -> None:
    """Class scores are the head over that state."""
    model = tiny("bert", output="head", n_classes=3, options=Options(pooling=pooling))
    batch = collate([tokens([7, 8, 9]), tokens([10])], causal=False)

    with torch.no_grad():
        hidden = model.hidden(batch)
        scores = model.classes(batch)

    states = {"mean": hidden[:3].mean(0), "first": hidden[0], "last": hidden[2]}
    assert model.class_head is not None
    with torch.no_grad():
        assert torch.allclose(scores[0], model.class_head(states[pooling]), atol=1e-6)


def test_seeds_draw_new_heads_and_nothing_else() -> None:
    """Two seeds share the pretrained weights."""
    one = tiny("bert", output="head", n_classes=2, seed=0)
    from formtune.adapters import renew

    before = {n: p.detach().clone() for n, p in trained(one).items()}
    renew(one, seed=1)

    changed = {n for n, p in trained(one).items() if not torch.equal(p, before[n])}
    assert changed == {"class_head.linear.weight"}


def test_a_folder_without_a_model_is_refused(tmp_path: object) -> None:
    """Place, problem, remedy."""
    with pytest.raises(SettingError, match=r"--model: The folder .* holds no config\.json"):
        load_model(str(tmp_path), output="text")


def test_an_unknown_name_is_refused() -> None:
    """Without a network the Hub gives nothing."""
    with pytest.raises(SettingError, match="There is no model 'nobody/nothing'"):
        load_model("nobody/nothing", output="text")


def test_an_option_is_not_changed_by_loading() -> None:
    """Options are values."""
    options = Options(freeze="all-but-top-1")
    tiny("llama", options=options)

    assert options == replace(options)


def test_scores_are_float32_whatever_the_states_are_computed_in() -> None:
    """In bfloat16 the scores of label words would tie."""
    model = tiny("llama", options=Options(precision="bfloat16"))
    batch = batch_for(model)
    with model.inference():
        hidden = model.hidden(batch)
        scores = model.logits(hidden)

    assert torch.equal(scores, model.module.get_output_embeddings()(hidden.float()))
    assert scores.unique().numel() > 0.9 * scores.numel()


def test_lora_respects_what_is_frozen() -> None:
    """Adapters of frozen layers stay the zero that they begin as."""
    model = tiny("llama", options=Options(freeze="all-but-top-1", lora=Lora(rank=2)))

    assert trained(model)
    assert all(".layers.2." in name and "lora_" in name for name in trained(model))


def test_the_stacks_of_an_encoder_decoder_are_its_blocks() -> None:
    """And not the lists of layers inside each block, which may be as long."""
    assert [len(stack) for stack in blocks_of(tiny("t5"))] == [2, 2]


def test_a_models_own_habits_of_writing_are_dropped() -> None:
    """A repetition penalty in its files would make greedy answers something else."""
    assert tiny("llama").module.generation_config.repetition_penalty in (None, 1.0)


def test_an_encoder_decoder_classifies_with_its_encoder() -> None:
    """The target side, if there is one, is not looked at."""
    model = tiny("t5", output="head", n_classes=2)
    with torch.no_grad():
        with_target = collate([answering([7, 8, 9], [10])], causal=False)
        without = collate([tokens([7, 8, 9])], causal=False)
        scores = [model.classes(batch) for batch in (with_target, without)]

    assert torch.equal(scores[0], scores[1])


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "camembert", "mpnet"])
def test_an_example_as_long_as_told_runs(family: str, tmp_path: Path) -> None:
    """Positions begin behind the padding id: 2 here, but 1 in MPNet whatever it is told."""
    tokenizer = byte_tokenizer()
    ids = {**IDS, "vocab_size": tokenizer.n_vocabulary, "pad_token_id": tokenizer.pad_id}
    config = transformers.AutoConfig.for_model(family, **ids, **WIDE, max_position_embeddings=24)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text(tokenizer.full.to_str())
    (tmp_path / "tokenizer_config.json").write_text('{"pad_token": "<pad>", "model_max_length": 1e30}')

    model = load_model(str(tmp_path), output="head", n_classes=2)

    n = 22 if family == "mpnet" else 21
    assert model.max_length == n
    with torch.no_grad():
        assert len(model.hidden(collate([tokens([7] * n)], causal=False))) == n
        with pytest.raises((IndexError, RuntimeError)):
            model.hidden(collate([tokens([7] * (n + 1))], causal=False))
