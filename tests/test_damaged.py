"""Damaged models and runs: each is told with its place, what is wrong, and what to do."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_folder

from formtune.cli import run
from formtune.errors import DataError, FormtuneError, SettingError
from formtune.loading import load_model
from formtune.model_files import unpacked_gguf
from formtune.shards import read_manifest

Damage = Callable[[Path], None]
WEIGHTS = "model.safetensors"


def without(name: str) -> Damage:
    """Take a file away."""
    return lambda folder: (folder / name).unlink()


def holding(name: str, content: bytes) -> Damage:
    """Write something else into a file."""

    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)

    return write


def cut(folder: Path) -> None:
    """Keep the first half of the weights, as after a broken download."""
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[: len(whole) // 2])


def saying(**values: Any) -> Damage:
    """Change entries of the configuration."""

    def write(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return write


def listing(content: bytes) -> Damage:
    """Put a list of weight files in place of the weights."""

    def write(folder: Path) -> None:
        without(WEIGHTS)(folder)
        holding(f"{WEIGHTS}.index.json", content)(folder)

    return write


FOREIGN = saying(model_type="nosuch", auto_map={"AutoConfig": "theirs.Config"})
DAMAGED: list[tuple[str, Damage, str]] = [
    ("no weights", without(WEIGHTS), r"The model's weights are missing\. Copy model\.safetensors"),
    ("cut weights", cut, r"cannot be loaded \(.*not fully covered\)"),
    ("empty weights", holding(WEIGHTS, b""), "cannot be loaded"),
    ("no shard", listing(b'{"metadata": {}, "weight_map": {"a": "b.safetensors"}}'), "cannot be loaded"),
    ("a list of shards", listing(b"[]"), r"index\.json: This is not a JSON object but \[\]"),
    ("unknown type", saying(model_type="nosuch"), r"config\.json: .*model type `nosuch`"),
    ("foreign code", FOREIGN, r"config\.json: .*custom code"),
    ("a size that is text", saying(hidden_size="x"), r"config\.json: .*'hidden_size'"),
    ("another size", saying(hidden_size=64), r"The size of 'bert\..*' in the weights is not the one in config\.json"),
    ("unknown function", saying(hidden_act="nosuch"), r"cannot be loaded \('nosuch'\)"),
    ("another type", saying(model_type="electra"), "hold no parameter of the type 'electra'"),
    ("config is no JSON", holding("config.json", b"{"), r"config\.json: This is not JSON"),
    ("config is a list", holding("config.json", b"[1]"), r"config\.json: This is not a JSON object but \[1\]"),
    ("tokenizer config is no JSON", holding("tokenizer_config.json", b"{"), r"_config\.json: This is not JSON"),
    (
        "tokenizer config is a list",
        holding("tokenizer_config.json", b"[]"),
        r"_config\.json: This is not a JSON object",
    ),
    ("tokenizer config is not UTF-8", holding("tokenizer_config.json", b'"\xff"'), r"_config\.json: This is not JSON"),
    ("tokenizer is no JSON", holding("tokenizer.json", b"{"), r"tokenizer\.json: This is not JSON"),
    ("added tokens", holding("tokenizer_config.json", b'{"added_tokens_decoder": [1]}'), "'added_tokens_decoder'"),
    ("chat template is not UTF-8", holding("chat_template.jinja", b"\xff\xfe"), r"jinja: This is not UTF-8"),
]


@pytest.mark.parametrize(("damage", "told"), [row[1:] for row in DAMAGED], ids=[row[0] for row in DAMAGED])
def test_a_damaged_model_is_told_with_its_place(damage: Damage, told: str, tmp_path: Path) -> None:
    """No library's traceback comes through."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder("bert"), folder)
    damage(folder)

    with pytest.raises(FormtuneError) as caught:
        load_model(str(folder), output="mask")

    assert str(caught.value).startswith(str(folder))
    assert re.search(told, str(caught.value))


def test_a_damaged_pooling_is_told_with_its_place(tmp_path: Path) -> None:
    """It is read where a class head is put on."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder("bert"), folder)
    holding("1_Pooling/config.json", b"[")(folder)

    with pytest.raises(DataError, match=r"1_Pooling/config\.json: This is not JSON"):
        load_model(str(folder), output="head", n_classes=2)


def test_pickled_weights_are_never_read(tmp_path: Path) -> None:
    """Unpickling runs code; the remedy is to convert them once."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder("bert"), folder)
    (folder / WEIGHTS).unlink()
    torch.save({"a": torch.zeros(1)}, folder / "pytorch_model.bin")

    with pytest.raises(SettingError, match=r"are pickled \(pytorch_model\.bin\), .*\.save_pretrained\("):
        load_model(str(folder), output="mask")


@pytest.mark.parametrize("content", [b"hello", b"GGUF", b"", b"GGUF" + b"\xff" * 400])
def test_what_is_no_whole_gguf_file_is_told(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is kept."""
    monkeypatch.setenv("FORMTUNE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a.gguf").write_bytes(content)

    with pytest.raises(DataError, match=r"a\.gguf: This GGUF file cannot be read"):
        unpacked_gguf(tmp_path / "a.gguf")
    assert list((tmp_path / "cache" / "models").iterdir()) == []


MANIFESTS = ("{", "[]", '{"kind": "run"}', '{"kind": "run", "files": ["a"]}')


@pytest.mark.parametrize("content", MANIFESTS)
def test_a_damaged_manifest_is_told_with_its_place(content: str, tmp_path: Path) -> None:
    """Whether it is no JSON, no object, or lacks what every artefact has."""
    (tmp_path / "manifest.json").write_text(content)

    with pytest.raises(DataError, match=r"manifest\.json: .* again"):
        read_manifest(tmp_path, kind="run")


@pytest.mark.parametrize("content", MANIFESTS)
def test_predicting_with_a_damaged_run_ends_with_two(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The place is on standard error."""
    (tmp_path / "manifest.json").write_text(content)

    assert run(["predict", str(tmp_path), "A good film"]) == 2
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'manifest.json'}: ")


def test_a_template_that_is_not_utf_8_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its path."""
    (tmp_path / "t.jinja").write_bytes(b"\xff\xfe{{ text }}")
    (tmp_path / "a.csv").write_text("text,label\nfine,yes\nbad,no\n")

    assert run(["preview", str(tmp_path / "a.csv"), "--format", str(tmp_path / "t.jinja")]) == 2
    assert capsys.readouterr().err.startswith(f"{tmp_path / 't.jinja'}: This is not UTF-8")
