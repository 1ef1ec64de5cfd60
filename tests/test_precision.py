"""The precision is measured on the model's own matrices, once, and written down as what it came to."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_models import tiny_folder
from token_examples import answering, tokens

from formtune.adapters import Lora
from formtune.freezing import trained
from formtune.loading import Options, load_model, tiny
from formtune.model_files import shapes_in
from formtune.objective import Objective
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


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "t5", "xlnet"])
@pytest.mark.parametrize(
    "options", [Options(freeze="all-but-top-1"), Options(lora=Lora(rank=2)), Options(lora=Lora(kind="dora", rank=2))]
)
def test_rounding_frozen_weights_once_changes_no_number(family: str, options: Options) -> None:
    """Loss and gradients equal, bit by bit, those of autocast, which rounds the same weights at every use.

    Where a layer is used twice (XLNet's two streams) autocast adds the two gradients in bfloat16, and here it is float32.
    """
    output = "mask" if family == "bert" else "text"
    rounded = tiny(family, output=output, options=replace(options, precision="bfloat16"))  # type: ignore[arg-type]
    exact = tiny(family, output=output, options=options)  # type: ignore[arg-type]
    exact.precision = "bfloat16"
    make = answering if family == "t5" else tokens
    examples = [make([20 + i] * (3 + i), [30 + i] * 3, id=str(i)) for i in range(3)]
    factors = np.full(3, 0.3, dtype=np.float32)
    losses = []
    for model in (rounded, exact):
        for name, parameter in trained(model).items():  # LoRA's B begins at zero, behind which no gradient flows
            torch.manual_seed(len(name))
            parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
        loss, _ = Objective(model, label_smoothing=0.0)(examples, factors)
        torch.autograd.backward(loss)
        losses.append(loss.detach())

    dtypes = {p.dtype for p in rounded.module.parameters()}
    assert dtypes == (
        {torch.float32} if options.lora and options.lora.kind == "dora" else {torch.float32, torch.bfloat16}
    )
    assert torch.equal(*losses)
    pairs = list(zip(trained(rounded).values(), trained(exact).values(), strict=True))
    most = 2**-8 if family == "xlnet" and options.lora else 0.0
    gradients = [(a.grad, b.grad) for a, b in pairs if a.grad is not None and b.grad is not None]
    assert all((one - other).norm() <= most * other.norm() for one, other in gradients)
    assert any(a.grad is not None and a.grad.any() for a, _ in pairs)


def test_what_words_are_scored_with_stays_in_float32() -> None:
    """The head is tied to the embeddings, and scores are exact."""
    model = tiny("llama", options=Options(freeze="*", precision="bfloat16"))

    assert model.module.get_output_embeddings().weight.dtype == torch.float32
    assert {p.dtype for name, p in model.module.named_parameters() if "norm" in name} == {torch.float32}
