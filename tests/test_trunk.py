"""The frozen trunk: what is kept is what would be computed, and it is computed once."""

import gc
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tiny_models import tiny_folder
from token_examples import answering, tokens

from formtune import pipeline
from formtune.adapters import Lora
from formtune.batches import Batch, branched, collate
from formtune.examples import Output
from formtune.freezing import trained
from formtune.keeping import boundary_of, dependencies, trunk_of, why_not
from formtune.loading import Options, prepared, tiny
from formtune.models import Model
from formtune.objective import Objective
from formtune.recipe import make_recipe
from formtune.runs import open_run
from formtune.scoring import score_classes, score_fillings, score_words
from formtune.state_folder import kept, states_folder
from formtune.tokens import Tokens, byte_tokenizer
from formtune.training import train
from formtune.updates import TrainSettings
from formtune.weaving import woven

OUTPUT: dict[str, Output] = {"bert": "mask"}


def made(family: str, *, output: Output | None = None, **options: Any) -> Model:
    """A tiny model, all frozen but the top block where nothing else is said."""
    options = {"freeze": "all-but-top-1", **options}
    if family in ("qwen3", "gemma3", "albert", "bart"):
        return of_config(family, options, output)
    chosen = output or OUTPUT.get(family, "text")
    return tiny(family, output=chosen, n_classes=3, options=Options(**options))


def of_config(family: str, options: dict[str, Any], output: Output | None) -> Model:
    """A model of a type that the tiny ones do not cover."""
    ids = {"vocab_size": 300, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    wide = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
    torch.manual_seed(0)
    match family:
        case "qwen3":  # queries and keys have norms of their own
            module = transformers.Qwen3ForCausalLM(
                transformers.Qwen3Config(**ids, **wide, num_key_value_heads=2, head_dim=8, initializer_range=0.2)
            )
        case "gemma3":  # layers of two kinds of attention
            module = transformers.Gemma3ForCausalLM(
                transformers.Gemma3TextConfig(
                    **ids, **wide, num_key_value_heads=2, head_dim=8, sliding_window=4,
                    layer_types=["sliding_attention", "full_attention", "sliding_attention"],
                )
            )  # fmt: skip
        case "bart":
            stacks = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4}
            module = transformers.BartForConditionalGeneration(
                transformers.BartConfig(**ids, **stacks, decoder_attention_heads=4, d_model=32, dropout=0.3)
            )
        case _:
            config = transformers.AlbertConfig(
                **ids, **wide, embedding_size=16, classifier_dropout_prob=0.0, hidden_dropout_prob=0.3
            )
            module = (transformers.AlbertModel if output == "head" else transformers.AlbertForMaskedLM)(config)
    shape = {"bart": "encoder-decoder", "albert": "encoder"}.get(family, "decoder")
    chosen = output or ("mask" if family == "albert" else "text")
    head = tiny("bert", output="head", n_classes=3).class_head if chosen == "head" else None
    model = Model(module, byte_tokenizer(), name=family, shape=shape, output=chosen, max_length=64, class_head=head)  # type: ignore[arg-type]
    return prepared(model, seed=0, options=Options(**options))


def pair(family: str, **options: Any) -> tuple[Model, Model]:
    """The same model with and without the cache."""
    return made(family, **options), made(family, cache_trunk=False, **options)


def some(*prompts: list[int]) -> Batch:
    """A batch of prompts."""
    return collate([tokens(p) for p in prompts], causal=True)


def n_computed(model: Model) -> int:
    """Tokens that went through the trunk; all others were replayed."""
    assert model.trunk is not None
    return model.trunk.n_computed


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "qwen3", "gemma3"])
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
    model = made("llama")
    with torch.no_grad():
        for _ in range(3):
            model.hidden(some([7, 8, 9], [10, 11, 12, 13]))

    assert n_computed(model) == 7


