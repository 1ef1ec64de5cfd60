"""Checkpoints: a training that is taken up again ends as the one that went through, bit by bit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from token_examples import answering, tokens

from formtune.adapters import Lora
from formtune.bench import look_at
from formtune.checkpoints import Keeper, Keeping
from formtune.errors import Stopped
from formtune.freezing import trained
from formtune.interrupts import Asked
from formtune.loading import Options, tiny
from formtune.models import Model
from formtune.tokens import Tokens
from formtune.training import Trained, train
from formtune.updates import TrainSettings

SETTINGS = TrainSettings(steps=7, batch_size=3, learning_rate=1e-2, validate_every=2, micro_batch_tokens=24, seed=5)
FAMILIES = ("bert", "gpt2", "llama", "qwen3", "t5", "xlnet")


def made(family: str, *, head: bool = False, **options: Any) -> Model:
    """A tiny model that drops out while it is trained, wherever its family can."""
    output = "head" if head else "mask" if family == "bert" else "text"
    return tiny(family, output=output, n_classes=2 if head else 0, options=Options(**options))  # type: ignore[arg-type]


def examples(model: Model, n: int = 7) -> list[Tokens]:
    """Examples of different lengths; three updates make an epoch, the last of them smaller."""
    if model.shape == "encoder-decoder" and not model.class_head:
        return [answering([20 + i] * (2 + i), [30 + i] * (1 + i % 3), id=str(i)) for i in range(n)]
    return [tokens([20 + i] * (2 + i), [30 + i] * (1 + i % 3), id=str(i), gold=i % 2) for i in range(n)]


def after(*steps: int) -> Callable[[], Any]:
    """Signals that ask to stop after some updates: one in each training that this is given to."""

    @contextmanager
    def heed() -> Iterator[Asked]:
        asked = count(1)
        yield lambda: 2 if next(asked) == wanted else None

    wanted = steps[0]
    return heed


class Going:
    """A training that is stopped after some updates and taken up again, with looks at dev records."""

    def __init__(self, make: Callable[[], Model], folder: Path, settings: TrainSettings = SETTINGS) -> None:
        self.make = make
        self.folder = folder
        self.settings = settings
        self.corrupt: str | None = None
        self.told: list[str] = []

    def go(self, *, stop: int | None = None, kept: bool = True, **changed: Any) -> tuple[Trained, dict[str, bytes]]:
        """Train a new model; give what came out and the weights."""
        model = self.make()
        dev = examples(model, 3)
        settings = replace(self.settings, **changed)
        keeping = Keeping(folder=self.folder)
        if stop:
            keeping = replace(keeping, heed=after(stop))
        done = train(
            model,
            [replace(one, corrupt=self.corrupt) for one in examples(model)],
            settings=settings,
            look=lambda: look_at(model, dev, settings=settings, metric=None),
            keeper=Keeper(keeping, tell=self.told.append) if kept else None,
        )
        return done, {name: p.detach().numpy().tobytes() for name, p in trained(model).items()}

    def stopped(self, stop: int) -> None:
        """Train until a signal comes."""
        with pytest.raises(Stopped):
            self.go(stop=stop)


def equal(going: Going, *stops: int) -> None:
    """Train through, and with stops after so many updates each; everything but the time is the same."""
    through, weights = going.go(kept=False)
    for stop in stops:
        going.stopped(stop)
    taken_up, again = going.go()

    assert again == weights
    assert untimed(taken_up) == untimed(through)
    assert (taken_up.best_step, taken_up.best) == (through.best_step, through.best)
    assert taken_up.stopped_early == through.stopped_early


def untimed(done: Trained) -> list[Any]:
    """Give losses, rates, counts and looks."""
    return [replace(point, seconds=0.0) for point in done.trace]


@pytest.mark.parametrize(("family", "head"), [*((family, False) for family in FAMILIES), ("bert", True), ("t5", True)])
def test_a_training_taken_up_twice_ends_as_the_one_that_went_through(family: str, head: bool, tmp_path: Path) -> None:
    """Weights, losses and looks, bit by bit: stopped in the middle of the first epoch and of the second."""
    equal(Going(lambda: made(family, head=head), tmp_path), 2, 3)


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adafactor"])
def test_what_every_optimizer_keeps_is_kept(optimizer: str, tmp_path: Path) -> None:
    """Moments, momentum, rows and columns."""
    settings = replace(SETTINGS, optimizer=optimizer)  # type: ignore[arg-type]
    equal(Going(lambda: made("gpt2"), tmp_path, settings), 4)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_adapters_with_dropout_of_their_own_are_taken_up(kind: str, tmp_path: Path) -> None:
    """Their chance goes on where it was."""
    lora = Lora(kind=kind, rank=2, dropout=0.3)  # type: ignore[arg-type]
    equal(Going(lambda: made("llama", lora=lora), tmp_path), 4)


@pytest.mark.parametrize("stop", [2, 5])
def test_blocks_that_join_one_by_one_are_taken_up(stop: int, tmp_path: Path) -> None:
    """Before and after one has joined."""
    equal(Going(lambda: made("bert"), tmp_path, replace(SETTINGS, unfreeze_every=3)), stop)


@pytest.mark.parametrize(("family", "head"), [("bert", True), ("llama", False)])
def test_a_frozen_trunk_is_taken_up(family: str, head: bool, tmp_path: Path) -> None:
    """Its cache is filled as it was: the same states in the same batches."""
    equal(Going(lambda: made(family, head=head, freeze="all-but-top-1"), tmp_path), 4)


@pytest.mark.parametrize(("family", "corrupt"), [("bert", "tokens"), ("t5", "spans")])
def test_what_is_masked_anew_each_epoch_is_taken_up(family: str, corrupt: str, tmp_path: Path) -> None:
    """The mask of an example follows from the epoch and its place."""
    going = Going(lambda: made(family), tmp_path)
    going.corrupt = corrupt
    equal(going, 5)
