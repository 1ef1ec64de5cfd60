"""Checkpoints: a training that is taken up again ends as the one that went through, bit by bit."""

import errno
import importlib
import json
import math
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import tiny_folder
from token_examples import answering, tokens

from formtune import checkpoints, pipeline
from formtune.adapters import Lora
from formtune.bench import look_at
from formtune.checkpoints import CheckpointPlan, Keeper, OnDisk, claimed, write_tensors
from formtune.cli import run
from formtune.errors import SettingError, Stopped
from formtune.examples import Task
from formtune.footprint import Limits
from formtune.freezing import trained
from formtune.interrupts import Asked, heeded
from formtune.loading import Options, tiny
from formtune.metrics import METRICS
from formtune.models import Model
from formtune.progress import Event
from formtune.recipe import Recipe, make_recipe
from formtune.shards import read_manifest, staged
from formtune.tokens import Tokens
from formtune.training import Diverged, Look, Trained, train
from formtune.training_job import as_begun
from formtune.training_state import digest_of_tokens
from formtune.trials import Plan
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


def after(n_updates: int) -> Callable[[], Any]:
    """A signal that asks to stop after so many updates of a training."""

    @contextmanager
    def heed() -> Iterator[Asked]:
        asked = count(1)
        yield lambda: signal.SIGINT if next(asked) == n_updates else None

    return heed


class Going:
    """A training that is stopped after some updates and taken up again, with looks at dev records."""

    def __init__(self, make: Callable[[], Model], folder: Path, settings: TrainSettings = SETTINGS) -> None:
        self.make = make
        self.folder = folder
        self.settings = settings
        self.corrupt: str | None = None
        self.every: int | None = None
        self.told: list[str] = []

    def go(self, *, stop: int | None = None, kept: bool = True, **changed: Any) -> tuple[Trained, dict[str, bytes]]:
        """Train a new model; give what came out and the weights."""
        model = self.make()
        dev = examples(model, 3)
        settings = replace(self.settings, **changed)
        keeping = CheckpointPlan(folder=self.folder, every=self.every)
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


@pytest.mark.parametrize(("family", "head"), [*((family, False) for family in FAMILIES), ("bert", True)])
def test_a_training_taken_up_twice_ends_as_the_one_that_went_through(family: str, head: bool, tmp_path: Path) -> None:
    """Weights, losses and looks, bit by bit: stopped in the middle of the first epoch and of the second."""
    equal(Going(lambda: made(family, head=head), tmp_path), 2, 3)


@pytest.mark.parametrize("optimizer", ["sgd", "adafactor"])
def test_what_every_optimizer_keeps_is_kept(optimizer: str, tmp_path: Path) -> None:
    """Moments, momentum, rows and columns."""
    settings = replace(SETTINGS, optimizer=optimizer)  # type: ignore[arg-type]
    equal(Going(lambda: made("gpt2"), tmp_path, settings), 4)


@pytest.mark.parametrize("kind", ["lora", pytest.param("dora", marks=pytest.mark.slow)])
def test_adapters_with_dropout_of_their_own_are_taken_up(kind: str, tmp_path: Path) -> None:
    """Their chance goes on where it was."""
    lora = Lora(kind=kind, rank=2, dropout=0.3)  # type: ignore[arg-type]
    equal(Going(lambda: made("llama", lora=lora), tmp_path), 4)


@pytest.mark.parametrize("stop", [2, 5])
def test_blocks_that_join_one_by_one_are_taken_up(stop: int, tmp_path: Path) -> None:
    """Before and after one has joined."""
    equal(Going(lambda: made("bert"), tmp_path, replace(SETTINGS, unfreeze_every=3)), stop)


