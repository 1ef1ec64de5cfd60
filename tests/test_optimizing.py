"""How weights move: step sizes by block and by update, and blocks that join one after the other."""

import copy
from typing import Any

import pytest
import torch
import transformers
from token_examples import answering, tokens

from formtune.adapters import Lora
from formtune.errors import SettingError
from formtune.freezing import blocks_of, levels, trained
from formtune.loading import Options, tiny
from formtune.models import Model
from formtune.objective import Objective
from formtune.optimizing import factor_at, joined, let_join, optimizer_of, parameter_groups, set_rates
from formtune.tokens import Tokens, byte_tokenizer
from formtune.updates import TrainSettings, factors_of

FAMILIES = ("bert", "gpt2", "llama", "t5", "xlnet")


def made(family: str, **options: Any) -> Model:
    """A tiny model that writes, or fills masks."""
    return tiny(family, output="mask" if family == "bert" else "text", options=Options(**options))


def examples(model: Model) -> list[Tokens]:
    """Three examples of different lengths."""
    make = answering if model.shape == "encoder-decoder" else tokens
    return [make([7 + n, *range(30, 32 + n)], [20 + n, 25, 26], id=str(n)) for n in range(3)]


def rates_of(model: Model, settings: TrainSettings) -> dict[str, float]:
    """Name → the rate that its group has."""
    names = {id(p): n for n, p in trained(model).items()}
    groups: list[dict[str, Any]] = parameter_groups(model, trained(model), settings)
    return {names[id(p)]: group["lr"] for group in groups for p in group["params"]}


def optimizer_for(model: Model, settings: TrainSettings) -> torch.optim.Optimizer:
    """The optimizer that the loop would make."""
    return optimizer_of(parameter_groups(model, trained(model), settings), settings)


def go(model: Model, optimizer: torch.optim.Optimizer, settings: TrainSettings, *, steps: range) -> None:
    """Do updates on three examples, those of the numbers alone."""
    model.train(True)
    update, level = examples(model), levels(model)
    for step in steps:
        torch.manual_seed(step)
        let_join(model, step, settings, levels=level)
        set_rates(optimizer, step, settings)
        Objective(model, label_smoothing=0.0)(update, factors_of(update, settings))[0].backward()
        optimizer.step()
        optimizer.zero_grad()


def weights(model: Model) -> dict[str, torch.Tensor]:
    """Copy every weight."""
    return {n: p.detach().clone() for n, p in model.module.named_parameters()}


# --- step sizes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("constant", [0.5, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]),
        ("inverse_sqrt", [0.5, 1, 0.8165, 0.7071, 0.6325, 0.5774, 0.5345, 0.5, 0.4714, 0.4472]),
        ("wsd", [0.5, 1, 1, 1, 1, 1, 1, 1, 1, 0.5]),
        ("cosine", [0.5, 1, 1, 0.9619, 0.8536, 0.6913, 0.5, 0.3087, 0.1464, 0.0381]),
    ],
)
def test_the_step_size_follows_its_schedule(schedule: Any, factors: list[float]) -> None:
    """Two of ten updates warm up."""
    settings = TrainSettings(steps=10, warmup=0.2, schedule=schedule)

    assert [factor_at(step, settings) for step in range(1, 11)] == pytest.approx(factors, abs=1e-4)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_schedules_fall_as_those_of_transformers(schedule: Any) -> None:
    """Behind the warm-up, which theirs begins with an update that moves nothing."""
    settings = TrainSettings(steps=40, warmup=0.25, schedule=schedule)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = transformers.get_scheduler(schedule, optimizer, num_warmup_steps=10, num_training_steps=40)
    expected = []
    for _ in range(40):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()

    assert [factor_at(step, settings) for step in range(11, 41)] == pytest.approx(expected[10:])


