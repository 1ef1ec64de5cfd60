"""The search over settings: what it finds, what it must not see, and that it goes on where it stopped."""

import gc
import json
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from tiny_models import tiny_folder

from formtune import pipeline
from formtune.cli import run, show
from formtune.cli.flags import Common
from formtune.errors import SettingError
from formtune.loading import load_model
from formtune.model_files import file_digest
from formtune.models import Model
from formtune.progress import Event
from formtune.recipe import Recipe, load_recipe, make_recipe
from formtune.recipe.searching import SEARCHABLE, space_of, with_values
from formtune.reports import TrialPoint, search_picture
from formtune.results import Result
from formtune.runs import open_run
from formtune.shards import read_manifest
from formtune.spaces import Choices, Range, Space
from formtune.studies import JOURNAL, Attempt, Pruned, Study, Tried, opened

pytest.importorskip("optuna")
Golden = Callable[[str, str], None]
GOOD = ("lovely", "warm", "bright", "clever", "moving", "funny")
BAD = ("dull", "noisy", "grey", "clumsy", "empty", "slow")


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, str]:
    """Films that one word decides, in three files."""
    rows = [
        (f"{a} and {b} film", label)
        for words, label in ((GOOD, "fresh"), (BAD, "rotten"))
        for a in words
        for b in words
    ]
    for name, kept in (("train", rows[::3]), ("dev", rows[1::6]), ("test", rows[2::6]), ("other", rows[5::6])):
        (tmp_path / f"{name}.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in kept))
    return {name: str(tmp_path / f"{name}.csv") for name in ("train", "dev", "test", "other")}


def recipe_for(
    parts: dict[str, str], out: Path, *, search: dict[str, Any], test: str = "test", **tuning: Any
) -> Recipe:
    """A small search on one tiny model; the learning rate of the recipe itself is a good one."""
    return make_recipe(
        {
            "data": {"train": parts["train"], "dev": parts["dev"], "test": parts[test]},
            "formats": "classification",
            "models": tiny_folder("bert"),
            "training": {"epochs": 2, "batch_size": 8, "learning_rate": 3e-3},
            "tuning": {"search": search, **tuning},
            "out": str(out),
        }
    )


_MACHINE = ("seconds", "micro_batch_tokens", "checkpoint_activations")


def rows_of(out: Path) -> list[dict[str, Any]]:
    """The trials that were written, without their times and what fitted into memory then."""
    lines = (out / "trials.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in _MACHINE} for line in lines]


RATE = {"training.learning_rate": "1e-4..1e-2,log"}
RATES = {"training.learning_rate": [1e-7, 3e-3]}


# --- what is found ---------------------------------------------------------------------------------------------------


def test_the_better_of_two_learning_rates_is_found_and_its_run_answers(parts: dict[str, str], tmp_path: Path) -> None:
    """The recipe's own values come first, the winner is trained to its end, and its recipe trains the same weights."""
    out = tmp_path / "out"
    found = pipeline.tune(recipe_for(parts, out, search=RATES, trials=4)).to_dict()

    assert found["best"]["values"] == {"training.learning_rate": 3e-3}
    assert (found["best"]["trial"], found["best"]["score"]) == (1, found["own_score"])
    assert found["metric"] == "accuracy"
    assert {row["values"]["training.learning_rate"] for row in found["trials"]} == {1e-7, 3e-3}
    assert "is optimistic" in found["note"]
    assert read_manifest(out, kind="tuning")["best"] == found["best"]
    assert open_run(out / "run").manifest["metrics"] == found["metrics"]

    best = load_recipe(out / "best.yaml")
    assert (best.training.learning_rate, best.training.metric, best.out) == (3e-3, "accuracy", None)
    pipeline.train(best.model_copy(update={"out": str(tmp_path / "again")}))
    weights = [file_digest(folder / "weights.safetensors") for folder in (out / "run", tmp_path / "again")]
    assert weights[0] == weights[1]


def test_the_same_seed_gives_the_same_trials_whatever_the_test_records_are(
    parts: dict[str, str], tmp_path: Path
) -> None:
    """No trial reads the test; another seed draws other values."""
    first, second, third = (
        recipe_for(parts, tmp_path / name, search=RATE, trials=3, test=test)
        for name, test in (("a", "test"), ("b", "other"), ("c", "test"))
    )
    scores = [pipeline.tune(one)["metrics"] for one in (first, second)]
    pipeline.tune(third.model_copy(update={"seed": 1}))

    assert rows_of(tmp_path / "a") == rows_of(tmp_path / "b")
    assert scores[0] != scores[1]
    drawn = [[row["values"] for row in rows_of(tmp_path / name)] for name in ("a", "c")]
    assert drawn[0][0] == drawn[1][0]
    assert drawn[0][1:] != drawn[1][1:]


def test_what_is_frozen_and_adapters_are_searched(parts: dict[str, str], tmp_path: Path) -> None:
    """A model is taken up anew where that changes, and the winner's run is opened with its own."""
    search = {"model.freeze": ["none", "all-but-top-1"], "model.lora.rank": [1, 2]}
    found = pipeline.tune(recipe_for(parts, tmp_path / "out", search=search, trials=3))

    values = found["best"]["values"]
    assert len({(r["values"]["model.freeze"], r["values"]["model.lora.rank"]) for r in found["trials"]}) > 1
    spec = open_run(tmp_path / "out" / "run").manifest["spec"]["options"]
    assert (spec["freeze"], spec["lora"]["rank"]) == (values["model.freeze"], values["model.lora.rank"])


def test_one_model_is_in_memory_at_a_time(
    parts: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a search and of a comparison: the old one has gone when the new one is loaded, and its memory is measured."""
    seen: list[weakref.ref[Any]] = []
    alive: list[int] = []

    def noting(*words: Any, **named: Any) -> Model:
        alive.append(sum(one() is not None for one in seen))
        model = load_model(*words, **named)
        seen.extend(weakref.ref(parameter) for parameter in model.module.parameters())
        return model

    monkeypatch.setattr("formtune.bench.load_model", noting)
    recipe = recipe_for(parts, tmp_path / "a", search={"model.freeze": ["none", "all-but-top-1"]}, trials=3)
    two = {"formats": "classification,masked_lm", "comparison": {"seeds": 1}, "out": str(tmp_path / "b")}
    gc.disable()
    try:
        pipeline.tune(recipe)
        pipeline.compare(with_values(recipe, two))
    finally:
        gc.enable()
    assert len(alive) >= 4
    assert set(alive) == {0}


def test_a_trial_that_diverges_is_the_worst_and_no_crash(parts: dict[str, str], tmp_path: Path) -> None:
    """Where all of them do, that is told."""
    bad = {"training.learning_rate": [3e-3, 1e38]}
    found = pipeline.tune(recipe_for(parts, tmp_path / "out", search=bad, trials=4))
    assert found["failed"] > 0
    assert found["trials"][-1]["state"] == "diverged"
    assert found["best"]["values"] == {"training.learning_rate": 3e-3}

    worse = recipe_for(parts, tmp_path / "worse", search={"training.learning_rate": [1e37, 1e38]}, trials=2)
    with pytest.raises(SettingError, match=r"tuning\.search: No trial went to its end: training diverged in 2 of 2"):
        pipeline.tune(worse)


def test_a_trial_that_is_refused_is_counted_and_the_search_goes_on(parts: dict[str, str], tmp_path: Path) -> None:
    """Also where it was stopped behind it; none of what was found before is lost."""
    search = {"model.freeze": ["none", "all-but-top-9"]}  # the model has three blocks
    recipe = recipe_for(parts, tmp_path / "out", search=search, trials=6)
    told: list[Event] = []
    found = pipeline.tune(recipe, progress=told.append)

    refused = [row for row in found["trials"] if row["state"] == "refused"]
    assert found["refused"] == len(refused) > 0
    assert found["trials"][-len(refused) :] == refused
    assert {row["values"]["model.freeze"] for row in refused} == {"all-but-top-9"}
    assert found["best"]["values"] == {"model.freeze": "none"}
    said = f"trial {refused[0]['trial']}: model.freeze: The model has 3 blocks, so its top 9 cannot be kept free"
    assert any(event.stage.startswith(said) for event in told)
    more = pipeline.tune(with_values(recipe, {"tuning.trials": 7}))
    assert len(more["trials"]) == 7


def test_a_trial_that_is_behind_is_cut_short(parts: dict[str, str], tmp_path: Path) -> None:
    """By successive halving after its first look; here by the log-loss, of which less is better."""
    rates = {"training.learning_rate": [3e-3, 1.0]}
    recipe = recipe_for(parts, tmp_path / "out", search=rates, trials=4, pruner="halving")
    found = pipeline.tune(with_values(recipe, {"training.metric": "log_loss"}))
    cut = [row for row in rows_of(tmp_path / "out") if row["state"] == "pruned"]
    assert len(cut) == found["pruned"] > 0
    assert {(len(row["looks"]), row["values"]["training.learning_rate"]) for row in cut} == {(1, 1.0)}
    assert found["best"]["values"] == {"training.learning_rate": 3e-3}
    assert 0 < found["best"]["score"] == min(row["score"] for row in found["trials"])


def test_hours_end_a_search(parts: dict[str, str], tmp_path: Path) -> None:
    """After the trial in which they run out."""
    found = pipeline.tune(recipe_for(parts, tmp_path / "out", search=RATE, trials=9, hours=1e-7))
    assert [row["trial"] for row in found["trials"]] == [1]


def test_what_is_kept_of_a_frozen_bottom_is_told(parts: dict[str, str], tmp_path: Path) -> None:
    """Before a trial computes anything, and when there is no room for more; otherwise why nothing is kept."""
    told: list[str] = []
    recipe = recipe_for(parts, tmp_path / "a", search=RATES, trials=2)
    frozen = {"model.freeze": "all-but-top-1", "model.cache_gb": 1e-9}
    pipeline.tune(with_values(recipe, frozen), progress=lambda event: told.append(event.stage))
    assert told[0].startswith("classification: what the frozen bottom (2 of 3 blocks) gives is kept: at most 1e-09 GB")
    full = "classification: nothing more of what the frozen part gives is kept: there is no room left"
    assert len([stage for stage in told if stage.startswith(full)]) == 1

    told.clear()
    padded = {"model.freeze": "all-but-top-1", "models": tiny_folder("xlnet"), "out": str(tmp_path / "b")}
    pipeline.tune(with_values(recipe, padded), progress=lambda event: told.append(event.stage))
    why = "models of the type 'xlnet' read padded rows"
    assert told[0] == f"classification: what is frozen is computed anew each time: {why}"


# --- going on --------------------------------------------------------------------------------------------------------


class Interrupting:
    """Listens, and interrupts at the first update of a trial."""

    def __init__(self, trial: int) -> None:
        self.stages: list[str] = []
        self._trial = trial

    def __call__(self, event: Event) -> None:
        self.stages.append(event.stage)
        if event.stage.startswith(f"trial {self._trial} of"):
            raise KeyboardInterrupt


def test_an_interrupted_search_goes_on_as_if_nothing_had_been(parts: dict[str, str], tmp_path: Path) -> None:
    """What was done is not done again, but for the winner's weights; half a trial is run again, with the same values."""
    whole, broken = (recipe_for(parts, tmp_path / name, search=RATE, trials=4) for name in ("whole", "broken"))
    pipeline.tune(whole)
    stopped = Interrupting(3)
    with pytest.raises(KeyboardInterrupt):
        pipeline.tune(broken, progress=stopped)
    assert "stopped after 2 of 4 trials" in stopped.stages[-1]
    assert sorted(p.name for p in (tmp_path / "broken").iterdir()) == ["manifest.json", JOURNAL]

    told: list[Event] = []
    pipeline.tune(broken, progress=told.append)
    assert not any(event.stage.startswith(("trial 1 of", "trial 2 of")) for event in told)
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "broken")
    weights = [file_digest(tmp_path / name / "run" / "weights.safetensors") for name in ("whole", "broken")]
    assert weights[0] == weights[1]


def test_a_finished_search_is_told_again_and_more_trials_are_added(parts: dict[str, str], tmp_path: Path) -> None:
    """Nothing is trained in the first case; in the second the winner's run stays where no other is better."""
    recipe = recipe_for(parts, tmp_path / "out", search=RATES, trials=2)
    told: list[Event] = []
    first = pipeline.tune(recipe)
    again = pipeline.tune(recipe, progress=told.append)
    assert (again.to_dict(), told) == (first.to_dict(), [])

    written = (tmp_path / "out" / "run" / "weights.safetensors").stat().st_mtime_ns
    more = pipeline.tune(with_values(recipe, {"tuning.trials": 4}), progress=told.append)
    assert {event.stage.split(":")[0] for event in told} == {"trial 3 of 4", "trial 4 of 4"}
    assert (more["best"], more["metrics"]) == (first["best"], first["metrics"])
    assert (tmp_path / "out" / "run" / "weights.safetensors").stat().st_mtime_ns == written


def test_what_was_found_is_never_older_than_the_trials(parts: dict[str, str], tmp_path: Path) -> None:
    """Where more were asked for, and that was stopped midway, or behind the last of them and before the result."""
    recipe = recipe_for(parts, tmp_path / "out", search=RATE, trials=1)
    assert pipeline.tune(recipe)["best"]["trial"] == 1
    with pytest.raises(KeyboardInterrupt):
        pipeline.tune(with_values(recipe, {"tuning.trials": 4}), progress=Interrupting(3))
    told: list[Event] = []
    two = pipeline.tune(recipe, progress=told.append)
    assert sorted(row["trial"] for row in two["trials"]) == [1, 2]
    assert [row["number"] for row in rows_of(tmp_path / "out")] == [1, 2]
    assert not any(event.stage.startswith("trial 2 of") for event in told)

    three = with_values(recipe, {"tuning.trials": 3})
    with opened(tmp_path / "out" / JOURNAL, space_of(recipe), seed=0, pruner="median") as study:
        one = study.tried()[0]
        attempt = study.next()
        attempt.end(replace(one, number=3, values=attempt.values))
    assert sorted(row["trial"] for row in pipeline.tune(three)["trials"]) == [1, 2, 3]


def test_a_folder_holds_one_search(parts: dict[str, str], tmp_path: Path) -> None:
    """Another recipe, other records or another model are refused, saying what differs."""
    recipe = recipe_for(parts, tmp_path / "out", search=RATES, trials=1)
    pipeline.tune(recipe)

    def refusal(**changed: Any) -> str:
        with pytest.raises(SettingError) as caught:
            pipeline.tune(with_values(recipe, changed))
        return str(caught.value)

    head = f"--out: {str(tmp_path / 'out')!r} holds another search: "
    tail = ". Give another folder, or remove it."
    assert refusal(**{"training.clip": 0.5}) == f"{head}training.clip was 1 and is 0.5{tail}"
    assert refusal(**{"data.test": parts["other"]}) == f"{head}the set of test records differs{tail}"
    assert "the model differs" in refusal(models=tiny_folder("gpt2"))
    assert "tuning.search.training.clip was None and is" in refusal(
        **{"tuning.search": {**RATES, "training.clip": "1,2"}}
    )


def test_what_a_killed_search_has_half_written_is_removed(parts: dict[str, str], tmp_path: Path) -> None:
    """Its own alone."""
    for name in (".out.1.part", ".out.1.gone", ".other.1.part"):
        (tmp_path / name / "run").mkdir(parents=True)
    pipeline.tune(recipe_for(parts, tmp_path / "out", search=RATES, trials=1))
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == [".other.1.part"]


def test_what_a_search_may_take_is_no_part_of_what_it_is(parts: dict[str, str], tmp_path: Path) -> None:
    """Nor is what only a training or a comparison has."""
    recipe = recipe_for(parts, tmp_path / "out", search=RATES, trials=1)
    found = pipeline.tune(recipe)
    room = {"model.cache_gb": 20.0, "training.memory_gb": 9.0, "tuning.hours": 1.0}
    others = {"training.save_every": 5, "training.keep": 3, "comparison.seeds": 3, "comparison.resamples": 100}
    assert pipeline.tune(with_values(recipe, {**room, **others})).to_dict() == found.to_dict()


# --- what may be searched --------------------------------------------------------------------------------------------


def space_for(search: dict[str, Any]) -> Space:
    return space_of(make_recipe({"tuning": {"search": search}}))


@pytest.mark.parametrize(
    ("place", "written", "drawn"),
    [
        ("training.learning_rate", "1e-6..1e-3,log", Range(low=1e-6, high=1e-3, log=True)),
        ("training.learning_rate", {"low": 1e-6, "high": 1e-3, "log": True}, Range(low=1e-6, high=1e-3, log=True)),
        ("training.epochs", " 1 .. 5, step = 2", Range(low=1.0, high=5.0, step=2)),
        ("training.batch_size", "8..64,log", Range(low=8, high=64, log=True, whole=True)),
        ("training.batch_size", "8, 16", Choices((8, 16))),
        ("training.warmup", "0...5", Range(low=0.0, high=0.5)),
        ("model.freeze", "[none, 2, 'embeddings,re:x']", Choices(("none", "all-but-top-2", "embeddings,re:x"))),
        ("training.schedule", "linear,wsd", Choices(("linear", "wsd"))),
        ("training.clip", "null,1", Choices((None, 1.0))),
        ("model.lora", "[null, {rank: 4, kind: lora}]", Choices((None, {"rank": 4}))),
    ],
)
def test_a_search_is_read_as_it_is_written(place: str, written: object, drawn: object) -> None:
    """As text, as on the command line, or as YAML holds it."""
    assert space_for({place: written}) == {place: drawn}


def test_sections_may_be_nested() -> None:
    """As everywhere in a recipe."""
    nested = {"training": {"clip": "1,2"}, "model": {"lora": {"rank": "4..8"}}}
    assert list(space_for(nested)) == ["training.clip", "model.lora.rank"]


def test_what_cannot_be_searched_is_told_at_once(golden: Golden) -> None:
    """Every place, with problem and remedy."""
    wrong = [
        {"training.learning_rte": "1e-5..1e-3"},
        {"training.metric": "accuracy,macro_f1"},
        {"training.learning_rate": "1e-3..1e-5"},
        {"training.learning_rate": "0..1,log"},
        {"training.learning_rate": "1e-5..1e-3,lg"},
        {"training.learning_rate": {"low": 1e-5}},
        {"training.learning_rate": "-1,1"},
        {"training.epochs": "1..5,step=9"},
        {"training.batch_size": "1..8,step=0.5"},
        {"training.batch_size": 8},
        {"training.schedule": "1..2"},
        {"model.freeze": "1..4"},
        {"training.epochs": "1..5", "training.steps": "10..50"},
        {"training.clip": "5..1", "training.warmup": "2,3"},
    ]
    golden("reports/searches.txt", "".join(f"{json.dumps(one)}\n{_refused(one)}\n\n" for one in wrong))


def _refused(search: dict[str, Any]) -> str:
    with pytest.raises(SettingError) as caught:
        space_for(search)
    return str(caught.value)


def test_a_value_that_the_model_cannot_have_ends_the_search(parts: dict[str, str], tmp_path: Path) -> None:
    """With its place and the way out; put right, it begins. A search without records to choose on does not."""
    high = recipe_for(parts, tmp_path / "a", search={"model.freeze": [8, 9]}, trials=1)
    with pytest.raises(SettingError, match=r"model\.freeze: The model has 3 blocks, so its top . cannot be kept free"):
        pipeline.tune(high)
    right = with_values(high, {"tuning.search": {"model.freeze": [1, 2]}})
    assert pipeline.tune(right)["best"]["values"] == {"model.freeze": "all-but-top-1"}
    blind = with_values(
        recipe_for(parts, tmp_path / "b", search=RATES), {"data.paths": [parts["train"]], "data.n_dev": 0}
    )
    with pytest.raises(SettingError, match="--n-dev: A search needs records to choose on"):
        pipeline.tune(blind)


def test_the_usual_three_are_searched_where_nothing_is_named() -> None:
    """Around the recipe's own values."""
    assert space_for({}) == {
        "training.learning_rate": Range(low=5e-6, high=5e-4, log=True),
        "training.batch_size": Choices((8, 16, 32)),
        "training.epochs": Range(low=1.0, high=6.0, step=1.0),
    }
    by_steps = space_of(make_recipe({"training": {"steps": 50, "batch_size": 1}}))
    assert list(by_steps) == ["training.learning_rate", "training.batch_size"]
    assert by_steps["training.batch_size"] == Choices((1, 2))


def test_every_setting_that_may_be_searched_is_one() -> None:
    """A list that names what is gone would mislead."""
    from formtune.recipe import places

    assert set(SEARCHABLE) <= set(places())


# --- the log ---------------------------------------------------------------------------------------------------------

SPACE: Space = {"rate": Range(low=1e-5, high=1e-1, log=True), "size": Choices((8, None, [1, 2]))}


def tried(attempt: Attempt, scores: Sequence[float]) -> str:
    """Tell a trial's looks until it is cut short, and write it down."""
    looks: list[float] = []
    state = "finished"
    try:
        for k, score in enumerate(scores, 1):
            looks.append(score)
            attempt.look(score, k=k)
    except Pruned:
        state = "pruned"
    attempt.end(
        Tried(
            number=attempt.number,
            values=attempt.values,
            state=state,  # type: ignore[arg-type]
            score=max(looks),
            loss=0.5,
            looks=tuple(looks),
            seconds=1.0,
        )
    )
    return state


def searched(path: Path, n: int, *, killed: int | None = None) -> list[Tried]:
    """Search for the rate 1e-3; ``killed`` leaves that trial as it stands, with half a line behind it."""
    with opened(path, SPACE, seed=5, pruner="median") as study:
        while len(study.tried()) < n:
            attempt = study.next({"rate": 1e-2, "size": 8})
            if attempt.number == killed:
                break
            tried(attempt, [attempt.values["rate"] * part for part in (0.5, 0.9, 1.0)])  # type: ignore[operator]
        found = study.tried()
    if killed:
        with path.open("ab") as file:
            file.write(b'{"op_code": 4, "wor')
    return found


def test_a_killed_search_goes_the_way_it_would_have_gone(tmp_path: Path) -> None:
    """Killed at the first trial, in the midst, twice at the same one, while the log is written."""
    whole = searched(tmp_path / "whole", 14)
    for trial in (1, 6, 6, 13):
        searched(tmp_path / "killed", 14, killed=trial)
    assert searched(tmp_path / "killed", 14) == whole
    assert whole[0].values == {"rate": 1e-2, "size": 8}
    assert len({one.values["rate"] for one in whole}) == 14
    assert {str(one.values["size"]) for one in whole} == {"8", "None", "[1, 2]"}


def test_the_median_cuts_a_trial_short(tmp_path: Path) -> None:
    """From the fifth on, where it is below half of those before at the same look."""
    with opened(tmp_path / "log", SPACE, seed=0, pruner="median") as study:
        states = [tried(study.next(), [score, score]) for score in (1.0, 2.0, 3.0, 4.0, 2.4, 2.6)]
        assert states == ["finished"] * 4 + ["pruned", "finished"]
        assert [len(one.looks) for one in study.tried()] == [2, 2, 2, 2, 1, 2]


def test_importance_tells_the_setting_that_matters_from_the_other(tmp_path: Path) -> None:
    """And says nothing of a handful of trials, or of trials that are all as good."""
    with opened(tmp_path / "log", SPACE, seed=0, pruner="none") as study:
        for _ in range(9):
            attempt = study.next()
            tried(attempt, [attempt.values["rate"]])  # type: ignore[list-item]
        assert study.importance() == {}
        for _ in range(11):
            attempt = study.next()
            tried(attempt, [attempt.values["rate"]])  # type: ignore[list-item]
        found = study.importance()
    assert sum(found.values()) == pytest.approx(1.0)
    assert found["rate"] > 0.8

    with opened(tmp_path / "flat", SPACE, seed=0, pruner="none") as study:
        for _ in range(12):
            tried(study.next(), [1.0])
        assert study.importance() == {}


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """The lock goes with the process, so none stays behind."""
    with (
        opened(tmp_path / "log", SPACE, seed=0, pruner="none"),
        pytest.raises(SettingError, match="Another process is at this search"),
        opened(tmp_path / "log", SPACE, seed=0, pruner="none"),
    ):
        pass
    with opened(tmp_path / "log", SPACE, seed=0, pruner="none") as study:
        assert isinstance(study, Study)


# --- what is shown ---------------------------------------------------------------------------------------------------

POINTS = [
    TrialPoint(1, 70.0, "finished", {"training.learning_rate": 1e-4, "model.freeze": "none"}),
    TrialPoint(2, None, "diverged", {"training.learning_rate": 1e-1, "model.freeze": "none"}),
    TrialPoint(3, 60.0, "pruned", {"training.learning_rate": 1e-3, "model.freeze": "all-but-top-1"}),
    TrialPoint(4, 80.0, "finished", {"training.learning_rate": 1e-2, "model.freeze": "<all>"}),
]


def test_the_picture_shows_every_trial_in_every_panel(golden: Golden) -> None:
    """By trial, by learning rate in powers of ten, by what is frozen."""
    made = search_picture(POINTS, metric="accuracy", higher_is_better=True, log=["training.learning_rate"])
    picture = ET.fromstring(made)
    kinds = {"dot arm-1": 2 * 3, "ring arm-1": 3, "curve arm-2": 3}
    for css, n in kinds.items():
        assert len([one for one in picture.iter() if one.get("class") == css]) == n
    assert "trial 4: 80, to the end; learning_rate 0.01, freeze &lt;all&gt;" in made
    golden("reports/search.svg", made)


def test_a_search_reads_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    """The winner, how much its score is worth, the best trials, and what told them apart."""
    monkeypatch.setenv("COLUMNS", "100")
    rows = [
        {"trial": 4, "score": 80.0, "loss": 0.41, "state": "finished", "values": {"training.learning_rate": 1e-2}},
        {"trial": 2, "score": None, "loss": None, "state": "diverged", "values": {"training.learning_rate": 1e-1}},
    ]
    values = {
        "note": "Of 2 settings tried, the best has accuracy 80 on the dev records, which chose it: that is optimistic.",
        "best": {"trial": 4, "values": {"training.learning_rate": 1e-2}, "score": 80.0},
        "trials": rows * 6,
        "importance": {"training.learning_rate": 0.91, "model.freeze": 0.09},
        "no_importance": None,
        "own_score": 70.0,
        "metrics": {"accuracy": 77.5},
        "run": "out/tuning/run",
        "recipe": "out/tuning/best.yaml",
        "picture": "out/tuning/trials.svg",
    }
    show.result(Result(values), show.tuning, Common())
    golden("reports/tuning.txt", "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines()) + "\n")


def test_the_command_takes_a_search_a_flag(
    parts: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And tells wrong ones with place and remedy."""
    files = [word for name in ("train", "dev", "test") for word in (f"--{name}", parts[name])]
    words = ["tune", *files, "--format", "classification", "--model", tiny_folder("bert"), "-o", str(tmp_path / "out")]
    flags = ["--search", "training.learning_rate=1e-4..1e-2,log", "--search", "training.batch_size=4,8"]
    assert run([*words, *flags, "--trials", "2", "--epochs", "1", "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"best", "trials", "run", "recipe", "metric", "pruned", "failed", "seconds"} <= told.keys()
    assert set(told["best"]["values"]) == {"training.learning_rate", "training.batch_size"}

    assert run([*words, "--search", "training.clip"]) == 2
    assert capsys.readouterr().err.startswith("--search: 'training.clip' searches nothing. Write PLACE=RANGE, as ")
    assert run([*words, *flags[:2], *flags[:2]]) == 2
    assert "training.learning_rate is searched twice" in capsys.readouterr().err
