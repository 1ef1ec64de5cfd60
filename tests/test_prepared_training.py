"""Training on prepared folders: by any model that reads the sequences, none of which is held longer than it is needed."""

import gc
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from prepared_folders import conversations
from tiny_models import tiny_folder

from formtune import pipeline
from formtune.arms import Material
from formtune.errors import FormtuneError
from formtune.prepared import PreparedTokens, open_prepared
from formtune.progress import Event
from formtune.recipe import make_recipe
from formtune.results import Result
from formtune.tokens import Tokens


def prepared(out: Path, n_rows: int, *, model: str, format_: str = "chat") -> Path:
    """Prepare conversations for a model."""
    data = conversations(out.parent / f"{out.name}.jsonl", [f"Is {n} even? " + "why " * (n % 7) for n in range(n_rows)])
    settings = {"data": {"paths": [str(data)]}, "formats": format_, "models": model, "out": str(out)}
    pipeline.prepare(make_recipe(settings))
    return out


def trained(folder: Path, **changed: Any) -> Result:
    """Train a few updates on a prepared folder."""
    asked = {"training": {"steps": 3, "batch_size": 4}, "model": {"precision": "float32", "cache_trunk": False}}
    progress = changed.pop("progress", lambda event: None)
    settings = {"data": {"prepared": str(folder)}, "out": str(folder.parent / "run"), **asked, **changed}
    return pipeline.train(make_recipe(settings), progress=progress)


def another(place: Path, *, config: dict[str, Any] | None = None, tokenizer: dict[str, Any] | None = None) -> str:
    """Copy the tiny Llama, with other entries in its configurations."""
    shutil.copytree(tiny_folder("llama"), place)
    for name, changed in (("config.json", config), ("tokenizer_config.json", tokenizer)):
        if changed:
            path = place / name
            path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    return str(place)


def refused(folder: Path, **changed: Any) -> str:
    """Give what is told where nothing is trained."""
    with pytest.raises(FormtuneError) as error:
        trained(folder, **changed)
    return str(error.value)


def test_another_model_with_the_same_tokenizer_is_trained(tmp_path: Path) -> None:
    """Its folder may lie elsewhere than on the machine that prepared, and the first may be gone."""
    first = another(tmp_path / "first")
    folder = prepared(tmp_path / "p", 12, model=first)
    shutil.move(first, tmp_path / "moved")

    assert "There is no model" in refused(folder)
    assert trained(folder, models=str(tmp_path / "moved"))["steps"] == 3


def test_what_another_tokenizer_made_is_not_learned(tmp_path: Path) -> None:
    """Whether another model is named, or the same has changed: its ids would mean something else."""
    model = another(tmp_path / "model")
    folder = prepared(tmp_path / "p", 12, model=model)
    template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + eos_token }}{% endfor %}"
    other = another(tmp_path / "other", tokenizer={"chat_template": template})
    problem = "p: It was prepared with another tokenizer or chat template than"

    assert problem in refused(folder, models=other)
    shutil.rmtree(model)
    shutil.move(other, model)
    assert problem in refused(folder)
    assert not (tmp_path / "run").exists()


def test_sequences_of_another_shape_of_model_are_refused(tmp_path: Path) -> None:
    """An encoder-decoder has two sides, and a decoder has one."""
    folder = prepared(tmp_path / "p", 12, model=tiny_folder("llama"), format_="instruction")
    assert "Its sequences are laid out otherwise than" in refused(folder, models=tiny_folder("t5"))


def test_a_model_that_reads_less_is_refused(tmp_path: Path) -> None:
    """And so is less than was prepared; nothing is cut that stands on disk."""
    folder = prepared(tmp_path / "p", 12, model=tiny_folder("llama"))
    longest = max(len(tokens.ids_T) for tokens in PreparedTokens(open_prepared(folder)).values())
    less = another(tmp_path / "less", tokenizer={"model_max_length": longest - 1})
    problem = f"The longest prepared sequence has {longest} tokens, and {longest - 1} are allowed."

    assert f"--model: {problem}" in refused(folder, models=less)
    told = refused(folder, model={"max_length": longest - 1})
    assert told == f"--max-length: {problem} Prepare the data with --max-length {longest - 1}."
    assert trained(folder, model={"max_length": longest, "precision": "float32", "cache_trunk": False})["steps"] == 3


def test_a_search_on_prepared_data_asks_for_a_file_to_choose_on(tmp_path: Path) -> None:
    """Nothing is drawn from tokens, so a number of records would be refused next."""
    data = {"prepared": str(prepared(tmp_path / "p", 12, model=tiny_folder("llama")))}
    with pytest.raises(FormtuneError, match="--dev: A search needs records to choose on"):
        pipeline.tune(make_recipe({"data": data, "out": str(tmp_path / "t")}))


def n_alive() -> int:
    """Count the sequences that are in memory."""
    return sum(type(one) is Tokens for one in gc.get_objects())


def test_sequences_are_not_held(tmp_path: Path) -> None:
    """Memory does not grow with the data: of hundreds of sequences those of an update are there."""
    folder = prepared(tmp_path / "p", 400, model=tiny_folder("llama"))
    counts = []

    def count(event: Event) -> None:
        if event.step:
            counts.append(n_alive())

    gc.collect()
    before = n_alive()
    trained(folder, progress=count)

    assert len(counts) == 3
    assert max(counts) - before < 40


def test_sequences_in_order_are_a_sequence(tmp_path: Path) -> None:
    """Places, from either end, and stretches; records that are in memory are a list."""
    given = PreparedTokens(open_prepared(prepared(tmp_path / "p", 12, model=tiny_folder("llama"))))
    found = Material({}, given).in_order()

    assert [one.id for one in found] == [str(n) for n in range(12)]
    assert (len(found), found[-1].id, [one.id for one in found[10:]]) == (12, "11", ["10", "11"])
    assert found[3].ids_T.tolist() == given["3"].ids_T.tolist()
    with pytest.raises(IndexError):
        _ = found[12]
    assert isinstance(Material({}, dict(given)).in_order(), list)