@pytest.mark.parametrize("schedule", ["linear", "cosine", "inverse_sqrt", "wsd", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("steps", [1, 2, 100])
def test_every_update_moves(schedule: Any, warmup: float, steps: int) -> None:
    """However short the training: no factor is zero, none is above one."""
    settings = TrainSettings(steps=steps, warmup=warmup, schedule=schedule)

    assert all(0 < factor_at(step, settings) <= 1 for step in range(1, steps + 1))


def test_step_sizes_depend_on_the_number_of_the_update_alone() -> None:
    """Taken up at the seventh update, they are those of the seventh."""
    model = made("llama")
    settings = TrainSettings(steps=10, learning_rate=1e-3, layer_decay=0.5)
    straight, resumed = optimizer_for(model, settings), optimizer_for(model, settings)
    for step in range(1, 8):
        largest = set_rates(straight, step, settings)
    set_rates(resumed, 7, settings)

    assert [g["lr"] for g in straight.param_groups] == [g["lr"] for g in resumed.param_groups]
    assert largest == pytest.approx(1e-3 * 4 / 9)


def test_each_block_has_the_decayed_rate_of_the_one_above() -> None:
    """The embeddings lie below the lowest, heads and the norm beside the topmost."""
    found = rates_of(made("llama"), TrainSettings(steps=1, learning_rate=8e-3, layer_decay=0.5))
    blocks = {name.split(".")[2]: rate for name, rate in found.items() if ".layers." in name}

    assert blocks == pytest.approx({"2": 8e-3, "1": 4e-3, "0": 2e-3})
    assert {name: rate for name, rate in found.items() if ".layers." not in name} == pytest.approx(
        {"model.embed_tokens.weight": 1e-3, "model.norm.weight": 8e-3, "lm_head.weight": 8e-3}
    )


def test_both_sides_of_an_encoder_decoder_decay() -> None:
    """Each from its own top."""
    found = rates_of(made("t5"), TrainSettings(steps=1, learning_rate=8e-3, layer_decay=0.5))

    for side in ("encoder", "decoder"):
        assert {rate for name, rate in found.items() if f"{side}.block.1." in name} == {8e-3}
        assert {rate for name, rate in found.items() if f"{side}.block.0." in name} == {4e-3}
    assert found["shared.weight"] == 2e-3


def test_a_new_head_has_its_own_rate_and_adapters_that_of_their_block() -> None:
    """Whatever the decay."""
    model = tiny("bert", output="head", n_classes=2, options=Options(lora=Lora(rank=2, kind="dora")))
    settings = TrainSettings(steps=1, learning_rate=8e-3, head_learning_rate=0.5, layer_decay=0.5)
    found = rates_of(model, settings)

    assert {rate for name, rate in found.items() if name.startswith("class_head.")} == {0.5}
    assert {rate for name, rate in found.items() if ".layer.2." in name} == {8e-3}
    assert {rate for name, rate in found.items() if ".layer.0." in name} == {2e-3}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_weight_moves_by_its_own_rate_times_its_gradient(family: str) -> None:
    """In the first update of plain gradient descent, against the gradient of the same model untouched."""
    settings = TrainSettings(steps=1, warmup=0.0, optimizer="sgd", learning_rate=0.5, layer_decay=0.5, weight_decay=0.0)
    model, plain = made(family), made(family)
    rates = rates_of(model, settings)
    model.quiet = plain.quiet = tuple(model.module.modules()) + tuple(plain.module.modules())  # without dropout
    go(model, optimizer_for(model, settings), settings, steps=range(1, 2))
    plain.train(True)
    update = examples(plain)
    Objective(plain, label_smoothing=0.0)(update, factors_of(update, settings))[0].backward()

    for name, parameter in plain.module.named_parameters():
        moved = torch.zeros_like(parameter) if parameter.grad is None else rates[name] * parameter.grad
        assert torch.allclose(trained(model)[name], parameter - moved, atol=1e-6), name


def test_biases_and_norms_do_not_decay() -> None:
    """XLNet's biases have a row for each head, and are biases all the same."""
    model = made("xlnet")
    names = {id(p): n for n, p in trained(model).items()}
    groups: list[dict[str, Any]] = parameter_groups(model, trained(model), TrainSettings(steps=1, weight_decay=0.1))
    decays = {names[id(p)]: group["weight_decay"] for group in groups for p in group["params"]}

    assert decays["transformer.layer.0.rel_attn.r_w_bias"] == 0
    assert decays["transformer.layer.0.rel_attn.layer_norm.weight"] == 0
    assert decays["transformer.layer.0.rel_attn.q"] == 0.1


@pytest.mark.parametrize("changed", [{"layer_decay": 0.9}, {"unfreeze_every": 2}])
def test_layers_that_share_a_block_cannot_differ(changed: dict[str, Any]) -> None:
    """All would move alike in silence."""
    config = transformers.AlbertConfig(
        vocab_size=300, embedding_size=16, hidden_size=32, num_hidden_layers=3, num_attention_heads=4
    )
    module = transformers.AlbertForMaskedLM(config)
    model = Model(module, byte_tokenizer(), name="a", shape="encoder", output="mask", max_length=64)

    with pytest.raises(SettingError, match=rf"training\.{next(iter(changed))}: The layers of the model type 'albert'"):
        parameter_groups(model, trained(model), TrainSettings(steps=1, **changed))


# --- blocks that join ------------------------------------------------------------------------------------------------

LEVELS = {"head": 0, "top": 1, "middle": 2, "bottom": 3, "embeddings": 4}


@pytest.mark.parametrize(
    ("step", "names"),
    [
        (1, {"head", "top"}),
        (5, {"head", "top"}),
        (6, {"head", "top", "middle"}),
        (11, {"head", "top", "middle", "bottom"}),
        (16, {"head", "top", "middle", "bottom", "embeddings"}),
        (99, {"head", "top", "middle", "bottom", "embeddings"}),
    ],
)
def test_every_so_many_updates_one_more_block_joins(step: int, names: set[str]) -> None:
    """From the top down, the embeddings last."""
    assert joined(step, TrainSettings(steps=99, unfreeze_every=5), LEVELS) == names


def test_everything_is_trained_from_the_beginning_where_nothing_is_said() -> None:
    """The default."""
    assert joined(1, TrainSettings(steps=9), LEVELS) == set(LEVELS)


def test_the_first_to_be_trained_is_the_topmost_that_is_not_frozen() -> None:
    """Else the first updates would have nothing to train."""
    free = {"bottom": 3, "embeddings": 4}

    assert joined(1, TrainSettings(steps=9, unfreeze_every=2), free) == {"bottom"}
    assert joined(3, TrainSettings(steps=9, unfreeze_every=2), free) == {"bottom", "embeddings"}
    assert joined(1, TrainSettings(steps=9, unfreeze_every=2), {"head": 0}) == {"head"}


@pytest.mark.parametrize("family", FAMILIES)
def test_joined_blocks_are_those_that_freezing_all_but_the_top_leaves_free(family: str) -> None:
    """In every family, for every number of blocks."""
    model = made(family)
    for n in range(1, len(blocks_of(model)[0]) + 1):
        found = joined(1 + 4 * (n - 1), TrainSettings(steps=99, unfreeze_every=4), levels(model))
        assert found == set(trained(made(family, freeze=f"all-but-top-{n}")))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("options", [{}, {"lora": Lora(rank=2, kind="dora")}], ids=["whole", "dora"])
def test_what_has_not_joined_does_not_move(family: str, options: dict[str, Any]) -> None:
    """Bit by bit, although weights decay; what has joined moves."""
    model = made(family, **options)
    settings = TrainSettings(steps=8, warmup=0.0, learning_rate=1e-2, weight_decay=0.5, unfreeze_every=2)
    optimizer = optimizer_for(model, settings)
    for step in range(1, 9, 2):
        before = weights(model)
        go(model, optimizer, settings, steps=range(step, step + 2))
        moved = {n for n, p in model.module.named_parameters() if not torch.equal(p, before[n])}
        unread = {n for n in moved | set(trained(model)) if n.endswith(("r_s_bias", "seg_embed"))}
        assert moved == joined(step, settings, levels(model)) - unread


@pytest.mark.parametrize("family", FAMILIES)
def test_the_backward_pass_stops_below_what_has_joined(family: str) -> None:
    """The states that the lower blocks of the first stack hand on carry no gradient; nothing is kept for them."""
    model = made(family)
    settings = TrainSettings(steps=9, unfreeze_every=2)
    carried: list[bool] = []
    stack = blocks_of(model)[0]
    for block in stack:
        block.register_forward_hook(
            lambda _block, _inputs, output: carried.append(
                (output[0] if isinstance(output, tuple) else output).requires_grad
            )
        )
    seen = []
    for step in (1, 3):
        carried.clear()
        let_join(model, step, settings, levels=levels(model))
        Objective(model, label_smoothing=0.0)(examples(model), factors_of(examples(model), settings))
        seen.append(carried[: len(stack)])

    n = len(stack)
    assert seen == [[False] * (n - 1) + [True], [False] * (n - 2) + [True] * 2]


def test_a_training_taken_up_again_knows_from_the_step_what_has_joined() -> None:
    """Weights are bit by bit those of the training that went through."""
    settings = TrainSettings(steps=8, learning_rate=1e-2, unfreeze_every=2, layer_decay=0.9)
    straight = made("gpt2")
    optimizer = optimizer_for(straight, settings)
    go(straight, optimizer, settings, steps=range(1, 6))
    kept, state = weights(straight), copy.deepcopy(optimizer.state_dict())
    go(straight, optimizer, settings, steps=range(6, 9))

    resumed = made("gpt2")
    with torch.no_grad():
        for name, parameter in resumed.module.named_parameters():
            parameter.copy_(kept[name])
    other = optimizer_for(resumed, settings)
    other.load_state_dict(state)
    go(resumed, other, settings, steps=range(6, 9))

    assert all(torch.equal(p, weights(straight)[n]) for n, p in resumed.module.named_parameters())


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_the_trunks_cache_stays_right_when_blocks_join(family: str) -> None:
    """Its boundary is that of what never joins."""
    settings = TrainSettings(steps=4, warmup=0.0, learning_rate=1e-3, unfreeze_every=2)
    cached, plain = (made(family, freeze="all-but-top-2", cache_trunk=cache) for cache in (True, False))
    for model in (cached, plain):
        go(model, optimizer_for(model, settings), settings, steps=range(1, 5))

    assert cached.trunk is not None
    assert (cached.trunk.n_blocks, plain.trunk) == (1, None)
    assert 0 < cached.trunk.n_computed <= sum(len(t.ids_T) for t in examples(cached))  # in four updates
    assert all(torch.allclose(p, weights(plain)[n], atol=1e-5) for n, p in cached.module.named_parameters())


def test_another_training_begins_as_if_there_had_been_none() -> None:
    """Blocks that waited when one ended are trained in the next from its own first update."""
    model = made("llama")
    let_join(model, 1, TrainSettings(steps=9, unfreeze_every=2), levels=levels(model))
    assert model.waiting

    let_join(model, 1, TrainSettings(steps=9), levels=levels(model))
    assert not model.waiting
    assert all(p.requires_grad for p in model.module.parameters())
