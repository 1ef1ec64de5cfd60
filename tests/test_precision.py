"""The precision is measured on the model's own matrices, once, and written down as what it came to."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_models import tiny_folder

from formtune.loading import Options, load_model
from formtune.model_files import shapes_in
from formtune.precision import block_shapes, gain, settled
from formtune.progress import Event


def folder_of(tmp_path: Path, shapes: dict[str, tuple[int, ...]]) -> Path:
    """Write tensors of given shapes as a model's weights."""
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, tmp_path / "model.safetensors")
    return tmp_path


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "t5", "xlnet"])
def test_the_matrices_of_the_first_block_are_found_in_every_family(family: str) -> None:
    """Neither embeddings nor other blocks nor biases: each has the width of 32 on one side."""
    shapes = block_shapes(shapes_in(Path(tiny_folder(family))))

    assert all(32 in shape for shape in shapes)
    assert len(shapes) >= 4
    assert len(shapes) < 20


def test_the_least_number_of_a_name_is_the_block(tmp_path: Path) -> None:
    """In T5 layers of a block are numbered as well."""
    names = {
        "shared.weight": (90, 8),
        "encoder.block.0.layer.0.SelfAttention.q.weight": (8, 8),
        "encoder.block.0.layer.1.wi.weight": (16, 8),
        "encoder.block.1.layer.0.SelfAttention.q.weight": (24, 8),
        "encoder.block.10.layer.0.SelfAttention.q.weight": (40, 8),
        "encoder.block.0.layer.0.norm.weight": (8,),
        "encoder.block.0.attn.bias": (1, 1, 90, 90),
    }

    assert sorted(block_shapes(shapes_in(folder_of(tmp_path, names)))) == [(8, 8), (16, 8)]


def test_damaged_weights_have_no_shapes(tmp_path: Path) -> None:
    """Loading them says what is wrong."""
    (tmp_path / "model.safetensors").write_bytes((4).to_bytes(8, "little") + b"{no}" + b"....")
    (tmp_path / "other.safetensors").write_bytes(b"short")

    assert shapes_in(tmp_path) == {}


def test_a_model_too_small_to_gain_is_not_measured() -> None:
    """It is calculated in float32, and nothing is said of it."""
    told: list[Event] = []
    options = settled(Options(precision="auto"), tiny_folder("llama"), progress=told.append)

    assert (options.precision, told) == ("float32", [])


def test_what_was_chosen_is_told_and_measured_once(tmp_path: Path) -> None:
    """Whichever it is, every arm of a comparison gets the same."""
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    folder_of(tmp_path, {"layers.0.up.weight": (768, 768)})
    told: list[Event] = []
    first, second = (settled(Options(precision="auto"), str(tmp_path), progress=told.append) for _ in range(2))

    assert first == second
    assert first.precision in ("float32", "bfloat16")
    assert f": {first.precision}, since bfloat16 multiplies" in told[0].stage
    measured = gain(tmp_path, "cpu")
    assert measured is not None
    assert (measured >= 1.4) == (first.precision == "bfloat16")


def test_what_is_asked_for_is_not_measured() -> None:
    """A name that stands for no model is not looked up."""
    options = Options(precision="bfloat16")

    assert settled(options, "no-such-model", progress=print) is options


def test_a_model_is_loaded_with_a_settled_precision() -> None:
    """A run must be opened with what it was trained with."""
    with pytest.raises(ValueError, match="not settled"):
        load_model(tiny_folder("llama"), output="text", options=Options(precision="auto"))
