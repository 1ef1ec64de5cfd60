"""What of a model is new: adapters beside its layers, and heads that do not come from the pretrained weights.

LoRA (Hu et al. 2021) trains low-rank additions instead of the weights themselves; DoRA (Liu et al. 2024) learns the
length of each of a layer's outputs' weights apart from their direction, and a low-rank addition to the direction.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from formtune.errors import SettingError

if TYPE_CHECKING:
    from peft import LoraConfig

    from formtune.models import Model


@dataclass(frozen=True, slots=True)
class Lora:
    """Low-rank adapters: ``V = W + (alpha / rank) B A`` instead of W, or ``m V / |V|`` with a learned length m.

    Attributes:
        kind: ``"lora"``, or ``"dora"`` for learned lengths.
        rank: inner width r.
        alpha: scale.
        rank_stabilized: divide by the root of the rank, so that a large rank learns as well (Kalajdzievski 2023).
        dropout: on the adapter's input, while training.
        targets: names (endings) of the layers; empty for every linear layer of the body.
    """

    kind: Literal["lora", "dora"] = "lora"
    rank: int = 8
    alpha: float = 16.0
    rank_stabilized: bool = False
    dropout: float = 0.0
    targets: tuple[str, ...] = ()


def add_lora(model: "Model", lora: Lora) -> None:
    """Put adapters into the layers that are free, in place; everything else but new heads is frozen.

    Raises:
        SettingError: where none of the targets is a layer of the model that is free.
    """
    from peft import inject_adapter_in_model

    try:
        inject_adapter_in_model(_config(model, lora), model.base)
    except ValueError as error:
        raise SettingError(
            f"LoRA found no layer to adapt ({str(error).splitlines()[0].split('. ')[0].rstrip('.')}).",
            "Give names of linear layers of this model that are not frozen, such as q_proj or query.",
            at="model.lora.targets",
        ) from error
    adapters = {name for name, _ in model.module.named_parameters() if ".lora_" in name}
    for name, parameter in model.module.named_parameters():
        parameter.requires_grad_(name in adapters or name in model.fresh)
    model.fresh |= adapters


def _config(model: "Model", lora: Lora) -> "LoraConfig":
    from peft import LoraConfig
    from transformers.pytorch_utils import Conv1D

    layers = dict(model.base.named_modules())
    weights = {name.removesuffix(".weight"): p for name, p in model.base.named_parameters(remove_duplicate=False)}
    # An adapter of a layer that is frozen would cost time, and stay the zero that it begins as.
    frozen = [re.escape(name) for name, p in weights.items() if name in layers and not p.requires_grad]
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        use_dora=lora.kind == "dora",
        use_rslora=lora.rank_stabilized,
        target_modules=list(lora.targets) or "all-linear",
        exclude_modules="|".join(frozen) or None,
        fan_in_fan_out=any(isinstance(layer, Conv1D) for layer in layers.values()),  # GPT-2
    )


def renew(model: "Model", seed: int) -> None:
    """Bring what does not come from the pretrained weights to its beginning: drawn from a seed, or computed.

    Matrices (of class heads, new heads) are normal with the model's own standard deviation, norms begin at one and
    biases at zero. Of an adapter, the one matrix is zero and the other drawn as in peft, and DoRA's lengths are those
    of the pretrained weights: whatever the seed, an adapted model begins as the pretrained one.
    """
    chance = torch.Generator().manual_seed(seed)
    spread = float(getattr(model.module.config, "initializer_range", 0.02) or 0.02)
    with torch.no_grad():
        for name, parameter in new_weights(model).items():
            if ".lora_magnitude_vector." in name:
                parameter.copy_(_lengths(model, name))
            else:
                parameter.copy_(_drawn(name, parameter, spread=spread, chance=chance))


def new_weights(model: "Model") -> dict[str, nn.Parameter]:
    """Find the parameters that do not come from the pretrained weights, by name."""
    values = dict(model.module.named_parameters())
    fresh = {name: values[name] for name in sorted(model.fresh) if name in values}
    if model.class_head:
        fresh |= dict(model.class_head.named_parameters(prefix="class_head"))
    return fresh


def _lengths(model: "Model", name: str) -> Tensor:
    """Measure a pretrained layer's weights as DoRA does: the length of what makes each output."""
    layer = model.module.get_submodule(name.partition(".lora_magnitude_vector.")[0])
    dora = model.module.get_submodule(name.removesuffix(".weight"))
    weight = layer.get_base_layer().weight
    lengths: Tensor = dora.get_weight_norm(weight, torch.zeros_like(weight[:1, :1]), 1.0)
    return lengths


def _drawn(name: str, parameter: Tensor, *, spread: float, chance: torch.Generator) -> Tensor:
    if ".lora_B." in name or ".lora_embedding_A." in name or name.endswith("bias"):
        return torch.zeros_like(parameter)
    if parameter.dim() < 2:
        return torch.ones_like(parameter)
    if ".lora_A." in name:
        bound = parameter.shape[1] ** -0.5
        return torch.empty(parameter.shape).uniform_(-bound, bound, generator=chance)
    if ".lora_embedding_B." in name:
        spread = 1.0
    return torch.empty(parameter.shape).normal_(0.0, spread, generator=chance)
