"""The whole path with tiny models: from a file to a verdict, a run and an answer; and what is said of wrong input."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import tiny_folder
from tokenizer_folders import minilm_folder

import formtune as ft
from formtune import pipeline, planning
from formtune.answers import read_predictions
from formtune.arms import BLANKS
from formtune.cli import run
from formtune.examples import Task
from formtune.fitting import NO_ROOM, TOO_LONG
from formtune.model_files import file_digest
from formtune.prepared import open_prepared
from formtune.progress import Event
from formtune.recipe import Recipe, make_recipe
from formtune.records import Labelled
from formtune.runs import open_run
from formtune.shards import read_manifest

GOOD = ("lovely", "warm", "bright", "clever", "moving", "funny")
BAD = ("dull", "noisy", "grey", "clumsy", "empty", "slow")


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """Seventy-two short texts with two labels that one word decides."""
    rows = [(f"{a} and {b} film", "fresh") for a in GOOD for b in GOOD] + [
        (f"{a} and {b} film", "rotten") for a in BAD for b in BAD
    ]
    path = tmp_path / "reviews.csv"
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    return path


def recipe_for(path: Path, out: Path, **changed: Any) -> Recipe:
    """A small comparison on one tiny model."""
    settings: dict[str, Any] = {
        "data": {"paths": [str(path)], "n_train": 24, "n_dev": 12, "n_test": 24},
        "formats": "classification,masked_lm",
        "models": tiny_folder("bert"),
        "training": {"epochs": 2, "batch_size": 6, "learning_rate": 3e-3},
        "comparison": {"seeds": 2, "resamples": 200},
        "out": str(out),
    }
    return make_recipe({**settings, **changed})


def test_a_comparison_ends_in_a_verdict_a_report_predictions_and_a_run(reviews: Path, tmp_path: Path) -> None:
    """Everything is in one folder, named by a manifest, and the run answers."""
    found = pipeline.compare(recipe_for(reviews, tmp_path / "out"))

    values = found.to_dict()
    assert values["verdict"] == found.verdict != ""
    assert set(values["formats"]) == {"classification", "masked_lm"}
    assert values["sizes"] == {"train": 24, "dev": 12, "test": 24}
    assert len(values["pairs"]) == 1
    page = (tmp_path / "out" / "report.html").read_text()
    assert found.verdict.split(":")[0].split(" ")[0] in page
    predictions = read_predictions(tmp_path / "out" / "predictions.parquet")
    assert {key: len(rows) for key, rows in predictions.items()} == {
        (arm, seed): 24 for arm in ("classification", "masked_lm") for seed in (0, 1)
    }
    assert read_manifest(tmp_path / "out", kind="comparison")["verdict"] == found.verdict
    answers = pipeline.predict(values["best_run"], ["lovely and warm film", "dull and grey film"])["predictions"]
    assert {a["answer"] for a in answers} <= {"fresh", "rotten"}


def test_the_same_comparison_twice_gives_the_same_bytes(reviews: Path, tmp_path: Path) -> None:
    """Predictions byte by byte, and the same verdict."""
    first, second = (pipeline.compare(recipe_for(reviews, tmp_path / name)) for name in ("a", "b"))

    assert first.verdict == second.verdict
    assert (tmp_path / "a" / "predictions.parquet").read_bytes() == (
        tmp_path / "b" / "predictions.parquet"
    ).read_bytes()


@pytest.mark.parametrize(
    ("family", "formats"),
    [
        ("llama", "seq2seq,classification,generative_qa,masked_lm,instruction,chat,completion"),
        ("t5", "seq2seq,classification,generative_qa,masked_lm"),
        ("xlnet", "seq2seq,classification"),
    ],
)
def test_every_shape_of_model_is_compared(family: str, formats: str, reviews: Path, tmp_path: Path) -> None:
    """Each format is trained, scored and shown in the report."""
    changed = {"models": tiny_folder(family), "formats": formats, "training": {"steps": 2, "batch_size": 4}}
    changed["data"] = {"paths": [str(reviews)], "n_train": 8, "n_dev": 4, "n_test": 8}
    found = pipeline.compare(recipe_for(reviews, tmp_path / "out", **changed))

    assert set(found.values["formats"]) == set(formats.split(","))
    assert [e.arm for e in found.report.shown.examples] == formats.split(",")  # type: ignore[union-attr]


def test_a_frozen_trunk_changes_no_prediction(reviews: Path, tmp_path: Path) -> None:
    """With its cache and without."""
    for name, cache in (("kept", True), ("anew", False)):
        model = {"freeze": "all-but-top-1", "cache_trunk": cache}
        pipeline.compare(recipe_for(reviews, tmp_path / name, model=model))

    kept, anew = (read_predictions(tmp_path / name / "predictions.parquet") for name in ("kept", "anew"))
    assert [[p.answer for p in rows] for rows in kept.values()] == [[p.answer for p in rows] for rows in anew.values()]


def test_a_training_tells_how_it_goes_and_what_it_came_to(reviews: Path, tmp_path: Path) -> None:
    """Eight updates, two looks, what was computed of what padding computes; the manifest has the same."""
    told: list[Event] = []
    recipe = recipe_for(reviews, tmp_path / "run", formats="classification")
    values = pipeline.train(recipe, progress=told.append).to_dict()
    updates = [event for event in told if event.step]
    assert [event.looks_left for event in updates] == [2, 2, 2, 1, 1, 1, 1, 0]
    assert [bool(event.shown) for event in updates] == [False, False, False, True, False, False, False, True]
    assert all(event.memory_bytes > 2**20 and event.n_learned == 6 for event in updates)
    assert sum(event.n_computed for event in updates) == values["computed_tokens"]
    padded = sum(event.n_padded for event in updates)
    assert values["computed_share"] == pytest.approx(values["computed_tokens"] / padded)
    assert values["saved"]["packing"] == pytest.approx(1 - values["computed_share"])
    kept = read_manifest(tmp_path / "run", kind="run")
    assert {name: kept[name] for name in ("saved", "peak_mb")} == {name: values[name] for name in ("saved", "peak_mb")}


def test_a_run_can_be_trained_scored_and_asked(reviews: Path, tmp_path: Path) -> None:
    """The metrics of the training's own test are those of evaluating the run on the same records."""
    changed = {
        "formats": "classification",
        "training": {"epochs": 6, "batch_size": 6, "learning_rate": 3e-3, "metric": "accuracy"},
    }
    recipe = recipe_for(reviews, tmp_path / "run", **changed)
    pipeline.split(recipe_for(reviews, tmp_path / "parts"))
    trained = pipeline.train(recipe).to_dict()
    scored = pipeline.evaluate(
        str(tmp_path / "run"), make_recipe({"data": {"paths": [str(tmp_path / "parts" / "test.jsonl")]}})
    )

    assert trained["metrics"]["accuracy"] == pytest.approx(scored["metrics"]["accuracy"])
    assert scored["n"] == 24
    assert (tmp_path / "run" / "trace.svg").read_text().startswith("<svg")
    assert len((tmp_path / "run" / "trace.jsonl").read_text().splitlines()) == trained["steps"]