def test_a_continuation_is_known_by_its_whole_path() -> None:
    """The same tokens behind another prompt have other states."""
    cached, plain = pair("llama")
    one = branched([np.array([7, 8])], [[np.array([9])]])
    other = branched([np.array([7, 10])], [[np.array([9])]])

    with torch.no_grad():
        cached.hidden(one)
        assert torch.allclose(cached.hidden(other), plain.hidden(other), atol=1e-6)


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "qwen3"])
@pytest.mark.parametrize("lora", [None, Lora(rank=2)])
def test_gradients_stop_at_the_boundary_and_are_the_same_above_it(family: str, lora: Lora | None) -> None:
    """With the trunk replayed, what is free gets the gradient that it gets without; adapters too."""
    cached, plain = pair(family, lora=lora)
    batch = some([7, 8, 9], [10])
    with torch.no_grad():
        cached.hidden(batch)

    grads = []
    for model in (cached, plain):
        model.hidden(batch).square().sum().backward()
        grads.append({n: p.grad for n, p in model.module.named_parameters() if p.grad is not None})

    assert n_computed(cached) == 4
    assert set(grads[0]) == set(grads[1]) != set()
    assert all(torch.allclose(grads[0][n], grads[1][n], atol=1e-5, rtol=1e-5) for n in grads[0])


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "qwen3"])
def test_logits_are_those_without_the_cache(family: str) -> None:
    """Within 1e-5, the first time and replayed."""
    cached, plain = pair(family)
    with cached.inference(), plain.inference():
        for _ in range(2):
            found, wanted = (model.logits(model.hidden(some([7, 8, 9], [10]))) for model in (cached, plain))
            assert torch.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_a_replay_runs_nothing_below_the_boundary(family: str) -> None:
    """No block, no embedding, no norm behind the embeddings."""
    model = made(family)
    ran: list[torch.nn.Module] = []
    with torch.no_grad():
        model.hidden(some([7, 8, 9]))
        for module in model.quiet:
            module.register_forward_hook(lambda module, *_: ran.append(module))
        model.hidden(some([7, 8, 9]))
    assert [module for module in ran if not isinstance(module, torch.nn.Dropout)] == []


# --- what is shared ---------------------------------------------------------------------------------------------------


def test_a_beginning_of_what_was_computed_is_known() -> None:
    """In a causal model: a prompt whose example was trained on, a paragraph that came with other questions."""
    cached, plain = pair("llama")
    with torch.no_grad():
        cached.hidden(some([7, 8, 9, 10], [7, 8, 11]))
        assert n_computed(cached) == 7
        for batch in (some([7, 8, 9]), branched([np.array([7, 8])], [[np.array([9, 10]), np.array([11])]])):
            assert torch.allclose(cached.hidden(batch), plain.hidden(batch), atol=1e-6)
    assert n_computed(cached) == 7


def test_a_beginning_that_is_known_is_not_kept_twice() -> None:
    """What goes on behind it needs it to be computed again, since only the boundary's states are kept."""
    model = made("llama")
    with torch.no_grad():
        model.hidden(some([7, 8, 9]))
        model.hidden(some([7, 8, 9, 10]))

    assert n_computed(model) == 7
    assert model.trunk is not None
    assert model.trunk.size_bytes == 4 * 32 * 4


def test_where_both_ways_are_seen_a_beginning_is_not_known() -> None:
    """Its states depend on what comes after it."""
    cached, plain = pair("bert")
    with torch.no_grad():
        cached.hidden(some([7, 8, 9]))
        assert torch.allclose(cached.hidden(some([7, 8])), plain.hidden(some([7, 8])), atol=1e-6)
    assert n_computed(cached) == 5


def test_equal_texts_of_a_batch_are_computed_once() -> None:
    """And stand where they stood."""
    cached, plain = pair("bert")
    batch = some([7, 8], [9], [7, 8])
    with torch.no_grad():
        assert torch.allclose(cached.hidden(batch), plain.hidden(batch), atol=1e-6)
    assert n_computed(cached) == 3


def test_shared_beginnings_are_replayed_whatever_an_update_is_made_of() -> None:
    """Four questions of a paragraph, drawn two by two in another order in the second epoch."""
    model = made("gpt2")
    paragraph = list(range(20, 60))
    four = [tokens([*paragraph, 70 + i], [80 + i], id=str(i)) for i in range(4)]
    ones = np.ones(2, dtype=np.float32)
    with torch.no_grad():
        for picked in ((0, 1), (2, 3), (0, 2), (1, 3)):
            model.hidden(woven([four[i] for i in picked], ones)[0])

    n_each = 40 + 2 * 2
    assert n_computed(model) == 2 * n_each  # those of the first two updates
    assert model.trunk is not None
    assert model.trunk.size_bytes == (40 + 4 * 2) * 32 * 4


