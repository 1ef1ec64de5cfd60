"""Try the light install: run by the CI with the Python of an environment that holds the built wheel and nothing else.

    python tests/light_install.py FORMTUNE FOLDER

FORMTUNE is the installed command, FOLDER an empty one to write in. Every step that fails ends it with a traceback.
"""

import importlib
import importlib.util
import json
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

HEAVY = ("torch", "transformers", "accelerate", "peft", "fastapi", "scipy", "sklearn")
REVIEWS = "text,label\nA warm and funny film.,fresh\nTwo hours that felt like four.,rotten\n"


def data_half() -> list[str]:
    """Name every module of the data half, as the contract of the linter lists its packages."""
    contracts = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    packages = next(contract for contract in contracts if contract["id"] == "data-half")["source_modules"]
    modules = [*packages, "formtune.cli", "formtune.pipeline"]
    for package in modules.copy():
        place = importlib.import_module(package)
        inner = pkgutil.walk_packages(getattr(place, "__path__", ()), prefix=f"{package}.")
        modules += [found.name for found in inner]
    return modules


def run(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    return subprocess.run([command, *arguments], capture_output=True, text=True, check=False)


def tiny_model(folder: Path) -> None:
    """Write what preparation needs of a model: its configuration and its tokenizer, no weights."""
    tokens = importlib.import_module("formtune.tokens")
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama", "max_position_embeddings": 64}')
    (folder / "tokenizer.json").write_text(tokens.byte_tokenizer().full.to_str(), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"bos_token": "<s>", "eos_token": "</s>"}')


def main(command: str, folder: Path) -> None:
    """Start the command, import the data half, look at a file, prepare it, and ask for what is not installed."""
    assert not any(map(importlib.util.find_spec, HEAVY)), "this environment is not light"
    assert "compare" in run(command, "--help").stdout
    for module in data_half():
        importlib.import_module(module)

    reviews = folder / "reviews.csv"
    reviews.write_text(REVIEWS)
    inspected = run(command, "inspect", str(reviews), "--json")
    assert json.loads(inspected.stdout)["records"] == 2, inspected
    previewed = run(command, "preview", str(reviews), "--format", "seq2seq", "--json")
    assert any(token["weight"] > 0 for token in json.loads(previewed.stdout)["tokens"]), previewed
    model_folder = folder / "model"
    tiny_model(model_folder)
    prepared = run(
        command, "prepare", str(reviews), "--format", "seq2seq", "--model", str(model_folder),
        "--out", str(folder / "prepared"), "--json",
    )  # fmt: skip
    assert prepared.returncode == 0, prepared
    assert json.loads(prepared.stdout)["learned_tokens"] > 0, prepared

    model = ("--format", "classification", "--model", str(model_folder), "--out", str(folder / "run"))
    trained = run(command, "train", str(reviews), *model)
    assert trained.returncode == 2, trained
    assert "pip install 'formtune[train]'" in trained.stderr, trained
    assert "Traceback" not in trained.stderr, trained
    print(f"{len(data_half())} modules, inspect, preview, prepare and the missing extra: as they should be")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
