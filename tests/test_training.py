"""The training loop: the gradient is that of the whole update, and the best weights are kept."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from token_examples import answering, tokens

from formtune.adapters import Lora
from formtune.batches import Batch, collate
from formtune.bench import dev_loss
from formtune.errors import SettingError
from formtune.freezing import trained
from formtune.loading import Options, tiny
from formtune.models import Model
from formtune.objective import Objective
from formtune.optimizing import parameter_groups
from formtune.tokens import Tokens
from formtune.training import Look, train
from formtune.updates import TrainSettings, factors_of, micro_batches, updates

FAMILIES = ("bert", "gpt2", "llama", "t5", "xlnet")


def examples(model: Model, n: int = 5) -> list[Tokens]:
    """Examples of different lengths, with classes."""
    make = answering if model.shape == "encoder-decoder" and not model.class_head else tokens
    found = []
    for i in range(n):
        one = make([20 + i] * (2 + i), [30 + i] * (1 + i % 3), id=str(i))
        found.append(
            one if make is answering else tokens([20 + i] * (2 + i), [30 + i] * (1 + i % 3), id=str(i), gold=i % 2)
        )
    return found


def loss_of(model: Model, update: list[Tokens], factors: np.ndarray, *, label_smoothing: float = 0.0) -> float:
    """Compute the loss of an update in one batch."""
    return float(Objective(model, label_smoothing=label_smoothing)(update, factors)[0].detach())


def gradient(model: Model, update: list[Tokens], settings: TrainSettings, *, groups: list[list[int]]) -> torch.Tensor:
    """Add up the gradients of the micro-batches of one update."""
    objective = Objective(model, label_smoothing=settings.label_smoothing)
    factors = factors_of(update, settings)
    for group in groups:
        objective([update[i] for i in group], factors[group])[0].backward()
    grads = [p.grad.flatten() for p in trained(model).values() if p.grad is not None]
    model.module.zero_grad()
    return torch.cat(grads)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("average", ["example", "token"])
def test_the_split_into_micro_batches_does_not_change_the_gradient(family: str, average: str) -> None:
    """One batch of five, or three, one and one: the same sum, although the lengths differ."""
    model = tiny(family, output="mask" if family == "bert" else "text")
    settings = TrainSettings(steps=1, average=average)  # type: ignore[arg-type]
    update = examples(model)

    whole = gradient(model, update, settings, groups=[[0, 1, 2, 3, 4]])
    split = gradient(model, update, settings, groups=[[0, 1, 2], [3], [4]])

    assert torch.allclose(whole, split, rtol=1e-4, atol=1e-6)


def test_bfloat16_computes_about_the_same_and_keeps_the_weights_in_float32() -> None:
    """Autocast: what is multiplied is rounded, what is learned is not."""
    exact, rounded = (tiny("llama", options=Options(precision=precision)) for precision in ("float32", "bfloat16"))
    settings = TrainSettings(steps=3, learning_rate=1e-3)
    first, second = (train(model, examples(model), settings=settings) for model in (exact, rounded))

    assert all(p.dtype == torch.float32 for p in trained(rounded).values())
    losses = [[point.loss for point in one.trace] for one in (first, second)]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.03)


def test_the_loss_is_the_mean_over_examples_of_their_mean_over_tokens() -> None:
    """An example with many learned tokens counts as much as one with few."""
    model = tiny("llama")
    update = examples(model)
    each = [loss_of(model, [t], factors_of([t], TrainSettings(steps=1))) for t in update]

    factors = factors_of(update, TrainSettings(steps=1))
    whole = loss_of(model, update, factors)

    assert whole == pytest.approx(float(np.mean(each)), rel=1e-5)


def test_token_averaging_counts_every_learned_token_equally() -> None:
    """It is the mean over all learned tokens of the update."""
    model = tiny("llama")
    update = examples(model)
    settings = TrainSettings(steps=1, average="token")
    batch = collate(update, causal=True)

    loss = loss_of(model, update, factors_of(update, settings))

    places = np.flatnonzero(batch.weights_T)
    with torch.no_grad():
        logits = model.logits(model.hidden(batch)[places])
    wanted = torch.nn.functional.cross_entropy(logits, torch.from_numpy(batch.labels_T[places]))
    assert loss == pytest.approx(float(wanted), rel=1e-5)


def test_the_prompt_counts_what_it_is_said_to() -> None:
    """Every place is asked for its successor: a prompt's with the weight, an answer's whole."""
    model = tiny("llama")
    update = next(updates(examples(model, 1), TrainSettings(steps=1, prompt_weight=0.25), model.tokenizer))
    loss = loss_of(model, update, factors_of(update, TrainSettings(steps=1)))

    ids = torch.from_numpy(update[0].ids_T).long()
    with torch.no_grad(), model.attending("sdpa"):
        logits = model.module(input_ids=ids[None]).logits[0]
    losses = torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="none")
    weights = torch.tensor([0.25, 1.0])  # a prompt of two tokens, an answer of one
    assert loss == pytest.approx(float((losses * weights).sum() / (0.25 + 1.0)), rel=1e-5)


def test_what_is_shared_counts_once_in_a_micro_batch() -> None:
    """Eight questions on a paragraph of 50 tokens are 82 tokens, and fit; apart they are eight times as many."""
    update = [tokens([7] * 50 + [20 + i], [30 + i] * 3, id=str(i)) for i in range(8)]
    settings = TrainSettings(steps=1, micro_batch_tokens=82)
    hand = list(range(8))

    assert micro_batches(update, hand, settings, shares=True, pads=False) == [hand]
    assert micro_batches(update, hand, settings, shares=False, pads=False) == [[i] for i in hand]


@pytest.mark.parametrize(("family", "output"), [("bert", "mask"), ("t5", "text"), ("llama", "head")])
def test_only_a_decoder_that_writes_learns_its_prompt(family: str, output: str) -> None:
    """Elsewhere nobody is asked for it."""
    model = tiny(family, output=output, n_classes=2)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match=r"training\.prompt_weight: A prompt is learned only"):
        train(model, examples(model), settings=TrainSettings(steps=1, prompt_weight=0.1))


def test_class_weights_weigh_examples() -> None:
    """A class of weight 3 counts three times, and the weights are divided by their sum."""
    update = [tokens([7], gold=0), tokens([8], gold=1)]
    settings = TrainSettings(steps=1, class_weights=(1.0, 3.0))

    assert factors_of(update, settings).tolist() == pytest.approx([0.25, 0.75])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("output", ["words", "head"])
def test_every_family_learns_its_examples(family: str, output: str) -> None:
    """The loss falls to less than half."""
    kind = "mask" if family == "bert" and output == "words" else output
    model = tiny(family, output=kind, n_classes=2)  # type: ignore[arg-type]
    done = train(model, examples(model), settings=TrainSettings(steps=25, batch_size=5, learning_rate=5e-3, warmup=0.0))

    assert done.trace[-1].loss < 0.5 * done.trace[0].loss
    assert done.n_parameters == sum(p.numel() for p in trained(model).values())


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd", "adafactor"])
def test_every_optimizer_learns(optimizer: str) -> None:
    """Each moves the weights the right way."""
    model = tiny("llama")
    settings = TrainSettings(steps=20, batch_size=5, learning_rate=1e-2, optimizer=optimizer)  # type: ignore[arg-type]
    done = train(model, examples(model), settings=settings)

    assert done.trace[-1].loss < done.trace[0].loss


def test_the_same_seed_gives_the_same_weights() -> None:
    """Bit by bit, dropout included."""
    weights = []
    for _ in range(2):
        model = tiny("bert", output="head", n_classes=2)
        train(model, examples(model), settings=TrainSettings(steps=4, batch_size=2, seed=3))
        weights.append({n: p.detach().clone() for n, p in trained(model).items()})

    assert all(torch.equal(weights[0][n], weights[1][n]) for n in weights[0])


def test_the_weights_of_the_best_look_are_restored() -> None:
    """Training goes on for a while, then stops; what it leaves is the third look's."""
    model = tiny("llama")
    scores = iter([1.0, 2.0, 3.0, 2.5, 2.6, 9.0])
    seen: list[torch.Tensor] = []

    def look() -> Look:
        seen.append(model.module.get_input_embeddings().weight.detach().clone())
        return Look(score=next(scores))

    done = train(
        model, examples(model), settings=TrainSettings(steps=6, validate_every=1, patience=2, batch_size=5), look=look
    )

    assert (done.best_step, done.stopped_early, len(done.trace)) == (3, True, 5)
    assert torch.equal(model.module.get_input_embeddings().weight, seen[2])