@pytest.mark.parametrize(
    ("changed", "same"),
    [({}, True), ({"pooling": "first"}, True), ({"lora": Lora(rank=2)}, True), ({"freeze": "all-but-top-2"}, False)],
)
def test_another_model_shares_what_agrees_below(changed: dict[str, Any], same: bool) -> None:
    """Other heads, seeds and adapters do; another depth does not."""
    with torch.no_grad():
        made("bert").hidden(some([7, 8, 9]))
        other = made("bert", **changed)
        other.hidden(some([7, 8, 9]))

    assert n_computed(other) == (0 if same else 3)
    assert len(kept(states_folder())) == (1 if same else 2)


def test_a_head_of_another_kind_shares_the_blocks() -> None:
    """A classifier and a masked-LM over one body."""
    one, other = made("bert"), made("bert", output="head")
    with torch.no_grad():
        for name, parameter in one.base.named_parameters():
            other.base.get_parameter(name).copy_(parameter)
        one.hidden(some([7, 8, 9]))
        other.classes(some([7, 8, 9]))
    assert n_computed(other) == 0


def test_weights_that_were_trained_further_have_states_of_their_own() -> None:
    """The bytes count, not the name of the model."""
    one, other = made("llama"), made("llama")
    with torch.no_grad():
        other.base.layers[0].mlp.up_proj.weight[0, 0] += 0.01
        one.hidden(some([7, 8]))
        other.hidden(some([7, 8]))
    assert n_computed(other) == 2


def test_the_name_says_what_states_depend_on() -> None:
    """Precision, device, versions, configuration, weights."""
    one, other = made("llama"), made("llama", precision="bfloat16")
    facts = [dependencies(model, "blocks", n_blocks=2, device="cpu") for model in (one, other)]

    assert {key for key in facts[0] if facts[0][key] != facts[1][key]} == {"precision", "kept as", "weights"}
    assert {"torch", "transformers", "formtune"} == set(facts[0]["versions"])
    assert dependencies(one, "blocks", n_blocks=2, device="cuda") != facts[0]


# --- other boundaries -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["bert", "llama", "t5", "xlnet", "albert"])
def test_below_a_class_head_alone_one_state_is_kept_for_a_text(family: str) -> None:
    """No block is run for it again, in models that pad as well; scores are the same."""
    cached, plain = pair(family, output="head", freeze="body")
    batch = some([7, 8, 9], [10])
    with torch.no_grad():
        wanted = plain.classes(batch)
        found = [cached.classes(batch) for _ in range(2)]

    assert all(torch.allclose(scores, wanted, atol=1e-6) for scores in found)
    assert n_computed(cached) == 4
    assert cached.trunk is not None
    assert cached.trunk.size_bytes == 2 * 32 * 4


@pytest.mark.parametrize("family", ["bert", "albert"])
def test_below_a_masked_lm_head_alone_the_last_states_are_kept(family: str) -> None:
    """The whole body is not run again."""
    cached, plain = pair(family, freeze="body")
    with torch.no_grad():
        found = [cached.hidden(some([7, 8, 9])) for _ in range(2)]
        assert all(torch.allclose(one, plain.hidden(some([7, 8, 9])), atol=1e-6) for one in found)
    assert n_computed(cached) == 3


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_a_frozen_encoder_reads_a_source_once(family: str) -> None:
    """Whatever the decoder writes about it; loss and gradients are those without the cache."""
    cached, plain = pair(family, freeze="encoder")
    for target in ([5, 6], [6]):
        examples = [answering([7, 8, 9], target), answering([10], [5])]
        grads = []
        for model in (cached, plain):
            loss, _ = Objective(model, label_smoothing=0.0)(examples, np.ones(2, dtype=np.float32))
            loss.backward()
            grads.append(torch.cat([p.grad.flatten() for p in trained(model).values() if p.grad is not None]))
        assert torch.allclose(grads[0], grads[1], atol=1e-5, rtol=1e-4)
    assert n_computed(cached) == 4


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_of_a_frozen_body_that_writes_the_encoder_is_kept(family: str) -> None:
    """Its decoder is computed each time, and is not said to be replayed."""
    assert boundary_of(made(family, freeze="body"))[0] == "source"


