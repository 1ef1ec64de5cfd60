"""What is foretold is what then happens: tokens to the last one, operations as torch counts them, nothing written."""

import io
import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from tiny_models import tiny_folder
from token_examples import answering, tokens
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from formtune import pipeline
from formtune.adapters import Lora
from formtune.cli import run
from formtune.counting import counted, laid_out
from formtune.errors import SettingError
from formtune.flops import Flops, Load, Passage, passages
from formtune.loading import Options, tiny
from formtune.models import Model
from formtune.objective import N_ROWS, Objective
from formtune.recipe import Recipe, make_recipe
from formtune.state_folder import states_folder
from formtune.tokens import Tokens
from formtune.training import train
from formtune.updates import TrainSettings

FAMILIES = ("bert", "gpt2", "llama", "t5", "xlnet")
ENCODER, BODY = Options(freeze="encoder"), Options(freeze="body")
KINDS = [*((family, "text") for family in FAMILIES), ("bert", "head"), ("t5", "head")]
TOP = Options(freeze="all-but-top-1")
WAYS = {
    "full": Options(),
    "top": Options(freeze="all-but-top-1", cache_trunk=False),
    "lora": Options(lora=Lora(rank=4)),
    "head": Options(freeze="body", cache_trunk=False),
}


def examples(model: Model, n: int = 7) -> list[Tokens]:
    """Examples of different lengths, some of which begin alike, with classes."""
    found = []
    for i in range(n):
        prompt, target = [*range(20, 40 + i % 2 * 5), *[50 + i] * (3 * i)], [30 + i] * (1 + i % 3)
        if model.shape == "encoder-decoder" and not model.class_head:
            found.append(answering(prompt, target, id=str(i)))
        else:
            found.append(tokens(prompt, target, id=str(i), gold=i % 2))
    return found


def model_of(family: str, output: str, options: Options = Options()) -> Model:
    """Make a tiny model; an encoder that is asked for text fills a mask."""
    kind = "mask" if family == "bert" and output == "text" else output
    return tiny(family, output=kind, n_classes=2, options=options)  # type: ignore[arg-type]


class TestCounting:
    """Nothing is computed by the model, and yet everything is known."""

    @pytest.mark.parametrize(
        ("family", "output", "options"),
        [
            *((family, output, options) for family, output in KINDS for options in (Options(), TOP)),
            ("t5", "text", ENCODER),
            *(("xlnet", output, BODY) for output in ("text", "head")),
        ],
    )
    def test_what_is_counted_is_what_training_computes(self, family: str, output: str, options: Options) -> None:
        """Micro-batches of three epochs, shared beginnings, and what a trunk has kept since the first."""
        model = model_of(family, output, options)
        settings = TrainSettings(steps=9, batch_size=3, micro_batch_tokens=40)
        before = counted(model, examples(model), [settings])
        after = train(model, examples(model), settings=settings)
        assert before.work == after.work
        assert (before.n_updates, before.n_learned) == (9, after.n_learned)
        assert before.most_pieces > 1

    @pytest.mark.parametrize("family", ["gpt2", "llama", "xlnet"])
    @pytest.mark.parametrize("shares", [True, False])
    def test_a_prompt_that_is_learned_is_scored(self, family: str, shares: bool) -> None:
        """At each of its places, where several examples share it at one."""
        model = model_of(family, "text")
        settings = TrainSettings(steps=6, batch_size=4, prompt_weight=0.1, share_prefixes=shares)
        before = counted(model, examples(model), [settings])
        after = train(model, examples(model), settings=settings)
        assert before.work == after.work
        assert before.n_learned == after.n_learned
        unweighted = counted(model, examples(model), [replace(settings, prompt_weight=0.0)])
        assert before.work.scored > 2 * unweighted.work.scored

    def test_a_second_training_finds_the_trunk_filled(self) -> None:
        """As the second seed of an arm does; apart, every text has one path."""
        model = model_of("bert", "head", TOP)
        settings = TrainSettings(steps=3, batch_size=3)
        plan = counted(model, examples(model), [settings, settings])
        trunk = [piece.operations.trunk for piece in plan.pieces]
        assert all(n > 0 for n in trunk[:3])
        assert trunk[3:] == [0.0, 0.0, 0.0]
        assert plan.trunk_bytes == 4 * 32 * sum(len(one.ids_T) for one in examples(model))