def test_frozen_weights_stay_as_they_are() -> None:
    """Bit by bit."""
    model = tiny("llama", options=Options(freeze="all-but-top-1"))
    before = {n: p.detach().clone() for n, p in model.module.named_parameters()}
    train(model, examples(model), settings=TrainSettings(steps=3, learning_rate=1e-2))

    changed = {n for n, p in model.module.named_parameters() if not torch.equal(p, before[n])}
    assert changed <= set(trained(model))
    assert changed


def test_the_learning_rate_rises_and_falls() -> None:
    """Linear to zero after the warm-up, cosine likewise; constant stays."""
    rates = {}
    for schedule in ("linear", "cosine", "constant"):
        model = tiny("llama")
        settings = TrainSettings(steps=10, warmup=0.2, learning_rate=1.0e-3, schedule=schedule)  # type: ignore[arg-type]
        rates[schedule] = [p.learning_rate for p in train(model, examples(model), settings=settings).trace]

    assert rates["linear"][:3] == pytest.approx([0.5e-3, 1e-3, 1e-3])
    assert rates["linear"][-1] == pytest.approx(0.125e-3)
    assert rates["cosine"][6] == pytest.approx(0.5e-3)
    assert rates["constant"][2:] == pytest.approx([1e-3] * 8)


def test_label_smoothing_spreads_the_target() -> None:
    """The loss is (1 - a) times the target's and a times the mean over all answers."""
    model = tiny("bert", output="head", n_classes=3)
    update = [tokens([7, 8], gold=1)]
    batch = collate(update, causal=False)
    model.train(False)

    loss = loss_of(model, update, np.ones(1, dtype=np.float32), label_smoothing=0.3)

    with torch.no_grad():
        log_p = torch.log_softmax(model.classes(batch)[0], 0)
    assert loss == pytest.approx(float(-0.7 * log_p[1] - 0.3 * log_p.mean()), rel=1e-5)