def test_where_nothing_is_kept_the_reason_is_told() -> None:
    """Rows that are padded, and half an encoder."""
    assert why_not(made("xlnet")) == "models of the type 'xlnet' read padded rows"
    assert why_not(made("t5")) == "of an encoder-decoder only a whole encoder is kept"
    assert why_not(made("llama")) == why_not(made("llama", freeze="none")) == ""


def test_a_model_that_hands_on_more_than_one_state_is_not_cut() -> None:
    """The way past its blocks is tried on a probe first."""

    model = made("llama", cache_trunk=False)
    lowest, topmost = model.base.layers[0], model.base.layers[2]
    lowest.register_forward_hook(lambda block, _given, states: setattr(block, "mean", states.mean()))
    topmost.register_forward_pre_hook(lambda _block, given: (given[0] + vars(model.base.layers[0]).get("mean", 0.0),))

    assert trunk_of(model, probe=some([7, 8, 9]), limit_gb=1.0) is None
    assert why_not(model) == "the type 'llama' hands on more between its blocks than one state"


# --- evaluation -------------------------------------------------------------------------------------------------------


def blank(ids: list[int], *, candidates: Sequence[list[int]]) -> Tokens:
    """A text with one blank at its end, and what may fill it."""
    return replace(tokens(ids, [4]), candidates=tuple(np.array(ids) for ids in candidates))


def test_scores_of_classes_words_and_fillings_are_replayed() -> None:
    """A second look computes nothing below the boundary, and finds the same."""
    from formtune.label_words import plan_words

    texts = [tokens([7, 8, 9]), tokens([10])]
    words = [np.array([20, 21]), np.array([22]), np.array([20, 23, 24])]
    plan = plan_words(words, ["a", "b", "c"], stop_id=1)
    blanks = [blank([7, 8], candidates=[[30], [31]])]

    def looks(model: Model) -> list[np.ndarray]:
        match model.output:
            case "head":
                found = score_classes(model, texts, tokens_per_batch=64)
            case "mask":
                found = score_fillings(model, blanks, tokens_per_batch=64)
            case _:
                prompts = [t.ids_T for t in texts]
                found = score_words(model, prompts, [plan, plan], tokens_per_batch=64)
        return [one.scores_K for one in found]

    for family, output in (("bert", "head"), ("bert", "mask"), ("llama", "words"), ("gpt2", "head")):
        cached, plain = pair(family, output=output)
        with cached.inference(), plain.inference():
            wanted, first = looks(plain), looks(cached)
            n_first = n_computed(cached)
            second = looks(cached)
        assert n_computed(cached) == n_first > 0
        for found in (first, second):
            assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(found, wanted, strict=True))


def test_a_timing_computes_anew_and_keeps() -> None:
    """What an answer costs is told of a model that meets its text for the first time."""
    model = made("llama")
    with torch.no_grad():
        model.hidden(some([7, 8]))
        with model.computing_anew():
            model.hidden(some([7, 8]))
            model.hidden(some([9]))
        model.hidden(some([7, 8], [9]))
    assert n_computed(model) == 5


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


def test_dropout_below_the_boundary_is_off_in_a_frozen_body() -> None:
    """So training goes the same way with the cache and without, for heads alone as well."""
    ends = []
    for cache in (True, False):
        model = made("albert", output="head", freeze="body", cache_trunk=cache)
        examples = [tokens([20 + i] * (2 + i), id=str(i), gold=i % 3) for i in range(4)]
        done = train(model, examples, settings=TrainSettings(steps=4, batch_size=4, learning_rate=0.1))
        ends.append([point.loss for point in done.trace])
    assert np.allclose(ends[0], ends[1], atol=1e-5)
    assert ends[0][-1] < ends[0][0]


def test_free_embeddings_switch_the_cache_off() -> None:
    """Nothing below a trained part may be kept."""
    assert tiny("llama", options=Options(freeze="*.layers.0.*")).trunk is None
    assert tiny("llama").trunk is None