@pytest.mark.parametrize(
    "model",
    [
        {"lora": {"rank": 2}, "freeze": "all-but-top-2"},
        {"lora": {"rank": 2, "kind": "dora"}},
        {"freeze": "all-but-biases"},
    ],
    ids=["lora", "dora", "biases"],
)
def test_a_part_that_was_trained_is_saved_and_opened_again(
    model: dict[str, object], reviews: Path, tmp_path: Path
) -> None:
    """The opened run answers as the trained model did."""
    recipe = recipe_for(reviews, tmp_path / "run", formats="classification", model=model)
    pipeline.split(recipe_for(reviews, tmp_path / "parts"))
    trained = pipeline.train(recipe)
    test = make_recipe({"data": {"paths": [str(tmp_path / "parts" / "test.jsonl")]}})

    assert pipeline.evaluate(str(tmp_path / "run"), test)["metrics"]["log_loss"] == pytest.approx(
        trained["metrics"]["log_loss"]
    )


@pytest.mark.parametrize(("epochs", "updates"), [(None, None), (1, 4), (0.5, 2), (0.01, 1)])
def test_epochs_until_a_block_joins_become_updates(epochs: float | None, updates: int | None) -> None:
    """Twenty-four records in batches of six; at least one update."""
    recipe = make_recipe({"training": {"batch_size": 6, "unfreeze_every": epochs, "layer_decay": 0.9}})

    settings = planning.train_settings(recipe, Task(kind="plain"), [None] * 24)

    assert (settings.unfreeze_every, settings.layer_decay) == (updates, 0.9)


def test_a_run_is_not_opened_over_another_model(reviews: Path, tmp_path: Path) -> None:
    """Its weights would stand on what they were not trained on."""
    base = tmp_path / "base"
    shutil.copytree(tiny_folder("bert"), base)
    pipeline.train(recipe_for(reviews, tmp_path / "run", formats="classification", models=str(base)))
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-3}))

    with pytest.raises(ft.DataError, match="is not the one that this run was trained from"):
        pipeline.predict(str(tmp_path / "run"), ["warm film"])


