"""A recipe holds every setting, and says what is wrong with those it cannot use."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formtune.errors import DataError, SettingError
from formtune.recipe import Recipe, SettingErrors, files, load_recipe, make_recipe, placed, places, schema


def refused(settings: dict[str, object]) -> str:
    with pytest.raises(SettingError) as error:
        make_recipe(settings)
    return str(error.value)


def test_a_recipe_written_as_yaml_reads_back_equal(tmp_path: Path) -> None:
    """What stands in the YAML is the whole recipe."""
    recipe = make_recipe(
        {
            "data": {"paths": ["a.csv", "b.csv"], "columns": {"text": "Review"}, "n_train": 100},
            "task": {"words": {"no": "1e-5", "007": "12:30", "on": "~", "2020-01-01": "true", "是": "对"}},
            "formats": ["seq2seq"],
            "model": {"freeze": 4, "lora": {"rank": 2}},
            "training": {"steps": 10, "learning_rates": [1e-5, 2e-5]},
        }
    )
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml(), encoding="utf-8")
    assert load_recipe(path) == recipe


WORDS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]))


@given(st.dictionaries(WORDS, WORDS, max_size=3))
def test_any_label_words_survive_yaml(tmp_path_factory: pytest.TempPathFactory, words: dict[str, str]) -> None:
    """Labels that look like numbers, dates or booleans stay text."""
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    recipe = make_recipe({"task": {"words": words}})
    path.write_text(recipe.to_yaml(), encoding="utf-8", newline="")
    assert load_recipe(path).task.words == words


def test_labels_of_yaml_1_1_stay_text(tmp_path: Path) -> None:
    """A label `no` is not False, `007` is not 7 and `12:30` is not 750."""
    path = tmp_path / "recipe.yaml"
    path.write_text("task:\n  words: {no: nein, 007: Bond, 12:30: noon, 2020-01-01: first}\n")
    assert load_recipe(path).task.words == {"no": "nein", "007": "Bond", "12:30": "noon", "2020-01-01": "first"}


def test_an_unknown_setting_gets_its_place_and_the_nearest_name() -> None:
    """A slip of the pen is found where it stands."""
    assert refused({"training": {"learning_rte": 1}}).startswith(
        "training.learning_rte: There is no setting 'learning_rte'; the nearest is 'learning_rate'. Choose from: "
    )
    assert refused({"model": {"lora": {"rnk": 3}}}) == (
        "model.lora.rnk: There is no setting 'rnk'; the nearest is 'rank'. Choose from: kind, rank, alpha, "
        "rank_stabilized, dropout, targets."
    )


def test_a_setting_in_the_wrong_section_is_sent_to_the_right_one() -> None:
    """The name is known elsewhere."""
    assert refused({"learning_rate": 1}) == (
        "learning_rate: There is no setting 'learning_rate' here. Write it as training.learning_rate."
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"training": {"optimizer": "adamm"}},
            (
                "training.optimizer: There is no value 'adamm'; the nearest is 'adam'. "
                "Choose from: adamw, adam, sgd, adafactor."
            ),
        ),
        ({"training": {"clip": -1}}, "training.clip: -1 cannot be used here. Give a value greater than 0."),
        (
            {"training": {"learning_rate": "much"}},
            "training.learning_rate: 'much' cannot be used here. Give a valid number.",
        ),
        (
            {"training": {"learning_rate": float("nan")}},
            "training.learning_rate: nan cannot be used here. Give a finite number.",
        ),
        (
            {"training": {"epochs": 2, "steps": 9}},
            "training: Both epochs and steps are given. Give training.epochs or training.steps.",
        ),
        ({"training": 3}, "training: This holds settings, not 3. Write `key: value` lines under it."),
        (
            {"model": {"freeze": "all-but-top"}},
            "model.freeze: This does not say what stays free. Write all-but-top-4, all-but-biases or all-but-norms.",
        ),
        ({"task": {"words": {True: "yes"}}}, "task.words: True is not text. Write it in quotes."),
        (
            {"data": {"paths": "a.csv", "train": "b.csv"}},
            "data: There are both data to split and files that are split already. Give DATA, or --train, --dev and --test.",
        ),
        (
            {"data": {"test": "b.csv"}},
            "data: There are files to choose or test on, and none to train on. Give the training records with --train.",
        ),
    ],
)
def test_a_value_that_cannot_be_used_says_what_can(settings: dict[str, object], said: str) -> None:
    """Place, problem, remedy."""
    assert refused(settings) == said


def test_all_problems_of_a_recipe_are_told_at_once() -> None:
    """Nobody repairs a recipe one run at a time."""
    with pytest.raises(SettingErrors) as error:
        make_recipe({"training": {"clip": 0, "warmup": 1}, "comparison": {"seeds": "x"}})
    assert str(error.value).splitlines() == [
        "training.warmup: 1 cannot be used here. Give a value less than 1.",
        "training.clip: 0 cannot be used here. Give a value greater than 0.",
        "comparison.seeds: 'x' cannot be used here. Give a valid integer.",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: b\n- c\n", ":2: This is not YAML: "),
        ("seed: 1\nseed: 2\n", ":2: This is not YAML: the key 'seed' stands twice."),
        ("just words", ": A recipe is a mapping of settings. Begin with `data:`."),
        ("seed: \x07", ": This is not YAML: it holds characters that no text has."),
    ],
)
def test_a_file_that_is_no_recipe_says_why(tmp_path: Path, text: str, said: str) -> None:
    """The place is the file and the line."""
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        load_recipe(path)
    assert str(error.value).startswith(f"{path}{said}")


def test_a_recipe_that_is_not_there_is_the_users_to_put_right(tmp_path: Path) -> None:
    """No traceback for a wrong path."""
    with pytest.raises(DataError, match=r"recipe.yaml: The recipe cannot be read: No such file or directory\."):
        load_recipe(tmp_path / "recipe.yaml")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (4, "all-but-top-4"),
        ("4", "all-but-top-4"),
        ("all-but-top-4", "all-but-top-4"),
        ("embeddings, encoder", "embeddings, encoder"),
        (["embeddings", "*.layer.0.*"], "embeddings,*.layer.0.*"),
    ],
)
def test_there_are_several_ways_to_say_what_is_frozen(given: object, kept: str) -> None:
    """They come to one text."""
    assert make_recipe({"model": {"freeze": given}}).model.freeze == kept


def test_steps_stand_instead_of_the_default_epochs() -> None:
    """Only what was given counts as given twice."""
    assert make_recipe({"training": {"steps": 7}}).training.epochs is None


def test_a_flag_takes_what_it_excludes_out_of_the_file(tmp_path: Path) -> None:
    """`--steps` over a recipe with epochs, DATA over a recipe with training files."""
    path = tmp_path / "recipe.yaml"
    path.write_text("training: {epochs: 2, clip: 0.5}\ndata: {train: a.csv, test: b.csv}\n")
    recipe = load_recipe(path, over={"training.steps": 9, "data.paths": ["c.csv"]})
    assert (recipe.training.steps, recipe.training.epochs, recipe.training.clip) == (9, None, 0.5)
    assert (recipe.data.paths, recipe.data.train, recipe.data.test) == (("c.csv",), (), ())


def test_placing_values_leaves_the_given_settings_alone() -> None:
    """The file's settings are not changed in place."""
    onto: dict[str, object] = {"training": {"epochs": 2}}
    assert placed({"training.steps": 3, "model.lora.rank": 2}, onto=onto) == {
        "training": {"steps": 3},
        "model": {"lora": {"rank": 2}},
    }
    assert onto == {"training": {"epochs": 2}}


def test_every_place_can_be_set_to_its_own_default() -> None:
    """Each dotted place is a setting."""
    for place in places():
        value: object = Recipe()
        for name in place.split("."):
            value = getattr(value, name, None)
        if not place.startswith("model.lora."):
            assert make_recipe(placed({place: value}, onto={})) == Recipe(), place


def test_every_setting_says_what_it_is_for() -> None:
    """The schema that editors show has a description of each."""
    described = schema()
    sections = [described, *described["$defs"].values()]
    missing = [
        name
        for section in sections
        for name, field in section["properties"].items()
        if not {"description", "$ref"} & field.keys()
    ]
    assert missing == []
    assert json.loads(json.dumps(described)) == described


def test_settings_cannot_be_changed_afterwards() -> None:
    """What the manifest says is what was done."""
    with pytest.raises(ValueError, match="frozen"):
        Recipe().training.steps = 3


def test_values_of_set_are_read_as_yaml() -> None:
    """`--set training.learning_rates=[1e-5, 2e-5]`."""
    assert files.value("[1e-5, 2e-5]") == [1e-5, 2e-5]
    assert files.value("{unclosed") == "{unclosed"
