"""What chat templates are told besides conversations: as in transformers, everywhere the same, kept with what came of it."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_folder
from tokenizer_folders import byte_with

from formtune import pipeline
from formtune.api import compare, load
from formtune.cli import run
from formtune.errors import DataError, FormtuneError, SettingError
from formtune.examples import Turn
from formtune.prepared import open_prepared
from formtune.recipe import Recipe, load_recipe, make_recipe
from formtune.runs import open_run
from formtune.serving.engine import ChatTurn
from formtune.serving.problems import Problem
from formtune.serving.run_engine import RunEngine
from formtune.shards import read_manifest
from formtune.template_options import DATE, TemplateOptions
from formtune.tokens import byte_tokenizer, load_tokenizer

MOODY = """\
{{- bos_token + 'system\\n' + (mood or 'calm') + strftime_now(' on %d %B %Y') + eos_token + '\\n' }}
{%- for message in messages %}{{- bos_token + message.role + '\\n' + message.content + eos_token + '\\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{- bos_token + 'assistant\\n' + ('quick:' if quick else '') }}{%- endif %}
"""
TOLD = {"mood": "merry"}
HELLO = (Turn("user", "Hi"), Turn("assistant", "Hello.", weight=1.0))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny Llama whose template has a mood and writes the date."""
    folder = tmp_path_factory.mktemp("moody") / "model"
    shutil.copytree(tiny_folder("llama"), folder)
    (folder / "chat_template.jinja").write_text(MOODY, encoding="utf-8")
    return str(folder)


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    """Forty conversations."""
    path = tmp_path / "talks.jsonl"
    rows = [
        [{"role": "user", "content": f"What is {n} + {n}?"}, {"role": "assistant", "content": f"It is {2 * n}."}]
        for n in range(40)
    ]
    path.write_text("".join(json.dumps({"messages": messages}) + "\n" for messages in rows))
    return path


def recipe_for(model: str, talks: Path, out: Path, *, told: Mapping[str, Any] = TOLD, **changed: Any) -> Recipe:
    """A short training of the moody model."""
    settings: dict[str, Any] = {
        "data": {"paths": [str(talks)], "n_train": 20, "n_dev": 8, "n_test": 8},
        "formats": "chat",
        "models": model,
        "model": {"template_options": dict(told), "precision": "float32", "cache_trunk": False},
        "training": {"steps": 2, "batch_size": 4},
        "comparison": {"seeds": 2, "resamples": 100, "max_new_tokens": 4},
        "out": str(out),
    }
    return make_recipe({**settings, **changed})


def refusal(recipe: dict[str, Any]) -> str:
    with pytest.raises(SettingError) as caught:
        make_recipe(recipe)
    return str(caught.value)


class TestTemplates:
    """One template, and what it is told."""

    def test_a_variable_that_the_template_does_not_look_at_is_refused_with_the_nearest_name(self) -> None:
        with pytest.raises(SettingError) as caught:
            byte_with(MOODY, moood="merry")
        assert str(caught.value) == (
            "model.template_options.moood: The model's chat template does not look at 'moood'; "
            "the nearest that it takes is 'mood'. Choose from: mood, quick."
        )

    @pytest.mark.parametrize(
        "name", ["messages", "tools", "add_generation_prompt", "bos_token", "strftime_now", "loop"]
    )
    def test_what_is_the_conversation_s_or_the_tokenizer_s_is_no_option(self, name: str) -> None:
        with pytest.raises(SettingError, match=f"does not look at '{name}'"):
            byte_with(MOODY, **{name: "x"})

    def test_a_variable_that_the_template_sets_itself_is_no_option(self) -> None:
        with pytest.raises(SettingError, match="the template takes none"):
            byte_with("{% set mood = 'calm' %}{{ mood }}{{ messages[0].content }}", mood="merry")

    def test_a_model_without_a_template_takes_none(self) -> None:
        with pytest.raises(SettingError, match="brings no chat template"):
            byte_with(None, mood="merry")

    def test_a_day_is_always_the_same_unless_another_is_given(self) -> None:
        """No clock is looked at: nothing has to be frozen for this test."""
        raw = byte_tokenizer()
        config = {"bos_token": "<s>", "eos_token": "</s>"}
        chats = [
            type(raw)(raw.full.to_str().encode(), config, template=MOODY, template_options=told)
            for told in (TemplateOptions(), TemplateOptions(date="2031-12-24"))
        ]
        texts = [one.chat_template.render(HELLO) for one in chats]
        assert [text.splitlines()[1] for text in texts] == [
            "calm on 01 January 2026</s>",
            "calm on 24 December 2031</s>",
        ]
        assert DATE == "2026-01-01"
        assert chats[0].digest != chats[1].digest

    def test_a_day_that_is_not_written_names_nothing(self) -> None:
        """Where a template writes no date, another day makes no other tokens."""
        raw, config = byte_tokenizer(), {"bos_token": "<s>", "eos_token": "</s>"}
        undated = MOODY.replace("strftime_now(' on %d %B %Y')", "''")
        digests = {
            type(raw)(raw.full.to_str().encode(), config, template=undated, template_options=told).digest
            for told in (TemplateOptions(), TemplateOptions(date="2031-12-24"))
        }
        assert len(digests) == 1

    def test_a_past_turn_begins_where_its_prompt_with_the_same_options_ends(self) -> None:
        chat = byte_with(MOODY, mood="merry").chat_template
        segments = chat.segments((*HELLO, Turn("user", "More"), Turn("assistant", "Sure.", weight=1.0)))
        assert "".join(s.text for s in segments if s.weight > 0) == "Hello.</s>Sure.</s>"
        assert "".join(s.text for s in segments).startswith("<s>system\nmerry on 01 January 2026</s>\n")

    def test_values_are_told_apart_by_kind(self, model: str) -> None:
        """To Python 1, 1.0 and True are equal; templates write them otherwise."""
        texts = [
            load_tokenizer(model, template_options=TemplateOptions({"mood": [value]})).chat_template.render
            for value in (1, True, 1.0)
        ]
        assert len({TemplateOptions({"mood": value}) for value in (1, True, 1.0)}) == 3
        with pytest.raises(DataError, match="refuses the conversation"):
            texts[0](HELLO)
        assert load_tokenizer(model) is load_tokenizer(model)
        assert load_tokenizer(model) is not load_tokenizer(model, template_options=TemplateOptions(TOLD))


class TestRecipe:
    """How options are written."""

    def test_flags_are_read_as_yaml_is_and_stand_above_the_file(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = tmp_path / "recipe.yaml"
        file.write_text("model: {template_options: {enable_thinking: false, builtin_tools: [browser]}}\n")
        flags = ("--template-option", "enable_thinking=true", "--template-option", "date_string=26 Jul 2024")
        assert run(["recipe", "-c", str(file), *flags, "--template-date", "2030-02-03", "--json"]) == 0
        model = json.loads(capsys.readouterr().out)["model"]
        assert model["template_options"] == {
            "enable_thinking": True,
            "builtin_tools": ["browser"],
            "date_string": "26 Jul 2024",
        }
        assert model["template_date"] == "2030-02-03"

    def test_a_recipe_is_read_back_as_it_was_written(self, tmp_path: Path) -> None:
        told = {"documents": [{"title": "a", "text": "no"}], "n": 1, "share": 0.5, "flag": False, "nothing": None}
        recipe = make_recipe({"model": {"template_options": told, "template_date": "2030-02-03"}})
        file = tmp_path / "recipe.yaml"
        file.write_text(recipe.to_yaml())
        assert load_recipe(file) == recipe
        assert recipe.model.template_options == told

    def test_today_becomes_the_day(self) -> None:
        """A recipe that is written down says which, so that it can be repeated on another."""
        day = make_recipe({"model": {"template_date": "today"}}).model.template_date
        assert len(day) == 10
        assert day > DATE
        assert make_recipe({"model": {"template_date": day}}).model.template_date == day

    @pytest.mark.parametrize(
        ("model", "told"),
        [
            ({"template_options": {"enable-thinking": True}}, "'enable-thinking' is no name of a variable."),
            ({"template_options": {"x": {1: 2}}}, "The value of 'x' is none that JSON has."),
            ({"template_options": {"x": float("nan")}}, "The value of 'x' is none that JSON has."),
            ({"template_options": {"x": object}}, "The value of 'x' is none that JSON has."),
            ({"template_options": "x=1"}, "This holds settings"),
            ({"template_date": "26 Jul 2024"}, "'26 Jul 2024' is no day. Write YYYY-MM-DD, or today."),
            ({"template_date": 2024}, "2024 is no day."),
        ],
    )
    def test_what_no_template_can_be_told_is_refused(self, model: dict[str, Any], told: str) -> None:
        message = refusal({"model": model})
        assert message.startswith(f"model.{next(iter(model))}: ")
        assert told in message

    def test_a_flag_without_a_value_is_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["recipe", "--template-option", "enable_thinking"]) == 2
        assert "--template-option: 'enable_thinking' sets nothing. Write NAME=VALUE" in capsys.readouterr().err


class TestPath:
    """Every command renders with the same options, and a run keeps them."""

    def test_a_run_answers_as_it_was_trained(self, model: str, talks: Path, tmp_path: Path) -> None:
        recipe = recipe_for(model, talks, tmp_path / "run")
        pipeline.train(recipe)
        manifest = read_manifest(tmp_path / "run", kind="run")
        assert manifest["spec"]["options"]["template_options"] == {"variables": TOLD, "date": DATE}
        assert manifest["recipe"]["model"]["template_options"] == TOLD
        opened = open_run(tmp_path / "run")
        assert opened.model.tokenizer.chat_template.options == TemplateOptions(TOLD)
        ids = RunEngine(opened).chat_prompt([ChatTurn("user", "Hi")]).ids
        asked = opened.model.tokenizer.decode(ids, skip_control=False)
        assert asked == "<s>system\nmerry on 01 January 2026</s>\n<s>user\nHi</s>\n<s>assistant\n"
        questions = make_recipe({"data": {"paths": [str(talks)]}})
        assert pipeline.predict(str(tmp_path / "run"), questions)["n"] == 40

    def test_a_run_of_before_there_were_options_is_opened(self, model: str, talks: Path, tmp_path: Path) -> None:
        pipeline.train(recipe_for(model, talks, tmp_path / "run", told={}))
        file = tmp_path / "run" / "manifest.json"
        manifest = json.loads(file.read_text())
        del manifest["spec"]["options"]["template_options"]
        file.write_text(json.dumps(manifest))
        assert open_run(tmp_path / "run").model.tokenizer.chat_template.options == TemplateOptions()

    def test_a_comparison_and_its_report_have_them(self, model: str, talks: Path, tmp_path: Path) -> None:
        found = pipeline.compare(recipe_for(model, talks, tmp_path / "out", formats="chat,completion"))
        spec = read_manifest(found.values["best_run"], kind="run")["spec"]
        assert spec["options"]["template_options"]["variables"] == TOLD
        assert "merry" in (tmp_path / "out" / "report.html").read_text()

    def test_python_takes_them_as_settings(self, model: str, talks: Path, tmp_path: Path) -> None:
        with pytest.raises(
            SettingError, match=r"model\.template_options\.moode: .*the nearest that it takes is 'mood'"
        ):
            compare(
                load(talks),
                formats=["chat", "completion"],
                model=model,
                out=tmp_path / "out",
                settings={"model": {"template_options": {"moode": "x"}}},
            )

    def test_a_search_has_them(self, model: str, talks: Path, tmp_path: Path) -> None:
        searched = {"trials": 1, "search": {"training.learning_rate": "1e-5..1e-4,log"}}
        found = pipeline.tune(recipe_for(model, talks, tmp_path / "out", tuning=searched))
        assert open_run(found["run"]).model.tokenizer.chat_template.options.variables == TOLD

    def test_a_preview_shows_them(self, model: str, talks: Path, capsys: pytest.CaptureFixture[str]) -> None:
        asked = ["preview", str(talks), "--format", "chat", "--model", model, "--json"]
        assert run([*asked, "--template-option", "mood=grim", "--template-date", "2030-02-03"]) == 0
        assert json.loads(capsys.readouterr().out)["text"].startswith("<s>system\ngrim on 03 February 2030</s>")

    def test_lengths_are_measured_with_them(self, model: str, talks: Path, capsys: pytest.CaptureFixture[str]) -> None:
        def found(*flags: str) -> list[str]:
            common = ("--formats", "chat", "--model", model, "--max-length", "110", "--only", "lengths", "--json")
            assert run(["check", str(talks), *common, "--fail-on", "none", *flags]) == 0
            return [one["code"] for one in json.loads(capsys.readouterr().out)["findings"]]

        assert found() == []
        assert found("--template-option", "mood=" + "x" * 50) == ["FT228"]

    @pytest.mark.parametrize("command", ["preview", "prepare", "train", "compare", "check"])
    def test_options_that_nothing_looks_at_are_refused(
        self, command: str, model: str, talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """No format here is a conversation, or none is named."""
        formats = {"compare": ["--formats", "completion,instruction"], "check": []}
        asked = [command, str(talks), "--model", model, *formats.get(command, ["--format", "completion"])]
        out = [] if command in ("check", "preview") else ["-o", str(tmp_path / "out")]
        assert run([*asked, "--template-option", "mood=grim", *out]) == 2
        told = capsys.readouterr().err
        assert "model.template_options: No record goes through the model's chat template here" in told

    def test_a_check_of_other_formats_refuses_them_too(
        self, model: str, talks: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        asked = ["check", str(talks), "--model", model, "--template-option", "mood=grim", "--fail-on", "none"]
        assert run([*asked, "--formats", "completion,instruction"]) == 2
        assert "No record goes through the model's chat template here" in capsys.readouterr().err
        assert run([*asked, "--formats", "completion,chat"]) == 0

    def test_without_a_model_there_is_nothing_to_tell(self, talks: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["preview", str(talks), "--format", "chat", "--template-option", "mood=grim"]) == 2
        assert "No record goes through the model's chat template here" in capsys.readouterr().err


class TestPrepared:
    """Shards are made under options, and are named by them."""

    def prepare(self, model: str, talks: Path, out: Path, told: Mapping[str, Any] = TOLD, date: str = DATE) -> Any:
        asked = {"template_options": dict(told), "template_date": date}
        settings = {"data": {"paths": [str(talks)]}, "formats": "chat", "models": model, "model": asked}
        return pipeline.prepare(make_recipe({**settings, "out": str(out)}))

    def text(self, model: str, out: Path) -> str:
        return load_tokenizer(model).decode(open_prepared(out).tokens(0).ids_T, skip_control=False)

    def test_other_options_and_days_make_other_shards(self, model: str, talks: Path, tmp_path: Path) -> None:
        """Where shards of others stand already."""
        out = tmp_path / "out"
        digests = set()
        for told, date, line in (
            ({}, DATE, "calm on 01 January 2026"),
            (TOLD, DATE, "merry on 01 January 2026"),
            (TOLD, "2030-02-03", "merry on 03 February 2030"),
        ):
            digests.add(self.prepare(model, talks, out, told, date)["digest"])
            assert self.text(model, out).startswith(f"<s>system\n{line}</s>\n")
            assert read_manifest(out, kind="prepared")["template_options"] == {"variables": told, "date": date}
        assert len(digests) == 3
        assert self.prepare(model, talks, out, TOLD, "2030-02-03")["digest"] in digests

    def test_a_training_takes_them_with_the_tokens(self, model: str, talks: Path, tmp_path: Path) -> None:
        self.prepare(model, talks, tmp_path / "prepared", TOLD, "2030-02-03")
        data = {"prepared": str(tmp_path / "prepared"), "test": [str(talks)]}
        settings = {"data": data, "training": {"steps": 1, "batch_size": 2}, "out": str(tmp_path / "run")}
        pipeline.train(make_recipe(settings))
        opened = open_run(tmp_path / "run")
        assert asdict(opened.model.tokenizer.chat_template.options) == {"variables": TOLD, "date": "2030-02-03"}

    @pytest.mark.parametrize(
        ("asked", "problem"),
        [
            (
                {"template_options": {"mood": "grim"}},
                'template_options: The data were prepared with {"mood": "merry"}.',
            ),
            ({"template_date": "2031-01-01"}, "template_date: The data were prepared as of 2026-01-01."),
        ],
    )
    def test_a_training_that_asks_for_others_is_refused(
        self, asked: dict[str, Any], problem: str, model: str, talks: Path, tmp_path: Path
    ) -> None:
        self.prepare(model, talks, tmp_path / "prepared")
        data = {"prepared": str(tmp_path / "prepared")}
        with pytest.raises(FormtuneError) as caught:
            pipeline.train(make_recipe({"data": data, "model": asked, "out": str(tmp_path / "run")}))
        assert str(caught.value) == f"model.{problem} Leave it out, or prepare the data anew."

    def test_an_inspection_shows_the_text(self, model: str, talks: Path, tmp_path: Path) -> None:
        self.prepare(model, talks, tmp_path / "out")
        found = pipeline.inspect(make_recipe({"data": {"paths": [str(tmp_path / "out")]}}))
        assert "notes" not in found["shown"][0]
        assert "merry" in "".join(token["text"] for token in found["shown"][0]["tokens"])

    def test_only_what_was_told_the_same_is_mixed(self, model: str, talks: Path, tmp_path: Path) -> None:
        """A mixture keeps what its sources were told."""
        more = tmp_path / "more.jsonl"
        more.write_text(talks.read_text().replace("What is", "How much is"))
        self.prepare(model, talks, tmp_path / "a")
        self.prepare(model, more, tmp_path / "b")
        self.prepare(model, more, tmp_path / "c", {"mood": "grim"})
        paths = [str(tmp_path / name) for name in ("a", "c")]
        with pytest.raises(DataError, match="prepared with other template options than"):
            pipeline.mix(make_recipe({"data": {"paths": paths}, "out": str(tmp_path / "mixed")}))
        paths = [str(tmp_path / name) for name in ("a", "b")]
        pipeline.mix(make_recipe({"data": {"paths": paths}, "out": str(tmp_path / "mixed")}))
        assert read_manifest(tmp_path / "mixed", kind="prepared")["template_options"]["variables"] == TOLD


class TestServing:
    """A switch that the run has fixed is not turned by a request."""

    def test_a_request_against_the_run_s_own_setting_is_refused(self, talks: Path, tmp_path: Path) -> None:
        folder = tmp_path / "model"
        shutil.copytree(tiny_folder("llama"), folder)
        source = MOODY.replace("if quick else", "if enable_thinking else")
        (folder / "chat_template.jinja").write_text(source)
        told = {"enable_thinking": False}
        pipeline.train(recipe_for(str(folder), talks, tmp_path / "run", told=told))
        engine = RunEngine(open_run(tmp_path / "run"))
        assert engine.chat_prompt([ChatTurn("user", "Hi")], False) == engine.chat_prompt([ChatTurn("user", "Hi")])
        with pytest.raises(
            Problem, match="trained with the template option enable_thinking set to false, and keeps it"
        ):
            engine.chat_prompt([ChatTurn("user", "Hi")], True)
