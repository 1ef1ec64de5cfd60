"""Arms that are trained at the same time: how many, with what, and that they come to the same."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_pipeline import recipe_for, reviews
from tiny_models import tiny_folder

from formtune import crew as crews
from formtune import pipeline, processes
from formtune.answers import read_predictions
from formtune.arms import Readied
from formtune.cli import run
from formtune.crew import crew_for, longest_first, n_parameters_in, shared_out
from formtune.errors import SettingError
from formtune.footprint import Limits
from formtune.loading import Options
from formtune.progress import Event
from formtune.side_by_side import Crew
from formtune.trials import Plan

__all__ = ["reviews"]  # a fixture

ALONE = Crew(n_workers=1, n_threads=1)


@pytest.fixture
def arms(reviews: Path, tmp_path: Path) -> Sequence[Readied]:
    """Two arms of a small comparison."""
    return pipeline._all_arms(recipe_for(reviews, tmp_path / "out"), None, progress=lambda _event: None)[0]


@pytest.fixture
def plan(reviews: Path, tmp_path: Path) -> Plan:
    """What both get."""
    return pipeline._all_arms(recipe_for(reviews, tmp_path / "out"), None, progress=lambda _event: None)[1]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A machine of four processors and 24 GB, on which all work is long."""
    made = SimpleNamespace(n_threads=4, free=24 << 30)
    monkeypatch.setattr(torch, "get_num_threads", lambda: made.n_threads)
    monkeypatch.setattr(crews, "processors", lambda: 8)
    monkeypatch.setattr(crews, "available_bytes", lambda: made.free)
    monkeypatch.setattr(crews, "LONG_S", 0.0)
    return made


def planned(arms: Sequence[Readied], plan: Plan) -> list[tuple[Readied, Plan]]:
    """Give each arm the same plan."""
    return [(arm, plan) for arm in arms]