@pytest.mark.parametrize(("family", "head"), [("bert", True), ("llama", False)])
@pytest.mark.parametrize("lost", [False, True], ids=["", "its cache is lost"])
def test_a_frozen_trunk_is_taken_up(
    family: str, head: bool, lost: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cache holds the same states in the same batches: those on disk, or filled as it was where they are gone."""
    made_before = count()

    def anew() -> Model:
        place = next(made_before)
        cache = tmp_path / f"cache-{place if lost else min(place, 1)}"  # the training that goes through has its own
        monkeypatch.setenv("FORMTUNE_CACHE", str(cache))
        return made(family, head=head, freeze="all-but-top-1")

    equal(Going(anew, tmp_path / "kept", replace(SETTINGS, steps=12)), 4, 6)


@pytest.mark.parametrize(("family", "corrupt"), [("bert", "tokens"), ("t5", "spans")])
def test_what_is_masked_anew_each_epoch_is_taken_up(family: str, corrupt: str, tmp_path: Path) -> None:
    """The mask of an example follows from the epoch and its place."""
    going = Going(lambda: made(family), tmp_path)
    going.corrupt = corrupt
    equal(going, 5)


# --- what is on disk -------------------------------------------------------------------------------------------------


def scoring(*scores: float) -> Callable[[], Look]:
    """Looks that find given scores, one after the other."""
    left = iter(scores)
    return lambda: Look(score=next(left))


def names(folder: Path) -> list[str]:
    """Name what stands in a folder, hidden things too."""
    return sorted(place.name for place in folder.iterdir())


def short(folder: Path, *, look: Callable[[], Look] | None = None, steps: int = 6, **keeping: Any) -> Model:
    """Train a tiny model for a few updates, with a look after each."""
    model = made("gpt2")
    settings = TrainSettings(steps=steps, batch_size=3, learning_rate=1e-2, validate_every=1)
    keeper = Keeper(CheckpointPlan(folder=folder, every=1, **keeping))
    train(model, examples(model), settings=settings, look=look, keeper=keeper)
    return model


def test_the_newest_two_stay_and_the_best_weights_with_them(tmp_path: Path) -> None:
    """The best look was after the second of six updates; rotation leaves its weights."""
    short(tmp_path, look=scoring(1.0, 3.0, 2.0, 2.0, 2.0, 2.0))

    assert names(tmp_path) == ["best-00000002", "step-00000005", "step-00000006"]
    assert names(tmp_path / "step-00000006") == [
        "manifest.json",
        "optimizer.safetensors",
        "random.safetensors",
        "state.json",
        "weights.safetensors",
    ]


def test_best_weights_stay_while_a_checkpoint_needs_them(tmp_path: Path) -> None:
    """The fifth look is better than the second, and the fourth checkpoint still goes by the second."""
    short(tmp_path, steps=5, look=scoring(1.0, 3.0, 2.0, 2.0, 4.0))

    assert names(tmp_path) == ["best-00000002", "best-00000005", "step-00000004", "step-00000005"]


def test_a_short_training_writes_nothing_unless_told_to(tmp_path: Path) -> None:
    """A checkpoint in five minutes is enough."""
    model = made("gpt2")
    train(model, examples(model), settings=SETTINGS, keeper=Keeper(CheckpointPlan(folder=tmp_path)))

    assert names(tmp_path) == []


def _cut(place: Path) -> None:
    file = place / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-1])


def _flip(place: Path) -> None:
    file = place / "optimizer.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(_cut, marks=pytest.mark.slow),
        _flip,
        lambda place: (place / "manifest.json").unlink(),
        pytest.param(lambda place: (place / "random.safetensors").unlink(), marks=pytest.mark.slow),
        pytest.param(lambda place: (place / "state.json").write_text("{}"), marks=pytest.mark.slow),
    ],
    ids=["cut", "flipped", "no manifest", "a file less", "another state"],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(
    damage: Callable[[Path], object], tmp_path: Path
) -> None:
    """And the end is the same, since the one before is as good."""
    going = Going(lambda: made("gpt2"), tmp_path)
    _, weights = going.go(kept=False)
    going.stopped(3)
    going.stopped(2)
    damage(tmp_path / "step-00000005")
    going.every = 1
    done, again = going.go()

    assert again == weights
    assert done.resumed == (3,)
    assert [name for name in names(tmp_path) if "step" in name] == ["step-00000006", "step-00000007"]
    assert going.told[-2].startswith(f"the checkpoint of update 5 is damaged ({tmp_path}/step-00000005")
    assert going.told[-1] == "goes on at update 4 of 7"


def test_a_checkpoint_whose_best_weights_are_damaged_is_not_taken(tmp_path: Path) -> None:
    """They are part of it, wherever they stand."""
    short(tmp_path, steps=3, look=scoring(1.0, 1.0, 2.0))
    _cut(tmp_path / "best-00000003")
    told: list[str] = []
    job = Keeper(CheckpointPlan(folder=tmp_path), tell=told.append)
    model = made("gpt2")
    settings = TrainSettings(steps=3, batch_size=3, learning_rate=1e-2, validate_every=1)
    done = train(model, examples(model), settings=settings, look=scoring(2.0), keeper=job)

    assert done.resumed == (2,)
    assert "best-00000003" in told[0]


def test_without_a_whole_checkpoint_training_begins_anew(tmp_path: Path) -> None:
    """And says so; what is damaged goes when the first new one is written."""
    going = Going(lambda: made("gpt2"), tmp_path)
    going.stopped(3)
    _cut(tmp_path / "step-00000003")
    going.stopped(1)

    assert going.told[-1] == "no checkpoint is whole, so training begins anew"
    assert [name for name in names(tmp_path) if "step" in name] == ["step-00000001"]


def test_what_differs_is_told_with_the_remedy(tmp_path: Path) -> None:
    """A training does not go on as another."""
    going = Going(lambda: made("gpt2"), tmp_path)
    going.stopped(2)
    with pytest.raises(SettingError) as told:
        going.go(learning_rate=1e-3, batch_size=4)

    assert str(told.value) == (
        f"{tmp_path}/step-00000002: It is of another training: batch_size was 3 and is 4; learning_rate was 0.01 and "
        "is 0.001. Give what it was begun with to go on, or --fresh to begin anew."
    )
    going.corrupt = "tokens"
    with pytest.raises(SettingError, match="the training examples are others"):
        going.go()
    going = Going(lambda: made("gpt2", freeze="all-but-top-1"), tmp_path)
    with pytest.raises(SettingError, match="other weights are trained"):
        going.go()


def test_the_digest_of_examples_depends_on_all_that_is_learned_from() -> None:
    """Their order, ids, weights, classes and the other side."""
    first, second = tokens([7, 8], [9], id="a"), tokens([7], [8], id="b")
    variants = [
        [first, second],
        [second, first],
        [first],
        [replace(first, gold=1), second],
        [replace(first, weights_T=first.weights_T * 2), second],
        [replace(first, corrupt="tokens"), second],
        [replace(first, decoder=second), second],
        [replace(first, candidates=(first.ids_T,)), second],
        [tokens([7, 8, 9], id="a"), second],
    ]
    assert len({digest_of_tokens(one) for one in variants}) == len(variants)


def test_two_processes_do_not_train_in_one_place(tmp_path: Path) -> None:
    """The second is refused; what a killed one left half written goes, and so does the folder in the end."""
    place = tmp_path / "run.checkpoints"
    (place / ".step-00000003.77.part").mkdir(parents=True)
    with claimed(place):
        assert names(place) == ["lock"]
        with pytest.raises(SettingError, match="Another process trains here"), claimed(place):
            pass
    assert names(tmp_path) == []


def test_a_place_where_nothing_can_be_kept_is_refused(tmp_path: Path) -> None:
    """A file stands there."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="No checkpoint can be kept here"), claimed(tmp_path / "file"):
        pass


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_full_disk_stops_with_the_last_checkpoint_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The half-written one is gone, and what was kept is enough to go on."""
    going = Going(lambda: made("gpt2"), tmp_path)
    _, weights = going.go(kept=False)
    going.stopped(2)
    write = checkpoints.write_tensors

    def full(path: Path, kept: dict[str, torch.Tensor]) -> None:
        write(path, kept)
        if path.name.startswith("optimizer"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "write_tensors", full)
        with pytest.raises(SettingError) as told:
            going.go(stop=1)

    assert str(told.value) == (
        f"{tmp_path}/step-00000003: It cannot be written (No space left on device). Make room there, or let it be "
        "written, then give the same command again: it goes on from update 2."
    )
    assert names(tmp_path) == ["best-00000002", "step-00000002"]
    assert going.go()[1] == weights


def test_a_writer_that_may_write_no_more_tells_it_as_the_system_does(tmp_path: Path) -> None:
    """The tensors' own writer has an error of its own; the limit on a file's size is real."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with (
            pytest.raises(SettingError, match=r"run: It cannot be written \(File too large\)\. Make room there"),
            staged(tmp_path / "run", {}) as staging,
        ):
            write_tensors(staging / "weights.safetensors", {"a": torch.zeros(5000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(tmp_path) == []


def test_a_gradient_that_is_no_number_leaves_the_weights_as_they_were(tmp_path: Path) -> None:
    """Clipped by its own length it would have made every weight one that is no number."""
    model = made("gpt2")
    seen = count(1)
    first = next(iter(trained(model).values()))
    first.register_hook(lambda gradient: gradient * (math.nan if next(seen) == 3 else 1.0))
    keeper = Keeper(CheckpointPlan(folder=tmp_path, every=1))
    settings = TrainSettings(steps=5, batch_size=7)

    with pytest.raises(Diverged) as told:
        train(model, examples(model), settings=settings, keeper=keeper)

    assert str(told.value) == (
        "training.learning_rate: The gradient's length is nan at update 3. Lower the learning rate. "
        f"Update 2 is kept in '{tmp_path}'. Other settings begin anew, with --fresh."
    )
    kept = load_file(tmp_path / "step-00000002" / "weights.safetensors")
    assert all(torch.equal(p, kept[name]) for name, p in trained(model).items())


def test_a_weight_that_is_no_number_is_not_kept(tmp_path: Path) -> None:
    """The checkpoint before it stays the newest."""
    model = made("gpt2")
    weight = model.module.get_input_embeddings().weight
    scores = iter([1.0, 0.0])

    def look() -> Look:
        score = next(scores)
        if not score:
            weight.data[0, 0] = math.inf
        return Look(score=score)

    settings = TrainSettings(steps=3, batch_size=3, validate_every=1)
    with pytest.raises(Diverged, match="A weight is no number at update 2"):
        train(
            model,
            examples(model),
            settings=settings,
            look=look,
            keeper=Keeper(CheckpointPlan(folder=tmp_path, every=1)),
        )
    assert names(tmp_path) == ["best-00000001", "step-00000001"]


# --- signals ---------------------------------------------------------------------------------------------------------


def test_the_first_signal_is_remembered_and_the_second_is_the_systems() -> None:
    """Afterwards everything is as before."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    told = []
    with heeded(lambda: told.append("once")) as asked:
        assert asked() is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert (asked(), told) == (signal.SIGTERM, ["once"])
        assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == [signal.SIG_DFL] * 2
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_signal_that_nobody_asked_for_is_not_lost() -> None:
    """It came after the last update: the block ends, and it does what it does."""
    with pytest.raises(KeyboardInterrupt), heeded() as asked:
        assert asked() is None
        os.kill(os.getpid(), signal.SIGINT)


def test_signals_are_left_alone_where_they_are_ignored_or_not_ours() -> None:
    """Under nohup, and in a thread."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    seen = []

    def work() -> None:
        with heeded():
            seen.append(signal.getsignal(signal.SIGTERM))

    try:
        with heeded():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_command_ends_as_shells_expect(
    number: int, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a word on how to go on."""

    def stopped(*_: object, **__: object) -> None:
        raise Stopped("Stopped after update 3, which is kept.", "Give the same command again.", signal=number, at="out")

    monkeypatch.setattr(pipeline, "train", stopped)
    assert run(["train", "a.csv"]) == code
    assert capsys.readouterr().err == "out: Stopped after update 3, which is kept. Give the same command again.\n"


# --- the command -----------------------------------------------------------------------------------------------------


def recipe_for(folder: Path, out: str, **training: Any) -> Recipe:
    """A small training on reviews."""
    path = folder / "reviews.csv"
    rows = [f"{word} film number {n},{mood}" for n in range(12) for word, mood in (("warm", "good"), ("dull", "bad"))]
    path.write_text("\n".join(("text,label", *rows)))
    return make_recipe(
        {
            "data": {"paths": [str(path)], "n_train": 12, "n_dev": 4, "n_test": 8},
            "formats": "classification",
            "models": tiny_folder("bert"),
            "training": {"steps": 6, "batch_size": 4, "learning_rate": 3e-3, **training},
            "out": str(folder / out),
        }
    )


def kill_after(step: int) -> Callable[[Event], None]:
    """Send this process SIGTERM when an update is told."""
    return lambda event: os.kill(os.getpid(), signal.SIGTERM) if event.step == step else None


def test_the_same_command_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    """The run is the same, says where it was taken up, and is all that is left."""
    told: list[str] = []
    pipeline.train(recipe_for(tmp_path, "through"))
    with pytest.raises(Stopped, match=r"run\.checkpoints: Stopped after update 2, which is kept\."):
        pipeline.train(recipe_for(tmp_path, "run"), progress=kill_after(2), heed=heeded)
    assert [name for name in names(tmp_path) if "run" in name] == ["run.checkpoints"]
    pipeline.train(recipe_for(tmp_path, "run"), progress=lambda event: told.append(event.stage))

    through, manifest = (read_manifest(tmp_path / name, kind="run") for name in ("through", "run"))
    assert manifest["files"]["weights.safetensors"] == through["files"]["weights.safetensors"]
    assert (manifest["metrics"], manifest["best"]) == (through["metrics"], through["best"])
    assert (through["resumed"], manifest["resumed"]) == ([], [2])
    assert told[0] == "goes on at update 3 of 6"
    assert told[-1].endswith("test records")
    assert names(tmp_path) == ["reviews.csv", "run", "through"]


def test_other_settings_are_refused_unless_it_is_to_begin_anew(tmp_path: Path) -> None:
    """Nothing is removed that nobody asked to remove."""
    with pytest.raises(Stopped):
        pipeline.train(recipe_for(tmp_path, "run"), progress=kill_after(2), heed=heeded)
    changed = recipe_for(tmp_path, "run", learning_rate=1e-4)
    with pytest.raises(SettingError, match=r"learning_rate was 0\.003 and is 0\.0001\..*--fresh"):
        pipeline.train(changed)
    assert "run.checkpoints" in names(tmp_path)

    assert pipeline.train(changed, fresh=True)["resumed"] == []
    assert names(tmp_path) == ["reviews.csv", "run"]


def test_a_training_goes_on_with_more_room_for_what_is_kept(tmp_path: Path) -> None:
    """As it is advised where there is none left: how much may be kept changes no result."""
    recipe = recipe_for(tmp_path, "run")
    with pytest.raises(Stopped):
        pipeline.train(recipe, progress=kill_after(2), heed=heeded)
    more = recipe.model_copy(update={"model": recipe.model.model_copy(update={"cache_gb": 20.0})})
    assert pipeline.train(more)["resumed"] == [2]


@pytest.mark.parametrize(
    ("save_every", "place"), [(1, "run.checkpoints/step-00000001"), (None, "run")], ids=["checkpoint", "run"]
)
def test_a_command_that_may_write_no_more_ends_with_two(
    save_every: int | None, place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing half written is left, of a checkpoint or of the run."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(recipe_for(tmp_path, "run", save_every=save_every).to_yaml())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        code = run(["train", "-c", str(recipe), "--quiet"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert code == 2
    assert capsys.readouterr().err.startswith(f"{tmp_path}/{place}: It cannot be written (File too large). Make room")
    assert names(tmp_path) == ["recipe.yaml", "reviews.csv"]


def test_what_was_measured_when_a_training_began_holds_when_it_goes_on() -> None:
    """Unless the user says otherwise, and then the difference is told."""
    job = {
        "settings": {"micro_batch_tokens": 512, "checkpoint_activations": True},
        "options": {"precision": "bfloat16"},
    }
    plan = Plan(
        task=Task(kind="labelled"),
        settings=TrainSettings(steps=1),
        learning_rates=(1e-3,),
        seeds=(0,),
        options=Options(precision="auto"),
        limits=Limits(micro_batch_tokens=1024),
        metric=METRICS["accuracy"],
    )
    begun = as_begun(plan, job)

    assert begun.options.precision == "bfloat16"
    assert begun.limits == Limits(micro_batch_tokens=1024, checkpoint_activations=True)
    assert as_begun(plan, None) == plan


@pytest.mark.slow
def test_trainings_that_are_killed_end_as_those_that_are_not(
    shared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three kills; the benchmark does sixty over six families."""
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    monkeypatch.setenv("FORMTUNE_DATA", str(shared))
    killing = importlib.import_module("kill_resume")

    assert killing.main(["--kills", "3", "--families", "bert"]) == 0
    assert "3 kills: everything whole or absent" in capsys.readouterr().out


# --- comparisons -----------------------------------------------------------------------------------------------------


def contest(folder: Path, out: str, **changed: Any) -> Recipe:
    """A small comparison of two formats with two seeds."""
    values = recipe_for(folder, out).to_dict()
    comparison = {"seeds": 2, "resamples": 100, **changed}
    return make_recipe({**values, "formats": "classification,masked_lm", "comparison": comparison})


def interrupting(stage: str) -> Callable[[Event], None]:
    """Ctrl-C when a stage begins."""

    def tell(event: Event) -> None:
        if event.stage.startswith(stage):
            raise KeyboardInterrupt

    return tell


def test_a_comparison_that_was_stopped_does_not_repeat_the_arms_that_are_done(tmp_path: Path) -> None:
    """What comes out is the same, byte by byte, and nothing is left beside it."""
    told: list[str] = []
    (tmp_path / ".stopped.1.part" / "best").mkdir(parents=True)  # of one that was killed while it wrote
    through = pipeline.compare(contest(tmp_path, "through"))
    with pytest.raises(KeyboardInterrupt):
        pipeline.compare(contest(tmp_path, "stopped"), progress=interrupting("masked_lm, seed 1"))
    assert len([name for name in names(tmp_path / "stopped.checkpoints") if name.startswith("arm-")]) == 1
    more = contest(tmp_path, "stopped")  # room for what is kept: as advised, and no other comparison
    more = more.model_copy(update={"model": more.model.model_copy(update={"cache_gb": 20.0})})
    again = pipeline.compare(more, progress=lambda event: told.append(event.stage))

    assert "classification: done before" in told
    assert not any(stage.startswith("classification, seed") for stage in told)
    assert again.verdict == through.verdict
    for name in ("predictions.parquet", "best/weights.safetensors"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "through" / name).read_bytes()
    assert names(tmp_path) == ["reviews.csv", "stopped", "through"]


def test_a_comparison_that_goes_on_calculates_as_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was measured then holds for all arms, whatever would be measured now."""
    told: list[str] = []
    monkeypatch.setattr("formtune.precision.gain", lambda *_: 2.0)
    with pytest.raises(KeyboardInterrupt):
        pipeline.compare(contest(tmp_path, "out"), progress=lambda e: (told.append(e.stage), interrupting("masked")(e)))
    assert sum("bfloat16, since" in stage for stage in told) == 1
    told.clear()
    monkeypatch.setattr("formtune.precision.gain", lambda *_: 1.0)
    found = pipeline.compare(contest(tmp_path, "out"), progress=lambda event: told.append(event.stage))

    assert "classification: done before" in told
    assert not any("since bfloat16" in stage for stage in told)
    assert dict(found.report.facts)["calculated in"] == f"{tiny_folder('bert')} bfloat16"


def test_an_arm_of_another_precision_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where what was measured is not known any more, an arm that calculated otherwise is not taken up."""
    told: list[str] = []
    monkeypatch.setattr("formtune.precision.gain", lambda *_: 2.0)
    with pytest.raises(KeyboardInterrupt):
        pipeline.compare(contest(tmp_path, "out"), progress=interrupting("masked_lm, seed 0"))
    place = next((tmp_path / "out.checkpoints").glob("arm-*"))
    manifest = json.loads((place / "manifest.json").read_text())
    (place / "manifest.json").write_text(json.dumps({**manifest, "measured": {}}))
    monkeypatch.setattr("formtune.precision.gain", lambda *_: 1.0)
    found = pipeline.compare(contest(tmp_path, "out"), progress=lambda event: told.append(event.stage))

    assert "classification: done before" not in told
    assert dict(found.report.facts)["calculated in"] == f"{tiny_folder('bert')} float32"


@pytest.mark.slow
def test_an_arm_that_was_kept_is_done_again_where_it_is_damaged_or_another(tmp_path: Path) -> None:
    """Other seeds make it another; what is damaged is named."""
    told: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        pipeline.compare(contest(tmp_path, "out"), progress=interrupting("masked_lm, seed 0"))
    place = next((tmp_path / "out.checkpoints").glob("arm-*"))
    (place / "manifest.json").unlink()
    with pytest.raises(KeyboardInterrupt):
        pipeline.compare(contest(tmp_path, "out"), progress=lambda e: (told.append(e.stage), interrupting("masked")(e)))
    assert f"classification: what was kept is damaged ({place}: There is no arm here" in " ".join(told)
    told.clear()
    pipeline.compare(contest(tmp_path, "out", seeds=3), progress=lambda event: told.append(event.stage))

    assert "classification: done before" not in told
    assert names(tmp_path) == ["out", "reviews.csv"]


def test_tensors_on_disk_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    """As if they were in memory; of a file that is gone nothing is made up."""
    held = {"b": torch.arange(3.0), "a": torch.zeros(0, 2)}
    write_tensors(tmp_path / "t.safetensors", held)
    kept = OnDisk(tmp_path / "t.safetensors")
    assert set(kept) == {"a", "b"}
    assert len(kept) == 2
    assert all(torch.equal(kept[name], one) for name, one in held.items())
    with pytest.raises(KeyError):
        kept["c"]
    (tmp_path / "t.safetensors").unlink()
    with pytest.raises(FileNotFoundError):
        list(kept)