def test_what_is_best_on_the_dev_records_can_be_chosen(reviews: Path, tmp_path: Path) -> None:
    """The trace of a comparison then holds the metric."""
    training = {"epochs": 1, "batch_size": 6, "metric": "accuracy"}
    pipeline.compare(recipe_for(reviews, tmp_path / "out", training=training))

    lines = [json.loads(line) for line in (tmp_path / "out" / "traces.jsonl").read_text().splitlines()]
    assert all("accuracy" in line["look"]["shown"] for line in lines if line["look"])


def test_several_learning_rates_are_for_comparisons(reviews: Path, tmp_path: Path) -> None:
    """One training would ignore them."""
    with pytest.raises(ft.SettingError, match=r"training\.learning_rates"):
        pipeline.train(
            recipe_for(reviews, tmp_path / "run", formats="classification", training={"learning_rates": [1e-3]})
        )


def test_lines_of_text_are_answered_from_a_file(reviews: Path, tmp_path: Path) -> None:
    """A file without labels, one text a line."""
    pipeline.train(recipe_for(reviews, tmp_path / "run", formats="classification"))
    (tmp_path / "new.txt").write_text("lovely film\ndull film\n")

    found = pipeline.predict(str(tmp_path / "run"), make_recipe({"data": {"paths": [str(tmp_path / "new.txt")]}}))

    assert found["n"] == 2


def conversation(name: str, n_questions: int) -> str:
    """A line of messages whose last is an answer."""
    turns = [
        {"role": role, "content": f"{role} {name} {n}"} for n in range(n_questions) for role in ("user", "assistant")
    ]
    return json.dumps({"messages": turns}) + "\n"


def test_what_leaves_no_room_for_an_answer_is_left_out_and_told(tmp_path: Path) -> None:
    """The wording around many turns is never cut: forty do not fit, six leave too little behind them."""
    talks, more = tmp_path / "talks.jsonl", tmp_path / "more.jsonl"
    talks.write_text("".join(conversation(f"a{n}", 1) for n in range(30)) + conversation("a", 40))
    more.write_text("".join(conversation(f"b{n}", 1) for n in range(12)) + conversation("b", 6))
    changed = {
        "data": {"train": str(talks), "dev": str(more)},
        "formats": "instruction",
        "models": tiny_folder("llama"),
        "model": {"max_length": 256},
        "training": {"steps": 1, "batch_size": 4},
    }
    asked = make_recipe({"data": {"paths": [str(more)]}})
    trained = pipeline.train(recipe_for(talks, tmp_path / "run", **changed))
    predicted = pipeline.predict(str(tmp_path / "run"), asked)
    scored = pipeline.evaluate(str(tmp_path / "run"), asked)

    assert TOO_LONG in str(trained["left_out"])
    assert NO_ROOM in str(trained["left_out"])
    assert predicted["n"] == scored["n"] == 12
    told = {"code": "FT192", "reason": NO_ROOM, "rows": 1, "places": [f"{more}:13"]}
    assert predicted["left_out"] == scored["left_out"] == [told]


def test_records_that_all_leave_no_room_are_refused(tmp_path: Path) -> None:
    """The first is named."""
    short, long = tmp_path / "short.jsonl", tmp_path / "long.jsonl"
    short.write_text("".join(conversation(f"{n}", 1) for n in range(40)))
    long.write_text(conversation("", 40))
    changed = {
        "data": {"train": str(short)},
        "formats": "instruction",
        "models": tiny_folder("llama"),
        "model": {"max_length": 256},
        "training": {"steps": 1, "batch_size": 4},
    }
    pipeline.train(recipe_for(short, tmp_path / "run", **changed))

    with pytest.raises(ft.DataError, match="No record can be answered") as error:
        pipeline.predict(str(tmp_path / "run"), make_recipe({"data": {"paths": [str(long)]}}))
    assert str(error.value).startswith(f"{long}:1: ")


def test_the_prior_of_the_labels_is_taken_off_and_kept_with_the_run(reviews: Path, tmp_path: Path) -> None:
    """A record that says nothing is then undecided on average (Zhao et al. 2021)."""
    changed = {
        "formats": "masked_lm",
        "training": {"steps": 1, "batch_size": 4},
        "comparison": {"seeds": 1, "label_prior": True},
    }
    pipeline.train(recipe_for(reviews, tmp_path / "run", **changed))
    blanks = [Labelled(inputs={"text": text}, id=text) for text in BLANKS]
    opened = open_run(tmp_path / "run")
    raw = np.mean([p.probabilities for p in replace(opened, prior=None).predict(blanks)], axis=0)

    assert opened.prior == pytest.approx(np.log(raw))
    text = Labelled(inputs={"text": "a warm film"}, id="1")
    odds = np.array(replace(opened, prior=None).predict([text])[0].probabilities) / raw
    assert opened.predict([text])[0].probabilities == pytest.approx(odds / odds.sum())


