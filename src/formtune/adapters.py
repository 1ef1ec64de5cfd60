"""What of a model is new: adapters beside its layers, and heads that do not come from the pretrained weights.

LoRA (Hu et al. 2021) trains low-rank additions instead of the weights themselves.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from formtune.errors import SettingError

if TYPE_CHECKING:
    from formtune.models import Model


@dataclass(frozen=True, slots=True)
class Lora:
    """Low-rank adapters: ``W + (alpha / rank) B A``.

    Attributes:
        rank: inner width r.
        alpha: scale.
        dropout: on the adapter's input, while training.
        targets: names (endings) of the linear layers; empty for peft's choice for the family, else ``"all-linear"``.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ()


def add_lora(model: "Model", lora: Lora) -> None:
    """Put adapters into the layers that are free, in place; everything else but new heads is frozen.

    Raises:
        SettingError: where none of the targets is a layer of the model.
    """
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets) or "all-linear",
    )
    free = {name for name, parameter in model.module.named_parameters() if parameter.requires_grad}
    try:
        inject_adapter_in_model(config, model.base)
    except ValueError as error:
        raise SettingError(
            f"LoRA found no layer to adapt ({str(error).splitlines()[0]})",
            "Give names of linear layers of this model, such as q_proj or query.",
            at="model.lora.targets",
        ) from error
    # An adapter of a layer that is frozen stays the zero that it begins as.
    adapters = {name for name, _ in model.module.named_parameters() if f"{name.split('.lora_')[0]}.weight" in free}
    adapters = {name for name in adapters if "lora_" in name}
    for name, parameter in model.module.named_parameters():
        parameter.requires_grad_(name in adapters or name in model.fresh)
    model.fresh |= adapters


def renew(model: "Model", seed: int) -> None:
    """Draw what does not come from the pretrained weights anew from a seed (class head, new heads, adapters).

    Matrices are normal with the model's own standard deviation, LoRA's B is zero and its A uniform as in peft;
    norms begin at one and biases at zero.
    """
    chance = torch.Generator().manual_seed(seed)
    spread = float(getattr(model.module.config, "initializer_range", 0.02) or 0.02)
    with torch.no_grad():
        for name, parameter in new_weights(model).items():
            parameter.copy_(_drawn(name, parameter, spread=spread, chance=chance))


def new_weights(model: "Model") -> dict[str, nn.Parameter]:
    """Find the parameters that do not come from the pretrained weights, by name."""
    values = dict(model.module.named_parameters())
    fresh = {name: values[name] for name in sorted(model.fresh) if name in values}
    if model.class_head:
        fresh |= dict(model.class_head.named_parameters(prefix="class_head"))
    return fresh


def _drawn(name: str, parameter: Tensor, *, spread: float, chance: torch.Generator) -> Tensor:
    if "lora_B" in name or name.endswith("bias"):
        return torch.zeros_like(parameter)
    if parameter.dim() < 2:
        return torch.ones_like(parameter)
    if "lora_A" in name:
        bound = parameter.shape[1] ** -0.5
        return torch.empty(parameter.shape).uniform_(-bound, bound, generator=chance)
    return torch.empty(parameter.shape).normal_(0.0, spread, generator=chance)
