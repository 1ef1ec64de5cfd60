"""What is said of a prepared folder, and how its sequences are shown."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from prepared_folders import conversations, model_folder, prepared, three

from formtune import pipeline
from formtune.cli import run
from formtune.errors import DataError, SettingError
from formtune.fitting import TOO_LONG
from formtune.prepared import open_prepared
from formtune.prepared_inspection import inspect_prepared
from formtune.recipe import make_recipe

Golden = Callable[[str, str], None]


def small(folder: Path) -> Path:
    """Prepare three conversations, one of which is too long."""
    data, long = folder / "talks.jsonl", conversations(folder / "long.jsonl", ["say it all"], answer="x" * 600)
    first, last = conversations(data, ["why?", "how so?"], answer="yes").read_text().splitlines(keepends=True)
    data.write_text(first + long.read_text() + last)
    return prepared(folder / "talks", data, model=model_folder(folder / "model"), pack_tokens=128)


def test_counts_are_those_of_the_folder(tmp_path: Path) -> None:
    """Tokens, lengths and rows, worked out from the sequences."""
    folder = small(tmp_path)
    found, opened = inspect_prepared(folder), open_prepared(folder)
    tokens = [opened.tokens(number) for number in range(2)]
    lengths = sorted(len(one.ids_T) for one in tokens)

    assert (found["records"], found["sequences"], found["tokens"]) == (2, 2, sum(lengths))
    assert found["learned_tokens"] == sum(int((one.weights_T > 0).sum()) for one in tokens)
    assert found["learned_share"] == pytest.approx(found["learned_tokens"] / found["tokens"], abs=1e-4)
    assert (found["lengths"]["tokens"]["min"], found["lengths"]["tokens"]["max"]) == tuple(lengths)
    assert (found["packs"], found["rows_filled"]["max"]) == (1, sum(lengths))
    assert found["bytes"] == (folder / "shard-00000.arrow").stat().st_size
    assert found["bytes_a_token"] == pytest.approx(found["bytes"] / sum(lengths), abs=0.01)
    assert [(one["reason"], one["rows"]) for one in found["left_out"]] == [(TOO_LONG, 1)]


def test_sequences_are_shown_with_what_is_learned(tmp_path: Path) -> None:
    """The texts of the tokens whose weight is above 0 are the answer and its end."""
    found = inspect_prepared(small(tmp_path), first=2)
    (shown,) = found["shown"]
    assert shown["place"] == f"{tmp_path / 'talks.jsonl'}:3"
    assert "".join(token["text"] for token in shown["tokens"] if token["weight"] > 0) == " yes</s>"
    assert [token.id for token in found.shown[0].tokens] == [token["id"] for token in shown["tokens"]]


def test_ids_are_shown_where_the_tokenizer_is_gone_or_another(tmp_path: Path) -> None:
    """And it is said why."""
    folder = small(tmp_path)
    ids = [token["id"] for token in inspect_prepared(folder)["shown"][0]["tokens"]]
    config = json.loads((tmp_path / "model" / "tokenizer_config.json").read_text())
    (tmp_path / "model" / "tokenizer_config.json").write_text(json.dumps({**config, "eos_token": "<sep>"}))
    other = inspect_prepared(folder)["shown"][0]
    shutil.rmtree(tmp_path / "model")
    gone = inspect_prepared(folder)["shown"][0]

    for shown in (other, gone):
        assert [token["text"] for token in shown["tokens"]] == [str(one) for one in ids]
    assert other["notes"] == [f"Ids are shown, since {str(tmp_path / 'model')!r} has another tokenizer now."]
    assert gone["notes"][0].startswith("Ids are shown, since the tokenizer cannot be loaded: There is no model")


def test_a_mixture_is_shown_as_it_is_met(tmp_path: Path) -> None:
    """Its counts are those of what is drawn, and its first sequence is the first drawn."""
    folders = [str(folder) for folder in three(tmp_path)]
    asked = {"data": {"paths": folders}, "mixing": {"temperature": 1e6}, "out": str(tmp_path / "m")}
    made = pipeline.mix(make_recipe(asked))
    found, opened = inspect_prepared(tmp_path / "m"), open_prepared(tmp_path / "m")

    assert (found["sequences"], found["tokens"]) == (made["sequences"], made["tokens"])
    assert (found["records"], found["mixed"]) == (made["records"], made["sources"])
    assert [one["place"] for one in found["shown"]] == [opened.place(number) for number in opened.drawn_D[:3].tolist()]


def test_answers_of_a_class_head_and_of_label_words_are_told(tmp_path: Path) -> None:
    """They do not stand among the tokens, or among others that are right too."""
    data = tmp_path / "labels.csv"
    data.write_text("text,label\nlovely,good\ndull,bad\n")
    model = model_folder(tmp_path / "model", kind="bert")
    head, mask = (
        prepared(tmp_path / name, data, model=model, format_=name) for name in ("classification", "masked_lm")
    )
    assert [one.answer for one in inspect_prepared(head).shown] == ["good", "bad"]
    assert inspect_prepared(mask)["shown"][0]["notes"][0].endswith("of 2 candidates.")


def test_both_sides_of_an_encoder_decoder_are_shown(tmp_path: Path) -> None:
    """Tokens are counted on both."""
    data = tmp_path / "pairs.jsonl"
    data.write_text(json.dumps({"source": "hello", "target": "hallo"}) + "\n")
    folder = prepared(tmp_path / "pairs", data, model=model_folder(tmp_path / "model", kind="t5"), format_="seq2seq")
    found = inspect_prepared(folder)
    assert "".join(token.text for token in found.shown[0].decoder if token.weight > 0).strip().startswith("hallo")
    n_tokens = len(found.shown[0].tokens) + len(found.shown[0].decoder)
    assert (found["tokens"], found["packing"]) == (n_tokens, "similar-length")  # whatever was asked
    assert found["filled"] == round(n_tokens / (2 * found["capacity"]), 4)  # a row has room on both sides


def test_what_cannot_be_shown_is_refused(tmp_path: Path) -> None:
    """A number that no sequence has, flags that are for files, folders of another kind."""
    folder = small(tmp_path)
    recipe = make_recipe({"data": {"paths": [str(folder)]}})
    with pytest.raises(SettingError, match=r"--record: There is no sequence 3\. Choose from 1 to 2\."):
        pipeline.inspect(recipe, record=3)
    both = make_recipe({"data": {"paths": [str(tmp_path / "talks.jsonl"), str(folder)]}})
    with pytest.raises(SettingError, match=r"talks: A prepared folder is looked at alone\. Give one at a time\."):
        pipeline.inspect(both)
    with pytest.raises(SettingError, match="--fix: This is of files"):
        pipeline.inspect(recipe, fix=str(tmp_path / "fixed.jsonl"))
    with pytest.raises(SettingError, match="--record: Sequences are shown of prepared folders"):
        pipeline.inspect(make_recipe({"data": {"paths": [str(tmp_path / "talks.jsonl")]}}), record=1)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text('{"kind": "run", "files": {}}')
    with pytest.raises(DataError, match="This is a run, not a preparation"):
        pipeline.inspect(make_recipe({"data": {"paths": [str(tmp_path / "run")]}}))


def test_it_reads_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is prepared, the folder, a mixture of it, and what was exported."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)
    small(Path())
    prepared(Path("more"), conversations(Path("more.jsonl"), ["where?"], answer="here"), model=Path("model"))
    Path("rows.csv").write_text("text,label\na fine film,good\na dull film,bad\n")
    for words in (
        ("prepare", "rows.csv", "--format", "classification", "--model", "model", "-o", "head"),
        ("prepare", "talks.jsonl", "--format", "chat", "--model", "model", "--max-length", "30", "-o", "again"),
        ("inspect", "talks", "--record", "2"),
        ("mix", "talks", "more", "--weights", "1,2", "--by", "rows", "--total", "6", "-o", "mixed"),
        ("inspect", "mixed", "--record", "3"),
        ("export", "mixed", "--to", "trl", "--packed", "-o", "rows"),
        ("export", "mixed", "--to", "axolotl", "-o", "rows"),
    ):
        assert run(words) == 0
    told = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    unstable = ("digest", "on disk", "libraries")  # which the code and what is installed decide
    golden("reports/prepared.txt", "\n".join(line for line in told if not line.startswith(unstable)) + "\n")
