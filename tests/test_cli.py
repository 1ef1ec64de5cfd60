"""The command line: flags become a recipe, results are printed, what can be put right ends with exit code 2."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest
import yaml
from reports_samples import shown, small

from formtune.cli import flags, run, show, training_views
from formtune.cli.commands import make_app
from formtune.cli.flags import PLACES, Common
from formtune.dialects import DIALECTS
from formtune.recipe import places
from formtune.results import Compared, Result
from formtune.spool import Spool

Golden = Callable[[str, str], None]
COMMANDS = [name for name in make_app() if not name.startswith("-")]
SAMPLE = {"at": "a.csv:2", "input": "A good film.", "answer": "fresh"}
LEFT_OUT = [{"reason": "no label", "rows": 3, "places": ["a.csv:4", "a.csv:9"]}]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every terminal is as wide, and knows no colors."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


@dataclass(frozen=True)
class Made:
    """A result with the given values."""

    values: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return dict(self.values)


def recipe_from(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """Give the recipe that flags come to."""
    assert run(["recipe", *arguments]) == 0
    made: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return made


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Give what is told on standard error; standard output stays empty."""
    assert run(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    return told.err.removesuffix("\n")


# --- help ------------------------------------------------------------------------------------------------------------


def test_help_names_every_command(capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    """With its first sentence."""
    assert run(["--help"]) == 0
    golden("cli/formtune.txt", _trimmed(capsys.readouterr().out))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_names_its_flags(command: str, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    """The page of the docs is made of these."""
    assert run([command, "--help"]) == 0
    golden(f"cli/{command}.txt", _trimmed(capsys.readouterr().out))


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()).strip() + "\n"


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    """One number in one place."""
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == "0.1.0\n"


# --- flags -----------------------------------------------------------------------------------------------------------


def test_every_flag_stands_for_a_setting() -> None:
    """And says what it is for."""
    groups = [
        flags.ReadFlags,
        flags.SplitFlags,
        flags.FormatFlags,
        flags.PreparedFlags,
        flags.PrepareFlags,
        flags.MixFlags,
        flags.TrainFlags,
        flags.EngineFlags,
        flags.TuneFlags,
        flags.CompareFlags,
        flags.OutFlags,
    ]
    names = [f.name for group in groups for f in fields(group)]
    assert len(names) == len(set(names))
    assert set(names) == set(PLACES)
    assert set(PLACES.values()) <= set(places())


def test_flags_come_to_the_settings_they_stand_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Lists take commas or a flag for each."""
    made = recipe_from(
        capsys,
        *("a.csv", "b.csv", "--text", "Review", "--group=film", "--n-train", "128", "--n-test", "300"),
        *("--formats", "seq2seq,classification", "--format", "masked_lm", "--models", "minilm-l6,smollm2-135m"),
        *("--freeze", "all-but-top-6", "--lora", "4", "--steps", "50", "--learning-rate", "1e-4"),
        *("--seeds", "3", "--margin", "2", "--metric", "macro_f1", "--seed", "7", "-o", "out"),
    )
    assert made["data"]["paths"] == ["a.csv", "b.csv"]
    assert (made["data"]["columns"]["text"], made["data"]["columns"]["group"]) == ("Review", "film")
    assert (made["data"]["n_train"], made["data"]["n_dev"], made["data"]["n_test"]) == (128, None, 300)
    assert made["formats"] == ["seq2seq", "classification", "masked_lm"]
    assert made["models"] == ["minilm-l6", "smollm2-135m"]
    assert (made["model"]["freeze"], made["model"]["lora"]["rank"]) == ("all-but-top-6", 4)
    assert (made["training"]["steps"], made["training"]["epochs"]) == (50, None)
    assert made["training"]["learning_rate"] == 1e-4
    assert (made["comparison"]["seeds"], made["comparison"]["margin"]) == (3, 2.0)
    assert made["comparison"]["metric"] == "macro_f1"
    assert (made["seed"], made["out"]) == (7, "out")


def test_a_flag_stands_above_the_recipe_and_set_above_neither(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """File, then --set, then flags."""
    path = tmp_path / "recipe.yaml"
    path.write_text("training: {epochs: 9, batch_size: 4, clip: 2}\nformats: seq2seq\n")
    changes = ("--set", "training.clip=0.5", "--set", "training.batch_size=5", "--batch-size", "6")
    made = recipe_from(capsys, "-c", str(path), *changes)
    assert made["training"]["epochs"] == 9
    assert made["training"]["clip"] == 0.5
    assert made["training"]["batch_size"] == 6
    assert made["formats"] == ["seq2seq"]


def test_set_takes_what_yaml_takes(capsys: pytest.CaptureFixture[str]) -> None:
    """Lists, nothing, mappings."""
    places_and_values = ("training.learning_rates=[1e-5, 2e-5]", "training.clip=null", "task.words={no: bad}")
    made = recipe_from(capsys, *(text for value in places_and_values for text in ("--set", value)))
    assert made["training"]["learning_rates"] == [1e-5, 2e-5]
    assert made["training"]["clip"] is None
    assert made["task"]["words"] == {"no": "bad"}


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_a_hyphen_is_standard_input(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As everywhere."""
    assert recipe_from(capsys, name, "--label", "y")["data"]["paths"] == ["-"]


def test_what_recipe_prints_is_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`formtune recipe ... > recipe.yaml`, then `-c recipe.yaml`."""
    first = recipe_from(capsys, "a.csv", "--steps", "5", "--lora", "2")
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(first))
    assert recipe_from(capsys, "-c", str(path)) == first


def test_the_default_recipe_is_told(capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    """Every setting with its default."""
    assert run(["recipe"]) == 0
    golden("cli/recipe.yaml", capsys.readouterr().out)


def test_the_schema_is_json(capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    """Editors complete and check a recipe with it."""
    assert run(["recipe", "--schema"]) == 0
    made = json.loads(capsys.readouterr().out)
    golden("cli/recipe.schema.json", json.dumps(made, indent=2, ensure_ascii=False) + "\n")


# --- what can be put right -------------------------------------------------------------------------------------------


def test_slips_of_typing_are_told_with_the_nearest_name(capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    """Place, problem, remedy, on one line of standard error."""
    typed = [
        ("inspct", "a.csv"),
        ("inspect", "a.csv", "--txt", "Review"),
        ("split", "a.csv", "--n-train", "many"),
        ("split", "a.csv", "--n-train"),
        ("split", "a.csv", "--n-train", "3", "--n-train", "4"),
        ("evaluate",),
        ("serve", "out/run", "out/other"),
        ("recipe", "--set", "training.clip"),
        ("recipe", "--set", "training.learning_rte=1"),
        ("recipe", "--learning-rate=-1", "--set", "comparison.margn=2"),
        ("recipe", "--train", "a.csv", "b.csv"),
        ("recipe", "--steps", "3", "--epochs", "1"),
        ("recipe", "-c", "nowhere.yaml"),
        ("predict", "out/run"),
    ]
    golden("cli/errors.txt", "".join(f"$ formtune {' '.join(words)}\n{refused(capsys, *words)}\n\n" for words in typed))


def test_a_run_that_is_not_there_is_told_before_anything_listens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder of a comparison is none either: its best run is one."""
    gone, whole = str(tmp_path / "gone"), tmp_path / "whole"
    missing = "There is no such folder. Give the folder of a finished run."
    assert refused(capsys, "serve", gone, "--port", "0") == f"{gone}: {missing}"

    whole.mkdir()
    (whole / "manifest.json").write_text('{"kind": "comparison", "files": {}}')
    assert "This is a comparison, not a run." in refused(capsys, "serve", str(whole), "--port", "0")


def test_a_missing_package_is_told_with_its_pip_line(tmp_path: Path) -> None:
    """Where nothing of the extra is installed."""
    data = tmp_path / "a.csv"
    data.write_text("text,label\n" + "".join(f"review {n},{'fresh' if n % 2 else 'rotten'}\n" for n in range(20)))
    words = ["train", str(data), "--format", "classification", "--model", "minilm-l6", "--out", str(tmp_path / "run")]
    code = f"import sys; sys.modules['torch'] = None; from formtune.cli import run; sys.exit(run({words!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr == "This needs the package 'torch', which is not installed. Run: pip install 'formtune[train]'.\n"
    )


def test_a_full_disk_is_told_where_a_file_has_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As that has none in which rows lie for a while."""

    def full(*_given: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Spool, "append", full)
    data = tmp_path / "a.jsonl"
    data.write_text('{"text": "a b", "label": "x"}\n' * 30 + "{\n")

    told = refused(capsys, "inspect", str(data), "--quarantine", str(tmp_path / "faulty.jsonl"))
    assert told.startswith(f"{gettempdir()}: No space left on device. Make room there")


def test_a_full_pipe_is_no_error() -> None:
    """`formtune recipe | head -1`."""
    formtune = Path(sys.executable).parent / "formtune"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([formtune, "recipe"], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


# --- results ---------------------------------------------------------------------------------------------------------


def test_many_labels_do_not_flood_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """The most frequent are shown, and how many more there are."""
    labels = {f"label{n}": 1 for n in range(800)}
    show.result(Made({"labels": labels}), show.inspection, Common())
    told = " ".join(capsys.readouterr().out.split())
    assert "label29 1, and 770 more" in told
    assert "label30" not in told


def test_every_format_says_what_it_is_in_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the terminal shows of a format, another program can read."""
    assert run(["formats", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {row["format"] for row in told["formats"]} == set(told["about"])
    for facts in told["about"].values():
        assert set(facts) == {"summary", "formula", "wins", "loses", "source", "adds"}
        assert facts["summary"] and facts["source"]


def test_every_dialect_says_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    """The command that a refused file's remedy names lists all of them, on the terminal and in JSON."""
    assert run(["dialects"]) == 0
    shown = capsys.readouterr().out
    assert "squad\n  Questions whose answers are spans" in shown
    assert run(["dialects", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["dialects"]
    assert [one["dialect"] for one in told] == list(DIALECTS)
    assert all(one["what"] in shown and one["needs"] in shown for one in told)


def test_every_format_says_why_it_is_not_for_the_other_data(capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    """On the terminal as in JSON: each reason once, with what it is about."""
    assert run(["formats"]) == 0
    told = capsys.readouterr().out
    golden("reports/formats.txt", _trimmed(told))

    assert run(["formats", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["formats"]
    sections = {text.split("\n", 1)[0]: text for text in told.split("\n\n")}
    reasons = {(row["format"], reason) for row in rows for reason in row["shapes"].values() if reason}
    assert [(name, reason) for name, reason in reasons if reason not in sections[name]] == []


def test_json_is_one_object_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """What JSON has no number for becomes null."""
    made = Made({"metrics": {"accuracy": 0.5, "auc": float("nan")}, "n": 3, "left_out": LEFT_OUT})
    assert show.result(made, show.numbers, Common(json=True)) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == {"metrics": {"accuracy": 0.5, "auc": None}, "n": 3, "left_out": LEFT_OUT}
    assert (told.out.count("\n"), told.err) == (1, "")


def test_quiet_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither here nor there."""
    assert show.result(Made({"n": 3, "left_out": LEFT_OUT}), show.numbers, Common(quiet=True)) == 0
    assert capsys.readouterr() == ("", "")


def test_each_fault_is_told_with_its_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    """And a row that went on without a part is not called left out; what was asked for needs no remedy."""
    no_text = {"code": "FT131", "reason": "no text in column 'x'", "rows": 7, "places": ["a.csv:4"]}
    twice = {"code": "FT116", "reason": "a key that stands twice in one object", "rows": 1, "places": ["a:2"]}
    not_drawn = {"code": "FT183", "reason": "not drawn: fewer records are asked for", "rows": 2, "places": []}
    values = {"rows_in": 10, "left_out": [no_text, not_drawn], "parts_lost": [twice]}
    show.result(Made(values), lambda _console, _made: None, Common())
    assert capsys.readouterr().out.splitlines() == [
        "left out: 7 × FT131 no text in column 'x' (a.csv:4, ...)",
        "  Fill the field in, or name another column.",
        "left out: 2 × FT183 not drawn: fewer records are asked for",
        "Every place, with what was found there: --quarantine FILE.",
        "kept, but for a part: 1 × FT116 a key that stands twice in one object (a:2)",
        "  Remove or rename one of the two.",
    ]


def test_strict_does_not_pass_what_was_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """The result is printed all the same."""
    assert show.result(Made({"n": 3, "left_out": LEFT_OUT}), show.numbers, Common(strict=True, json=True)) == 2
    told = capsys.readouterr()
    assert json.loads(told.out)["n"] == 3
    assert told.err == "--strict: 3 rows were left out. Mend them, or go on without --strict.\n"


def test_strict_passes_when_nothing_was_left_out() -> None:
    """What the user asked to be left over is no fault."""
    not_drawn = {"reason": "not drawn: fewer records are asked for", "rows": 9, "places": []}
    for left_out in ([], [not_drawn]):
        assert show.result(Made({"n": 3, "left_out": left_out}), show.numbers, Common(strict=True, quiet=True)) == 0


SAVED = {"packing": 0.4, "prefixes": 0.1, "trunk": 0.2, "logits": 0.91}


def trained() -> dict[str, Any]:
    """What a training gives back."""
    return {
        "run": "out/run",
        "steps": 40,
        "best": {"step": 30, "loss": 0.4123, "accuracy": 87.5},
        "metrics": {"accuracy": 86.21, "macro_f1": 85.9},
        "written": {},
        "invalid": None,
        "parameters_trained": 134515008,
        "learned_tokens": 5120,
        "seconds": 48.2,
        "total_seconds": 75.0,
        "learned_tokens_per_second": 106.2,
        "computed_share": 0.3,
        "saved": SAVED,
        "peak_mb": 2310.0,
    }


def foretold() -> dict[str, Any]:
    """What a forecast gives back."""
    return {
        "updates": 40,
        "tokens": 20480,
        "learned_tokens": 5120,
        "computed_tokens": 12000.0,
        "computed_share": 0.3,
        "saved": {**SAVED, "trunk": 0.0, "logits": None},
        "flops": 16.5e12,
        "peak_mb": 2310.0,
        "seconds": 48.2,
        "look_seconds": 9.1,
        "answer_seconds": 0.42,
        "load_seconds": 3.2,
        "total_seconds": 60.9,
        "calibration": {
            "updates": 9,
            "tokens": 2352,
            "seconds": 8.4,
            "seconds_of_every_update": 0.3,
            "flops_per_second": 41.2e9,
        },
        "machine": {"device": "cpu", "threads": 2, "precision": "float32"},
    }


def test_results_read_well(capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    """One page of every kind of summary."""
    inspected = {"dialect": "labelled", "records": 2, "labels": {"fresh": 1, "rotten": 1}, "samples": [SAMPLE]}
    answers = [{"id": "a", "answer": "fresh", "confidence": 0.75, "valid": True}]
    compared = {
        "verdict": "classification is better than masked_lm by 4.1 points (95 % interval 2.0 to 6.3).",
        "advice": ["A larger margin would have been decided with half of the records."],
        "best_run": "out/best",
        "report": "out/report.html",
    }
    judged = {"text": "What a film!", "answer": "fresh", "confidence": 0.9}
    show.result(Made({**inspected, "left_out": LEFT_OUT}), show.inspection, Common())
    scored = {
        "classes": [{"label": "fresh", "precision": 75.0, "recall": 100.0, "f1": 85.7, "n_gold": 3, "n_predicted": 4}]
    }
    confused = {"labels": ["fresh", "rotten"], "counts": [[3, 0], [1, 2]]}
    metrics = {"accuracy": 83.33, "macro_f1": 82.9}
    show.result(Made({"n": 6, "metrics": metrics, **scored, "confusion": confused}), show.evaluation, Common())
    show.result(Made(trained()), training_views.training, Common())
    show.result(Made(foretold()), training_views.forecast, Common())
    show.result(Made({**foretold(), "arms": [{"arm": "chat", **foretold()}]}), training_views.forecast, Common())
    show.result(Result({"record": "a", "place": "a.csv:2"}, shown=tuple(shown().examples)), show.preview, Common())
    show.result(Made({"predictions": answers, "n": 1}), show.predictions, Common())
    show.result(Compared(compared, small(), predictions=(judged,)), show.comparison, Common())
    golden("cli/results.txt", _trimmed(capsys.readouterr().out))


def test_text_from_data_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Nor does markup in it count."""
    made = Made({"dialect": "\x1b[2J[red]x[/red]", "samples": [{**SAMPLE, "input": "\x1b[31mred [bold]"}]})
    show.result(made, show.inspection, Common())
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert "[red]x[/red]" in told
    assert "[bold]" in told


# --- progress --------------------------------------------------------------------------------------------------------