class TestFlops:
    """The formulas give what torch counts of the operations as they run."""

    @pytest.mark.parametrize(("family", "output"), KINDS)
    @pytest.mark.parametrize("way", WAYS)
    def test_operations_are_those_that_torch_counts(self, family: str, output: str, way: str) -> None:
        """To the last one where all is trained, and nearly where the lowest block that learns needs fewer gradients."""
        model = model_of(family, output, WAYS[way])
        expected = operations(model, examples(model))
        near = 0.01 if way == "full" else 0.07
        if family == "xlnet":  # whose two streams share some products, and whose adapters sit in few of them
            near = 0.4 if way == "lora" else 0.2
        assert expected == pytest.approx(torch_counts(model, examples(model)), rel=near)

    def test_blocks_that_are_computed_again_are_counted_again(self) -> None:
        """A third more of them."""
        model = model_of("gpt2", "text")
        expected = operations(model, examples(model), recomputes=True)
        assert expected == pytest.approx(torch_counts(model, examples(model), recomputes=True), rel=0.01)

    def test_behind_a_frozen_encoder_the_decoder_is_computed_in_every_epoch(self) -> None:
        """The encoder's states are replayed from the second epoch on; what writes is never replayed."""
        model = model_of("t5", "text", ENCODER)
        batch, _ = laid_out(model, examples(model), shares=True)
        for through in (passages(model, batch)[0], Passage()):
            expected = operations(model, examples(model), trunk=through)
            assert expected == pytest.approx(torch_counts(model, examples(model)), rel=0.01)

    def test_above_a_replayed_body_a_gradient_goes_through_the_vocabulary(self) -> None:
        """Down to what a masked-LM head has of its own, though the matrix of the vocabulary may be frozen."""
        model = model_of("bert", "text", BODY)
        for through in (passages(model, laid_out(model, examples(model), shares=True)[0])[0], Passage()):
            expected = operations(model, examples(model), trunk=through)
            assert expected == pytest.approx(torch_counts(model, examples(model)), rel=0.01)

    def test_scores_in_several_pieces_count_as_in_one(self) -> None:
        """Beyond a bound, rows of the vocabulary are not kept for the backward pass, and not computed anew."""
        model = model_of("llama", "text")
        long = [tokens([20], [30] * (N_ROWS["cpu"] // 2 + 1), id=str(i)) for i in range(2)]
        long = [one if i else tokens([21], [31] * (N_ROWS["cpu"] // 2 + 1), id="0") for i, one in enumerate(long)]
        assert operations(model, long) == pytest.approx(torch_counts(model, long), rel=0.01)


def operations(model: Model, update: list[Tokens], *, recomputes: bool = False, trunk: Passage | None = None) -> float:
    """Count by formula what a micro-batch takes; ``trunk`` is what passes a trunk that is kept."""
    batch, n_scored = laid_out(model, update, shares=True)
    load = Load(passages(model, batch), trunk, n_scored, len(update) if model.class_head else 0)
    found = Flops(model, recomputes=recomputes).of(load)
    return found.trunk + found.rest


class OfAllModules(nullcontext[None]):
    """Stands where torch's counter tells modules apart: it cannot where a gradient is computed in a forward pass."""

    parents = frozenset({"Global"})


def torch_counts(model: Model, update: list[Tokens], *, recomputes: bool = False) -> float:
    """Let torch count them; its counter does not know the fused attention of a CPU, so the plain one runs."""
    model.train(True)
    factors = np.ones(len(update), dtype=np.float32)
    counter = FlopCounterMode(display=False)
    with patch.object(counter, "mod_tracker", OfAllModules()), counter, sdpa_kernel(SDPBackend.MATH):
        loss, _ = Objective(model, label_smoothing=0.0, recomputes=recomputes)(update, factors)
        if loss.requires_grad:
            loss.backward()
    return float(counter.get_total_flops())


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """Forty short texts with two labels."""
    path = tmp_path / "reviews.csv"
    rows = [f"a {'good' if i % 2 else 'bad'} film no {i},{'fresh' if i % 2 else 'rotten'}\n" for i in range(40)]
    path.write_text("text,label\n" + "".join(rows))
    return path


def recipe_for(path: Path, out: Path, **changed: Any) -> Recipe:
    """A short training of a tiny model."""
    settings: dict[str, Any] = {
        "data": {"paths": [str(path)], "n_train": 20, "n_dev": 8, "n_test": 8},
        "formats": "classification",
        "models": tiny_folder("bert"),
        "training": {"epochs": 3, "batch_size": 6, "learning_rate": 3e-3},
        "comparison": {"seeds": 2, "resamples": 200},
        "out": str(out),
    }
    return make_recipe({**settings, **changed})


class Screen(io.StringIO):
    """Standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


class TestDryRun:
    """A forecast takes seconds and leaves nothing behind."""

    def test_a_forecast_names_the_tokens_of_the_training_and_writes_nothing(
        self, reviews: Path, tmp_path: Path
    ) -> None:
        """Times and memory are measured here; that they are near is for a quiet machine to show."""
        recipe = recipe_for(reviews, tmp_path / "run", model={"freeze": "all-but-top-1"})
        told = pipeline.train_forecast(recipe).to_dict()
        assert not (tmp_path / "run").exists() and not states_folder().exists()
        real = pipeline.train(recipe).to_dict()
        same = ("learned_tokens", "computed_tokens", "computed_share", "saved")
        assert {name: told[name] for name in same} == {name: real[name] for name in same}
        assert told["updates"] == real["steps"] == 12
        assert told["flops"] > 0 and told["calibration"]["updates"] >= 4
        parts = ("seconds", "look_seconds", "answer_seconds", "load_seconds")
        assert told["total_seconds"] == pytest.approx(sum(told[name] for name in parts))
        assert all(told[name] > 0 for name in parts)
        assert real["peak_mb"] > 0

    def test_a_comparison_is_foretold_arm_by_arm(self, reviews: Path, tmp_path: Path) -> None:
        """Two learning rates and one further seed are three trainings of four updates."""
        training = {"epochs": 1, "batch_size": 6, "learning_rates": [1e-3, 3e-3]}
        recipe = recipe_for(reviews, tmp_path / "out", formats="classification,masked_lm", training=training)
        told = pipeline.compare_forecast(recipe).to_dict()
        assert not (tmp_path / "out").exists()
        assert [(arm["arm"], arm["updates"]) for arm in told["arms"]] == [("classification", 12), ("masked_lm", 12)]
        assert told["updates"] == 24
        assert told["peak_mb"] == max(arm["peak_mb"] for arm in told["arms"])

    def test_a_forecast_reads_well(self, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Each line says what it counts."""
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(recipe_for(reviews, tmp_path / "out").to_yaml())
        assert run(["train", "-c", str(recipe), "--dry-run"]) == 0
        out = capsys.readouterr().out
        for word in (
            "updates",
            "60 learned examples",
            "of the padded tokens",
            "TFLOP",
            "GB at its peak",
            "looks at dev",
            "threads",
        ):
            assert word in out
        assert not (tmp_path / "out").exists()

    def test_a_terminal_draws_and_a_file_gets_the_forecast(
        self, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """While a bar is drawn on standard error, what is printed goes above it; so it is shown afterwards."""
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(recipe_for(reviews, tmp_path / "out").to_yaml())
        screen = Screen()
        monkeypatch.setattr(sys, "stderr", screen)
        assert run(["train", "-c", str(recipe), "--dry-run", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["updates"] == 12
        assert "measuring" in screen.getvalue()

    def test_what_the_command_would_refuse_the_forecast_refuses(self, reviews: Path, tmp_path: Path) -> None:
        """Before anything is read."""
        workers = recipe_for(reviews, tmp_path / "out", training={"workers": 2})
        with pytest.raises(SettingError, match=r"^training\.workers: Workers are started by Ray alone"):
            pipeline.train_forecast(workers)
        unknown = recipe_for(reviews, tmp_path / "out", training={"trackers": ["tensorbord"]})
        with pytest.raises(SettingError, match=r"^training\.trackers: There is no tracker 'tensorbord'"):
            pipeline.train_forecast(unknown)
        for name, value in (("workers", 2), ("trackers", ["tensorboard"]), ("engine", "ray")):
            asked = recipe_for(reviews, tmp_path / "out", training={name: value})
            with pytest.raises(SettingError, match=rf"^training\.{name}: A comparison trains many times"):
                pipeline.compare_forecast(asked)

    def test_a_forecast_is_of_one_process(self, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A launcher's processes and a cluster's are not foretold."""
        alone = r"^--dry-run: A forecast is of one process on this machine\. Ask without a launcher or engine\.$"
        with pytest.raises(SettingError, match=alone):
            pipeline.train_forecast(recipe_for(reviews, tmp_path / "out", training={"engine": "ray"}))
        monkeypatch.setenv("WORLD_SIZE", "2")
        for foretell in (pipeline.train_forecast, pipeline.compare_forecast):
            with pytest.raises(SettingError, match=alone):
                foretell(recipe_for(reviews, tmp_path / "out"))

    @pytest.mark.parametrize(("family", "options"), [("t5", ENCODER), ("xlnet", BODY), ("bert", TOP)])
    def test_measured_time_is_the_trunks_the_first_time_alone(self, family: str, options: Options) -> None:
        """Padding and the decoder's side are no part of what is replayed."""
        from formtune.forecast import _Samples

        model = model_of(family, "text", options)
        settings = TrainSettings(steps=2, batch_size=7)
        samples = _Samples(model, settings)
        piece = counted(model, examples(model), [settings]).pieces[0]
        samples._train(piece, times=2)
        assert piece.operations.trunk > 0
        assert [one.trunk for one in samples.operations] == pytest.approx([piece.operations.trunk, 0.0])

    def test_measuring_moves_no_weight(self, reviews: Path, tmp_path: Path) -> None:
        """Nor does it leave a model in training."""
        from formtune.forecast import _Samples

        model = model_of("llama", "text")
        weights = [p.detach().clone() for p in model.module.parameters()]
        settings = TrainSettings(steps=6, batch_size=3)
        samples = _Samples(model, settings)
        samples.measure(counted(model, examples(model), [settings]).pieces)
        speed = samples.fitted()
        assert min(speed.fixed_s, speed.rest_s, speed.trunk_s) >= 0.0
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(weights, model.module.parameters(), strict=True))
        assert not model.module.training