class TestHowMany:
    """As many as are done soonest, of those that fit into memory."""

    def test_two_equal_arms_share_the_processors(
        self, arms: Sequence[Readied], plan: Plan, machine: SimpleNamespace
    ) -> None:
        """Two threads each."""
        found = crew_for(planned(arms, plan), asked=None)
        assert (found.n_workers, found.n_threads) == (2, 2)

    @pytest.mark.parametrize(
        ("n_threads", "n_arms", "wanted"), [(1, 2, 1), (2, 2, 2), (4, 4, 4), (4, 6, 2), (8, 3, 3), (3, 1, 1)]
    )
    def test_the_last_arm_should_not_be_waited_for(
        self, arms: Sequence[Readied], plan: Plan, machine: SimpleNamespace, n_threads: int, n_arms: int, wanted: int
    ) -> None:
        """Of six equal arms on four processors four at a time would leave two that keep only half of them busy."""
        machine.n_threads = n_threads
        many = [arms[0]] * n_arms
        assert crew_for(planned(many, plan), asked=None).n_workers == wanted

    def test_what_does_not_fit_into_memory_waits(
        self, arms: Sequence[Readied], plan: Plan, machine: SimpleNamespace
    ) -> None:
        """Each worker takes gigabytes for libraries alone."""
        machine.free = 5 << 30
        assert crew_for(planned(arms, plan), asked=None).n_workers == 1

    def test_short_work_stays_here(
        self, arms: Sequence[Readied], plan: Plan, machine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A process takes seconds to start."""
        monkeypatch.setattr(crews, "LONG_S", 30.0)
        assert crew_for(planned(arms, plan), asked=None).n_workers == 1

    def test_what_is_asked_for_goes_first(self, arms: Sequence[Readied], plan: Plan, machine: SimpleNamespace) -> None:
        """Whatever would be sooner; never more than there are arms."""
        assert [crew_for(planned(arms, plan), asked=n).n_workers for n in (1, 2, 9)] == [1, 2, 2]

    def test_each_arm_gets_a_gpu(
        self, arms: Sequence[Readied], plan: Plan, machine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By the number that this process sees it under; with one GPU, one after the other."""
        monkeypatch.setattr(processes, "device", lambda: torch.device("cuda"))
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5,6")
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
        assert crew_for(planned(arms, plan), asked=None).gpus == ("2", "5")
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        assert crew_for(planned(arms, plan), asked=None).n_workers == 1
        assert crew_for(planned(arms, plan), asked=2).gpus == ("2", "2")

    def test_under_a_launcher_one_process_does_one_thing(
        self, arms: Sequence[Readied], plan: Plan, machine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its processes train together."""
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert crew_for(planned(arms, plan), asked=2).n_workers == 1

    def test_the_longest_goes_first(self, arms: Sequence[Readied], plan: Plan) -> None:
        """What comes last should be short."""
        ids = list(arms[1].train.tokens)
        short = replace(
            arms[1], train=arms[1].train.only(sorted(ids, key=lambda i: len(arms[1].train.tokens[i].ids_T))[:1])
        )
        assert longest_first(planned([short, arms[1]], plan)) == [1, 0]


class TestMemory:
    """Each worker gets its part."""

    def test_what_the_user_gives_is_shared_out(self, plan: Plan) -> None:
        """Together no more than that."""
        given = replace(plan, limits=Limits(memory_bytes=9000))
        crew = Crew(n_workers=3, n_threads=1)
        assert shared_out(given, crew, tiny_folder("bert")).limits.memory_bytes == 3000
        assert shared_out(given, ALONE, tiny_folder("bert")) is given

    def test_what_is_free_is_shared_out(self, plan: Plan, machine: SimpleNamespace) -> None:
        """Without what the model itself takes."""
        name = tiny_folder("bert")
        found = shared_out(plan, Crew(n_workers=2, n_threads=1), name).limits.memory_bytes
        assert found == round(0.8 * machine.free / 2) - 4 * n_parameters_in(name)

    def test_a_gpu_of_its_own_is_all_its_own(self, plan: Plan) -> None:
        """Nobody else takes of it."""
        assert shared_out(plan, Crew(n_workers=2, n_threads=1, gpus=("0", "1")), tiny_folder("bert")) is plan

    def test_adapters_and_frozen_models_take_less(self) -> None:
        """Gradients and the optimizer's state are of what is trained."""
        whole, frozen = (crews._needed_bytes(10**9, Options(freeze=freeze)) for freeze in ("none", "all-but-top-2"))
        assert whole > frozen > 8 * 10**9


class TestCompared:
    """Two processes come to what one comes to."""

    def test_arms_at_the_same_time_give_the_same_answers(self, reviews: Path, tmp_path: Path) -> None:
        """Bit by bit: they calculate with as many threads."""
        events: list[Event] = []
        values = []
        for count in (1, 2):
            asked = {"seeds": 2, "resamples": 200, "arms_at_once": count}
            recipe = recipe_for(reviews, tmp_path / str(count), comparison=asked)
            values.append(pipeline.compare(recipe, progress=events.append).to_dict())
        one, two = values
        assert {name: arm["by_seed"] for name, arm in one["formats"].items()} == {
            name: arm["by_seed"] for name, arm in two["formats"].items()
        }
        left, right = (read_predictions(tmp_path / name / "predictions.parquet") for name in ("1", "2"))
        for key, rows in left.items():
            assert [row.answer for row in rows] == [row.answer for row in right[key]]
            assert [row.confidence for row in rows] == [row.confidence for row in right[key]]
        assert {event.lane for event in events} == {0, 1}
        assert any(event.stage == "2 arms at a time, threads of each: 1" for event in events)
        assert "2, threads of each: 1" in (tmp_path / "2" / "report.html").read_text()
        assert not (tmp_path / "2.checkpoints").exists()

    @pytest.mark.parametrize("count", [1, 2])
    def test_two_comparisons_together_are_those_two(self, reviews: Path, tmp_path: Path, count: int) -> None:
        """Each with its own arms, folder and verdict; what is told names the comparison."""
        asked = {"seeds": 2, "resamples": 200, "arms_at_once": count}
        small, large = (
            {"comparison": asked, "data": {"paths": [str(reviews)], "n_train": n, "n_dev": 12, "n_test": 24}}
            for n in (12, 24)
        )
        apart = [
            pipeline.compare(recipe_for(reviews, tmp_path / f"apart{n}", **one)) for n, one in enumerate((small, large))
        ]
        events: list[Event] = []
        recipes = [recipe_for(reviews, tmp_path / name, **one) for name, one in (("small", small), ("large", large))]
        together = pipeline.compare_together(recipes, command="formtune demo", progress=events.append)
        for one, other in zip(apart, together, strict=True):
            assert one.verdict == other.verdict
            assert one.to_dict()["sizes"] == other.to_dict()["sizes"]
        stages = {event.stage.split(":")[0] for event in events if event.steps}
        assert stages == {"small", "large"}
        assert (tmp_path / "small" / "report.html").is_file()
        assert (tmp_path / "large" / "report.html").is_file()

    def test_an_arm_that_cannot_be_done_is_told_by_its_own_error(self, reviews: Path, tmp_path: Path) -> None:
        """As if it had been done here; what is done stays kept."""
        training = {"steps": 4, "batch_size": 6, "optimizer": "sgd", "clip": None, "learning_rate": 1e30}
        asked = {"seeds": 2, "resamples": 200, "arms_at_once": 2}
        recipe = recipe_for(reviews, tmp_path / "out", training=training, comparison=asked)
        with pytest.raises(SettingError, match="The loss is"):
            pipeline.compare(recipe)

    def test_what_was_done_is_not_done_again(
        self, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A comparison that ended behind one arm goes on with the other, however many are done at once."""
        asked: dict[str, Any] = {"seeds": 2, "resamples": 200}
        alone, together = (
            recipe_for(reviews, tmp_path / "out", comparison={**asked, "arms_at_once": count}) for count in (1, 2)
        )

        def ends(_event: Event) -> None:
            if list(tmp_path.glob("out.checkpoints/arm-*")):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            pipeline.compare(alone, progress=ends)
        events: list[Event] = []
        pipeline.compare(together, progress=events.append)
        assert sum(event.stage.endswith(": done before") for event in events) >= 1


def test_a_comparison_is_foretold_as_it_is_done(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It takes as long as the longer of two arms, and the memory of both."""
    asked = {"seeds": 2, "resamples": 200, "arms_at_once": 2}
    recipe = recipe_for(reviews, tmp_path / "out", comparison=asked)
    told: dict[str, Any] = pipeline.compare_forecast(recipe).to_dict()
    times = [arm["total_seconds"] for arm in told["arms"]]
    assert told["total_seconds"] == max(times) < sum(times)
    assert told["peak_mb"] == pytest.approx(sum(arm["peak_mb"] for arm in told["arms"]))
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml())
    assert run(["compare", "-c", str(path), "--dry-run"]) == 0
    assert "2 arms at a time" in capsys.readouterr().out


def test_the_flag_says_how_many(reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the command line as in the recipe."""
    assert run(["recipe", str(reviews), "--arms-at-once", "3", "--json"]) == 0
    assert '"arms_at_once": 3' in capsys.readouterr().out.replace('":3', '": 3')