def test_a_loss_that_is_no_number_stops_with_a_remedy() -> None:
    """Place, problem, remedy."""
    model = tiny("llama")
    with torch.no_grad():
        model.module.get_input_embeddings().weight.fill_(math.nan)

    with pytest.raises(SettingError, match=r"training\.learning_rate: The loss is nan at update 1\. Lower"):
        train(model, examples(model), settings=TrainSettings(steps=1))


def test_nothing_to_train_is_refused() -> None:
    """Everything frozen."""
    with pytest.raises(SettingError, match="Everything is frozen"):
        train(tiny("llama", options=Options(freeze="*")), [tokens([7], [8])], settings=TrainSettings(steps=1))


def test_every_epoch_sees_every_example_once_in_a_new_order() -> None:
    """The order depends on the seed alone."""
    model = tiny("llama")
    found = list(updates(examples(model, 6), TrainSettings(steps=6, batch_size=2, seed=1), model.tokenizer))
    ids = [[t.id for t in update] for update in found]
    epochs = [sum(ids[:3], []), sum(ids[3:], [])]

    assert [sorted(e) for e in epochs] == [["0", "1", "2", "3", "4", "5"]] * 2
    assert epochs[0] != epochs[1]


def test_adapters_train_at_the_rate_that_is_tried_and_heads_at_their_own() -> None:
    """LoRA's matrices are new, and still no head."""
    model = tiny("bert", output="head", n_classes=2, options=Options(lora=Lora(rank=2)))
    settings = TrainSettings(steps=1, learning_rate=1e-5, head_learning_rate=1e-3, weight_decay=0.0)

    groups = {g["lr"]: len(g["params"]) for g in parameter_groups(model, trained(model), settings)}  # type: ignore[arg-type]

    assert groups == {1e-5: len(trained(model)) - 2, 1e-3: 2}


def test_random_masking_is_judged_by_its_loss() -> None:
    """The dev records are masked, each time alike, so that a look can tell better from worse."""
    model = tiny("bert", output="mask")
    dev = [replace(tokens(list(range(20, 60)), id=str(i)), corrupt="tokens") for i in range(3)]

    first, again = (dev_loss(model, dev, TrainSettings(steps=1)) for _ in range(2))

    assert first == again > 1.0


@pytest.mark.parametrize(("shares", "n_tokens"), [(True, 24), (False, 44)])
def test_a_look_shares_beginnings_where_training_does(
    shares: bool, n_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two dev records begin with the same twenty tokens."""
    model = tiny("llama")
    dev = [tokens([*range(20, 40), 50 + i], [60], id=str(i)) for i in range(2)]
    seen: list[int] = []
    hidden = model.hidden

    def counting(batch: Batch) -> torch.Tensor:
        seen.append(batch.n_tokens)
        return hidden(batch)

    monkeypatch.setattr(model, "hidden", counting)
    dev_loss(model, dev, TrainSettings(steps=1, share_prefixes=shares))
    assert sum(seen) == n_tokens


def test_a_look_asks_for_the_answers_alone() -> None:
    """Whatever training adds to the loss, trainings compare by what is left."""
    model = tiny("llama")
    dev = [tokens([7, 8, 9], [10], id="0")]
    plain, more = TrainSettings(steps=1), TrainSettings(steps=1, label_smoothing=0.2, prompt_weight=0.5)
    assert dev_loss(model, dev, plain) == dev_loss(model, dev, more)


def test_nothing_to_train_on_is_a_wrong_call() -> None:
    """It would otherwise wait for ever for an example."""
    with pytest.raises(ValueError, match="nothing to train on"):
        train(tiny("llama"), [], settings=TrainSettings(steps=1))


def test_blocks_join_in_the_loop_as_the_settings_say() -> None:
    """In two updates of a training that lets one more join after every second, only the top of three blocks moves."""
    model = tiny("llama")
    before = {n: p.detach().clone() for n, p in trained(model).items()}
    train(model, examples(model), settings=TrainSettings(steps=2, learning_rate=1e-2, warmup=0.0, unfreeze_every=2))

    moved = {n for n, p in trained(model).items() if not torch.equal(p, before[n])}
    assert {n.split(".")[2] for n in moved if "layers" in n} == {"2"}
    assert not any("embed_tokens" in n for n in moved)