def test_rounded_states_are_the_same_when_they_are_replayed() -> None:
    """In bfloat16 half of the disk is used, and the first epoch already sees what later ones see."""
    model = made("llama", precision="bfloat16")
    with model.inference():
        first, second = (model.hidden(some([7, 8, 9])) for _ in range(2))

    assert torch.equal(first, second)
    assert model.trunk is not None
    assert model.trunk.size_bytes == 3 * 32 * 2
    assert made("bert", output="head", freeze="body", precision="bfloat16").trunk.store_on("cpu").dtype == np.float32  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("family", "freeze"),
    [*((f, "all-but-top-1") for f in ("bert", "gpt2", "llama", "qwen3")), ("t5", "encoder"), ("bart", "encoder")],
)
def test_rounded_states_are_read_without_the_cache_too(family: str, freeze: str) -> None:
    """A run that is opened answers as it did when it was trained: scores and written text."""
    cached, plain = pair(family, freeze=freeze, precision="bfloat16")
    rows = (
        [answering([7, 8, 9], [5, 6]), answering([10], [5])]
        if freeze == "encoder"
        else [tokens([7, 8, 9]), tokens([10])]
    )
    batch = collate(rows, causal=cached.causal)
    with cached.inference(), plain.inference():
        wanted = plain.hidden(batch)
        assert torch.equal(cached.hidden(batch), wanted)
        assert torch.equal(cached.hidden(batch), wanted)
    if family != "bert":
        asked = {"max_new_tokens": 6, "stop_ids": []}
        assert cached.generate([[7, 8, 9], [10]], **asked) == plain.generate([[7, 8, 9], [10]], **asked)  # type: ignore[arg-type]


# --- on disk ----------------------------------------------------------------------------------------------------------


def test_the_next_process_computes_nothing_again() -> None:
    """A model that is loaded anew finds the states of the last."""
    with torch.no_grad():
        first = made("llama").hidden(some([7, 8, 9]))
        later = made("llama")
        assert torch.equal(later.hidden(some([7, 8, 9])), first)
    assert n_computed(later) == 0


def test_a_model_that_is_let_go_goes_at_once_with_what_it_has_open() -> None:
    """Before the collector comes: the next model's memory is measured right after."""
    model = made("llama")
    with torch.no_grad():
        model.hidden(some([7, 8, 9]))
    assert model.trunk is not None
    left = weakref.ref(model), weakref.ref(model.trunk.store_on("cpu"))
    gc.collect()
    gc.disable()
    try:
        del model
        assert [one() for one in left] == [None, None]
    finally:
        gc.enable()


def test_damaged_states_are_computed_again_and_it_is_told() -> None:
    """Once."""
    with torch.no_grad():
        wanted = made("llama").hidden(some([7, 8, 9]))
    [one] = kept(states_folder())
    raw = bytearray((one.folder / "states").read_bytes())
    raw[7] ^= 255
    (one.folder / "states").write_bytes(raw)

    later = made("llama")
    with torch.no_grad():
        assert torch.allclose(later.hidden(some([7, 8, 9])), wanted, atol=1e-6)
        assert n_computed(later) == 3
        later.hidden(some([7, 8, 9]))
    assert n_computed(later) == 3
    assert later.trunk is not None
    assert later.trunk.news() == [f"3 kept states were damaged, and are computed anew ({one.folder})"]
    assert later.trunk.news() == []


def test_beyond_its_limit_nothing_more_is_kept_and_nothing_changes() -> None:
    """What is there stays, the other states are computed anew each time, and it is told."""
    with torch.no_grad():
        made("llama").hidden(some([7, 8]))
    limited, plain = pair("llama", cache_gb=(kept(states_folder())[0].size_bytes + 100) / 1e9)
    with torch.no_grad():
        for batch in (some([7, 8], [9, 10]), some([7, 8], [9, 10])):
            assert torch.allclose(limited.hidden(batch), plain.hidden(batch), atol=1e-6)

    assert limited.trunk is not None
    assert limited.trunk.size_bytes == 2 * 32 * 4
    assert limited.trunk.news() == [
        "nothing more of what the frozen part gives is kept: there is no room left (model.cache_gb, or the disk)"
    ]


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """Twelve short texts of two kinds."""
    rows = [f"{a} {b},{label}" for label, pair in (("good", "xy"), ("bad", "uv")) for a in pair for b in "abc"]
    path = tmp_path / "reviews.csv"
    path.write_text("text,label\n" + "\n".join(rows) + "\n")
    return path