def test_a_training_tells_what_a_temperature_would_do(reviews: Path, tmp_path: Path) -> None:
    """It is fitted on the dev records and changes no accuracy."""
    trained = pipeline.train(recipe_for(reviews, tmp_path / "run", formats="classification")).to_dict()

    assert trained["calibrated"]["n"] == 12
    assert trained["calibrated"]["temperature"] > 0
    assert set(trained["calibrated"]["metrics"]) == {"log_loss", "brier", "ece"}


def test_answers_written_beside_scored_words_are_scored_too(reviews: Path, tmp_path: Path) -> None:
    """An arm with a class head writes nothing."""
    changed = {
        "formats": "seq2seq,classification",
        "models": tiny_folder("llama"),
        "training": {"steps": 20, "batch_size": 6, "learning_rate": 3e-3},
        "comparison": {"seeds": 1, "resamples": 100, "generate": True},
    }
    found = pipeline.compare(recipe_for(reviews, tmp_path / "out", **changed))
    seq2seq, head = (found.values["formats"][name] for name in ("seq2seq", "classification"))

    assert 0 <= seq2seq["written"] <= 100 * (1 - seq2seq["invalid"])
    assert head["written"] is head["invalid"] is None


def pairs_file(path: Path, n: int, *, named: bool) -> Path:
    """Lines of source and target, the languages named or not."""
    rows = [(f"word {i} and {i * 7 % 11}", f"wort {i} und {i * 7 % 11}") for i in range(n)]
    lines = [{"translation": {"en": s, "de": t}} if named else {"source": s, "target": t} for s, t in rows]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_run_on_pairs_is_scored_as_it_was_trained(tmp_path: Path) -> None:
    """With answers as long as in training, and with the languages that a bare file does not name."""
    named = pairs_file(tmp_path / "named.jsonl", 30, named=True)
    bare = pairs_file(tmp_path / "bare.jsonl", 30, named=False)
    changed = {
        "data": {"paths": [str(named)]},
        "formats": "seq2seq",
        "models": tiny_folder("llama"),
        "training": {"steps": 2, "batch_size": 4},
        "comparison": {"max_new_tokens": 3},
    }
    pipeline.train(recipe_for(named, tmp_path / "run", **changed))
    scored = [
        pipeline.evaluate(str(tmp_path / "run"), make_recipe({"data": {"paths": [str(path)]}})).to_dict()
        for path in (named, bare)
    ]
    longer = {"data": {"paths": [str(named)]}, "comparison": {"max_new_tokens": 9}}

    answers = [[row["answer"] for row in one["predictions"]] for one in scored]
    assert answers[0] == answers[1]
    assert max(map(len, answers[0])) <= 3
    more = pipeline.evaluate(str(tmp_path / "run"), make_recipe(longer))["predictions"]
    assert max(len(row["answer"]) for row in more) > 3


def test_answers_are_labels_in_every_format(reviews: Path, tmp_path: Path) -> None:
    """Words stand for labels only in what the model sees."""
    changed = {"task": {"words": {"fresh": "good", "rotten": "bad"}}, "training": {"steps": 1}}
    found = pipeline.compare(recipe_for(reviews, tmp_path / "out", **changed))

    stored = read_predictions(tmp_path / "out" / "predictions.parquet")
    assert {p.answer for rows in stored.values() for p in rows} <= {"fresh", "rotten"}
    answers = pipeline.predict(found.values["best_run"], ["lovely film"])["predictions"]
    assert answers[0]["answer"] in ("fresh", "rotten")


def test_predicting_looks_at_no_answer_and_scoring_leaves_out_unknown_ones(reviews: Path, tmp_path: Path) -> None:
    """A label that training never saw is no reason not to answer, and none to stop scoring the others."""
    pipeline.train(recipe_for(reviews, tmp_path / "run", formats="classification", training={"steps": 1}))
    (tmp_path / "new.csv").write_text("text,label\nlovely film,fresh\ndull film,odd\n")
    new = make_recipe({"data": {"paths": [str(tmp_path / "new.csv")]}})

    assert pipeline.predict(str(tmp_path / "run"), new)["n"] == 2
    scored = pipeline.evaluate(str(tmp_path / "run"), new)
    assert scored["n"] == 1
    assert scored["left_out"][0]["places"] == [f"{tmp_path / 'new.csv'}:3"]


def test_what_is_left_out_is_named_by_its_line(reviews: Path, tmp_path: Path) -> None:
    """Not by the digest that stands for a record."""
    many = reviews.read_text() + "".join(f'"{word * 200}",fresh\n' for word in ("x", "y"))
    reviews.write_text(many)
    template = tmp_path / "whole.jinja"
    template.write_text("{% learn %}{{ text }} {{ label }}{% endlearn %}")
    changed = {"formats": str(template), "models": tiny_folder("llama"), "model": {"max_length": 64}}
    found = pipeline.prepare(recipe_for(reviews, tmp_path / "out", data={"paths": [str(reviews)]}, **changed))

    (told_of,) = found["left_out"]
    assert told_of["reason"] == TOO_LONG
    assert sorted(told_of["places"]) == [f"{reviews}:74", f"{reviews}:75"]


def test_likelihoods_of_different_texts_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is trained."""
    notes = tmp_path / "notes.txt"
    notes.write_text("".join(f"The tide came in {i} times and left shell {i} on the sand.\n" for i in range(40)))
    asked = ("compare", str(notes), "--model", tiny_folder("llama"), "--out", str(tmp_path / "out"))

    said = told(capsys, *asked, "--formats", "completion,seq2seq")

    assert said.startswith("--formats: completion and seq2seq ask for different parts of a text")


def test_label_words_that_the_model_cannot_tell_apart_are_refused_before_training(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An uncased vocabulary without accents reads both as one."""
    reviews.write_text(reviews.read_text().replace("fresh", "uber").replace("rotten", "über"))
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder("bert"), folder)
    (folder / "tokenizer.json").write_text((minilm_folder() / "tokenizer.json").read_text())
    (folder / "tokenizer_config.json").write_text((minilm_folder() / "tokenizer_config.json").read_text())

    said = told(
        capsys, "prepare", str(reviews), "--format", "masked_lm", "--model", str(folder), "--out", str(tmp_path / "out")
    )

    assert "are the same tokens to this model" in said