def trained_run(reviews: Path, out: Path, told: list[str], *, form: str = "classification", **model: Any) -> None:
    """Train one epoch, and take down what is told."""
    recipe = make_recipe(
        {
            "data": {"paths": [str(reviews)], "n_train": 6, "n_dev": 2, "n_test": 4},
            "formats": form,
            "models": tiny_folder(model.pop("family", "bert")),
            "model": model,
            "training": {"epochs": 1, "batch_size": 3},
            "out": str(out),
        }
    )
    pipeline.train(recipe, progress=lambda event: told.append(event.stage))


def test_disk_use_is_told_before_anything_is_computed(reviews: Path, tmp_path: Path) -> None:
    """With the folder, and on the second day with what is there."""
    told: list[str] = []
    trained_run(reviews, tmp_path / "one", told, freeze="all-but-top-1")
    trained_run(reviews, tmp_path / "two", told, freeze="all-but-top-1")

    [one] = kept(states_folder())
    first, second = (line for line in told if "kept" in line)
    assert first.startswith("classification: what the frozen bottom (2 of 3 blocks) gives is kept: about 0.0 MB in ")
    assert first.endswith(str(one.folder))
    assert "of earlier runs are there" in second


def test_what_is_not_kept_is_told_with_its_reason(reviews: Path, tmp_path: Path) -> None:
    """Where something at the bottom is frozen, and only there."""
    told: list[str] = []
    trained_run(reviews, tmp_path / "one", told, family="xlnet", freeze="all-but-top-1")
    trained_run(reviews, tmp_path / "two", told, family="xlnet")
    trained_run(reviews, tmp_path / "three", told, freeze="all-but-top-1", cache_trunk=False)

    assert [line for line in told if "frozen" in line] == [
        "classification: what is frozen is computed anew each time: models of the type 'xlnet' read padded rows"
    ]
    assert kept(states_folder()) == []


def test_masked_at_random_nothing_is_kept(tmp_path: Path) -> None:
    """What is masked anew is never seen again."""
    path = tmp_path / "lines.txt"
    path.write_text("".join(f"line number {n} of many\n" for n in range(12)))
    told: list[str] = []
    trained_run(path, tmp_path / "run", told, form="masked_lm", freeze="all-but-top-1")

    assert [line for line in told if "frozen" in line] == [
        "masked_lm: what is frozen is computed anew each time: what is masked anew each epoch is never seen again"
    ]
    assert kept(states_folder()) == []


def test_a_run_that_answers_keeps_nothing_of_what_it_is_asked(reviews: Path, tmp_path: Path) -> None:
    """Neither questions nor their states."""
    trained_run(reviews, tmp_path / "run", [], freeze="all-but-top-1")
    before = [one.size_bytes for one in kept(states_folder())]
    opened = open_run(tmp_path / "run")
    pipeline.predict(str(tmp_path / "run"), ["x secret"])

    assert opened.model.trunk is None
    assert [one.size_bytes for one in kept(states_folder())] == before


def test_a_run_that_is_opened_reads_states_as_they_were_kept(reviews: Path, tmp_path: Path) -> None:
    """Rounded in bfloat16, though it keeps nothing."""
    trained_run(reviews, tmp_path / "run", [], freeze="all-but-top-1", precision="bfloat16")
    model = open_run(tmp_path / "run").model
    with model.inference():
        alone = model.hidden(some([7, 8, 9], [10]))
        model.trunk = trunk_of(model, probe=some([7, 8, 9], [10]), limit_gb=1)
        kept_too = model.hidden(some([7, 8, 9], [10]))

    assert model.trunk is not None
    assert model.trunk.boundary == "blocks"
    assert torch.equal(alone, kept_too)


def test_the_cache_is_listed_and_emptied(reviews: Path, tmp_path: Path) -> None:
    """By the command's own function."""
    trained_run(reviews, tmp_path / "run", [], freeze="all-but-top-1")
    listed = pipeline.cache()
    assert [(one["blocks"], one["boundary"], one["precision"]) for one in listed["kept"]] == [(2, "blocks", "float32")]

    import gc

    gc.collect()  # the run's model has let go of its files
    emptied = pipeline.cache(clear=True)
    assert (emptied["kept"], emptied["removed_mb"]) == ([], listed["size_mb"])