@pytest.mark.parametrize("formats", ["classification,classification", "mine.jinja,other/mine.jinja"])
def test_arms_of_one_name_are_refused_before_training(
    formats: str, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody could tell them apart afterwards."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    for path in ("mine.jinja", "other/mine.jinja"):
        (tmp_path / path).write_text("{{ text }} {% head %}")
    arguments = working(reviews, tmp_path, "compare")
    arguments[arguments.index("--format") + 1] = formats

    assert "Two arms would be called" in told(capsys, *arguments)


def test_a_learning_rate_that_diverges_is_no_candidate(reviews: Path, tmp_path: Path) -> None:
    """The others decide."""
    training = {"steps": 4, "batch_size": 6, "optimizer": "sgd", "clip": None, "learning_rates": [1e30, 1e-3]}
    found = pipeline.compare(recipe_for(reviews, tmp_path / "out", training=training))

    assert set(found.values["learning_rates"].values()) == {1e-3}

    only = {**training, "learning_rates": [1e30]}
    with pytest.raises(ft.SettingError, match="The loss is"):
        pipeline.compare(recipe_for(reviews, tmp_path / "none", training=only))


def test_test_records_of_one_group_decide_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One film is one observation."""
    path = tmp_path / "films.csv"
    rows = [
        (f"{a} and {b} film", label, "one" if label_of == 0 else f"f{a}{b}")
        for label, words in (("fresh", GOOD), ("rotten", BAD))
        for a in words
        for label_of, b in enumerate(words)
    ]
    path.write_text("text,label,film\n" + "".join(f"{t},{la},{f}\n" for t, la, f in rows))
    test = tmp_path / "test.csv"
    test.write_text(
        "text,label,film\n"
        + "".join(f"{w} thing,{la},z\n" for la, ws in (("fresh", GOOD), ("rotten", BAD)) for w in ws)
    )
    asked = ("compare", "--train", str(path), "--test", str(test), "--group", "film", "--out", str(tmp_path / "out"))

    said = told(capsys, *asked, "--formats", "classification,masked_lm", "--model", tiny_folder("bert"))

    assert said.startswith("--group: All test records belong together")


def test_a_prior_of_letters_is_refused_before_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A letter stands for another choice each time."""
    path = tmp_path / "quiz.jsonl"
    rows = [{"question": f"Which is {i}?", "choices": [f"a{i}", f"b{i}", f"c{i}"], "answer": i % 3} for i in range(30)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = (
        "train",
        str(path),
        "--format",
        "generative_qa",
        "--model",
        tiny_folder("llama"),
        "--out",
        str(tmp_path / "o"),
    )

    said = told(capsys, *asked, "--set", "comparison.label_prior=true")

    assert said.startswith("comparison.label_prior: These labels have no prior")


def test_a_text_twice_is_one_observation(reviews: Path, tmp_path: Path) -> None:
    """Otherwise a file with repeated rows would be sure of what it does not know."""
    bare = pipeline.compare(recipe_for(reviews, tmp_path / "bare"))
    again = {"train": str(tmp_path / "train.csv"), "dev": str(tmp_path / "dev.csv"), "test": str(tmp_path / "test.csv")}
    pipeline.split(recipe_for(reviews, tmp_path / "parts"))
    for name, path in again.items():
        rows = [json.loads(line) for line in (tmp_path / "parts" / f"{name}.jsonl").read_text().splitlines()]
        rows = [row for row in rows for _ in range(3 if name == "test" else 1)]
        Path(path).write_text("text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in rows))
    thrice = pipeline.compare(recipe_for(reviews, tmp_path / "thrice", data=again))

    assert thrice.values["sizes"]["test"] == 3 * bare.values["sizes"]["test"]
    (one,), (three,) = bare.values["pairs"], thrice.values["pairs"]
    assert three["difference"] == pytest.approx(one["difference"])
    assert three["high"] - three["low"] == pytest.approx(one["high"] - one["low"], rel=0.35)
    assert "in 24 groups" in thrice.values["advice"][0]


def test_every_result_says_what_it_was_made_of(reviews: Path, tmp_path: Path) -> None:
    """The digests of the file that was read, and of the records of each part."""
    changed = {"formats": "seq2seq", "models": tiny_folder("llama"), "training": {"steps": 1}}
    for verb, kind in (("split", "split"), ("prepare", "prepared"), ("train", "run")):
        getattr(pipeline, verb)(recipe_for(reviews, tmp_path / verb, **changed))
        manifest = read_manifest(tmp_path / verb, kind=kind)
        assert manifest["inputs"] == {str(reviews): file_digest(reviews)}
        assert set(manifest["splits"]) == {"train", "dev", "test"}
        assert "left_out" in manifest


def test_a_run_whose_specification_is_not_whole_is_refused(reviews: Path, tmp_path: Path) -> None:
    """With the manifest's path."""
    pipeline.train(recipe_for(reviews, tmp_path / "run", formats="classification", training={"steps": 1}))
    path = tmp_path / "run" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["spec"]["task"]
    path.write_text(json.dumps(manifest))

    with pytest.raises(ft.DataError, match="The run's specification is not whole") as error:
        pipeline.predict(str(tmp_path / "run"), ["warm film"])
    assert str(error.value).startswith(f"{path}: ")


def test_weights_that_are_not_those_of_the_settings_are_refused(reviews: Path, tmp_path: Path) -> None:
    """Another freezing trains other weights."""
    pipeline.train(recipe_for(reviews, tmp_path / "run", formats="classification", training={"steps": 1}))
    path = tmp_path / "run" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["spec"]["options"]["freeze"] = "all-but-top-1"
    path.write_text(json.dumps(manifest))

    with pytest.raises(ft.DataError, match="not the weights that this model trains"):
        pipeline.predict(str(tmp_path / "run"), ["warm film"])


def test_whether_a_table_has_a_header_can_be_said(tmp_path: Path) -> None:
    """Where the first row looks like any other."""
    path = tmp_path / "bare.csv"
    path.write_text("a warm film,fresh\na dull film,rotten\nan odd film,fresh\n")
    kinds = {"paths": [str(path)], "columns": {"text": "1", "label": "2"}}
    found = pipeline.inspect(make_recipe({"data": {**kinds, "header": False}}))

    assert found["records"] == 3


def test_labels_that_are_numbers_are_told_to_want_words(reviews: Path, tmp_path: Path) -> None:
    """A label word that says nothing is a handicap of the formats that name it."""
    reviews.write_text(reviews.read_text().replace("fresh", "1").replace("rotten", "0"))
    quick = {"training": {"steps": 1, "batch_size": 4}}
    bare = pipeline.compare(recipe_for(reviews, tmp_path / "bare", **quick))
    worded = pipeline.compare(
        recipe_for(reviews, tmp_path / "worded", task={"words": {"0": "bad", "1": "good"}}, **quick)
    )

    assert "The labels (0, 1) say nothing to a model" in " ".join(bare.values["advice"])
    assert "say nothing" not in " ".join(worded.values["advice"])


def test_a_fault_in_a_template_is_told_with_its_path(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that an editor can open it."""
    template = tmp_path / "mine.jinja"
    template.write_text("{{ text }}\n{{ nonsense }} {% learn %}{{ label }}{% endlearn %}")

    said = told(capsys, "preview", str(reviews), "--format", str(template))

    assert said.startswith(f"{template}:2: ")


def test_a_users_template_takes_part_and_is_served_again(reviews: Path, tmp_path: Path) -> None:
    """The run keeps the template's text."""
    template = tmp_path / "mine.jinja"
    template.write_text("{{ text }} It was {% learn %}{{ label }}{% endlearn %}")
    changed = {"formats": f"{template},seq2seq", "models": tiny_folder("llama"), "training": {"steps": 2}}
    pipeline.compare(recipe_for(reviews, tmp_path / "out", **changed))
    changed["formats"] = str(template)
    pipeline.train(recipe_for(reviews, tmp_path / "run", **changed))
    template.unlink()

    assert pipeline.predict(str(tmp_path / "run"), ["warm film"])["predictions"][0]["answer"] in ("fresh", "rotten")


def test_prepared_tokens_can_be_read_again(reviews: Path, tmp_path: Path) -> None:
    """The counts are those of the shard."""
    found = pipeline.prepare(recipe_for(reviews, tmp_path / "tokens", formats="chat", models=tiny_folder("llama")))
    prepared = open_prepared(tmp_path / "tokens")
    tokens = [prepared.tokens(n) for n in range(len(prepared))]

    assert (len(tokens), sum(len(t.ids_T) for t in tokens)) == (found["records"], found["tokens"])
    assert sum(int((t.weights_T > 0).sum()) for t in tokens) == found["learned_tokens"]


def test_every_record_is_prepared_unless_some_are_held_back(reviews: Path, tmp_path: Path) -> None:
    """Whoever prepares a file means the whole of it."""
    changed = {"formats": "seq2seq", "models": tiny_folder("llama")}
    whole = pipeline.prepare(recipe_for(reviews, tmp_path / "whole", data={"paths": [str(reviews)]}, **changed))
    held = {"paths": [str(reviews)], "n_dev": 12}
    part = pipeline.prepare(recipe_for(reviews, tmp_path / "part", data=held, **changed))

    assert (whole["records"], part["records"]) == (72, 60)


@pytest.mark.parametrize("split", ["dev", "test"])
def test_a_comparison_needs_records_to_choose_and_to_judge_by(
    split: str, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nought is for training and preparing alone."""
    arguments = working(reviews, tmp_path, "compare")
    arguments[arguments.index(f"--n-{split}") + 1] = "0"

    said = told(capsys, *arguments)

    assert said.startswith(f"--n-{split}: A comparison needs records")


def test_python_compares_data_that_were_loaded(reviews: Path, tmp_path: Path) -> None:
    """The result prints the verdict, and shows it in a notebook."""
    data = ft.load(reviews)
    settings = {"training": {"steps": 2}, "comparison": {"seeds": 2, "resamples": 200}}
    result = ft.compare(
        data,
        formats=["classification", "masked_lm"],
        model=tiny_folder("bert"),
        out=tmp_path / "out",
        settings=settings,
    )

    assert len(data) == 72
    assert str(reviews) in (tmp_path / "out" / "recipe.yaml").read_text()
    assert result.verdict in str(result)
    assert "ft-summary" in result._repr_html_()


# --- fed wrongly -----------------------------------------------------------------------------------------------------


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must end with exit code 2, and give what it says on standard error."""
    assert run([*arguments, "--quiet"]) == 2
    out = capsys.readouterr()
    assert out.out == ""
    return out.err.strip()


def working(reviews: Path, tmp_path: Path, command: str) -> list[str]:
    """Give the arguments with which a command would do its work."""
    given = [command, str(reviews)]
    if command in ("prepare", "train", "compare"):
        given += ["--model", tiny_folder("bert"), "--n-train", "24", "--n-dev", "12", "--n-test", "24"]
        given += ["--format", "classification,masked_lm" if command == "compare" else "classification"]
    if command == "preview":
        given += ["--model", tiny_folder("bert"), "--format", "classification"]
    return given + (["--out", str(tmp_path / "out")] if command not in ("inspect", "preview") else [])


COMMANDS = ["inspect", "split", "preview", "prepare", "train", "compare"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_column_is_named(
    command: str, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the nearest one that is there."""
    said = told(capsys, *working(reviews, tmp_path, command), "--text", "txt", "--label", "label")

    assert said.startswith("--text: ")
    assert "'txt'" in said and "text" in said


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("content", "problem"), [(b"", "is empty"), (b"\x7fELF\x00\x01\x02\x00\x00" * 99, "binary")])
def test_a_file_without_records_is_refused(
    command: str, content: bytes, problem: str, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Empty, or no text."""
    arguments = working(reviews, tmp_path, command)
    reviews.write_bytes(content)

    said = told(capsys, *arguments)

    assert said.startswith(str(reviews))
    assert problem in said


@pytest.mark.parametrize("command", ["preview", "prepare", "train", "compare"])
def test_one_label_alone_is_refused(
    command: str, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is nothing to tell apart."""
    lines = [line for line in reviews.read_text().splitlines() if "rotten" not in line]
    reviews.write_text("\n".join(lines) + "\n")
    arguments = [a.replace("24", "12") for a in working(reviews, tmp_path, command)]

    assert "label" in told(capsys, *arguments, "--text", "text", "--label", "label")


@pytest.mark.parametrize("command", ["prepare", "train", "compare"])
def test_labels_that_training_does_not_know_are_refused(
    command: str, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the label and its row."""
    test = tmp_path / "test.csv"
    test.write_text("text,label\nstrange film,rancid\nwarm film,fresh\n")
    arguments = working(reviews, tmp_path, command)
    arguments[1:2] = ["--train", str(reviews), "--test", str(test)]
    del arguments[arguments.index("--n-test") : arguments.index("--n-test") + 2]

    said = told(capsys, *arguments)

    assert "'rancid'" in said
    assert f"{test}:2" in said


def test_texts_longer_than_the_model_are_cut_and_counted(reviews: Path, tmp_path: Path) -> None:
    """The answer is not cut; what cannot be cut is left out with its reason."""
    long = make_recipe(
        {
            "data": {"paths": [str(reviews)], "n_train": 24, "n_dev": 12, "n_test": 24},
            "formats": "seq2seq",
            "models": tiny_folder("llama"),
            "model": {"max_length": 24},
            "out": str(tmp_path / "tokens"),
        }
    )
    found = pipeline.prepare(long)
    prepared = open_prepared(tmp_path / "tokens")
    tokens = [prepared.tokens(n) for n in range(len(prepared))]

    assert found["truncated"] > 0
    assert all(len(t.ids_T) <= 24 for t in tokens)
    assert all(t.weights_T[-1] > 0 for t in tokens)


@pytest.mark.parametrize("command", ["prepare", "train", "compare"])
def test_a_length_that_leaves_nothing_is_refused(
    command: str, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every record would be left out."""
    arguments = working(reviews, tmp_path, command)
    arguments[arguments.index("--model") + 1] = tiny_folder("llama")
    arguments[arguments.index("--format") + 1] = "seq2seq,chat" if command == "compare" else "seq2seq"

    said = told(capsys, *arguments, "--max-length", "3")

    assert "longer than the model" in said


@pytest.mark.parametrize("command", ["preview", "prepare", "train", "compare"])
def test_a_model_folder_without_tokenizer_is_refused(
    command: str, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder is named."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder("bert"), folder)
    (folder / "tokenizer.json").unlink()
    arguments = working(reviews, tmp_path, command)
    arguments[arguments.index("--model") + 1] = str(folder)

    said = told(capsys, *arguments)

    assert str(folder) in said
    assert "tokenizer.json" in said


@pytest.mark.parametrize("command", ["split", "prepare", "train", "compare"])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    command: str, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file stands where a folder is needed."""
    (tmp_path / "file").write_text("")
    arguments = working(reviews, tmp_path, command)
    arguments[arguments.index("--out") + 1] = str(tmp_path / "file" / "out")

    said = told(capsys, *arguments)

    assert said.startswith("--out: ")
    assert "cannot be written" in said


def test_a_command_with_json_prints_one_object(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nothing else on standard output."""
    assert run([*working(reviews, tmp_path, "compare"), "--set", "training.steps=2", "--seeds", "2", "--json"]) == 0

    printed = json.loads(capsys.readouterr().out)
    assert {"verdict", "winner", "equivalent", "metric", "formats", "pairs", "best_run", "report"} <= set(printed)
    assert {"mean", "low", "high", "by_seed", "invalid", "cost"} <= set(next(iter(printed["formats"].values())))
    assert {"a", "b", "difference", "low", "high", "p", "equivalent"} <= set(printed["pairs"][0])
