"""How weights move: which rule, which step size for which part, and how it changes over the updates."""

import math

import torch
from torch import nn

from formtune.models import Model
from formtune.updates import TrainSettings


def parameter_groups(
    model: Model, parameters: dict[str, nn.Parameter], settings: TrainSettings
) -> list[dict[str, object]]:
    """Part parameters by learning rate (new heads may have their own) and by decay (none on biases and norms)."""
    head_rate = settings.head_learning_rate or settings.learning_rate
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        new = (name in model.fresh and "lora_" not in name) or name.startswith("class_head.")
        decay = settings.weight_decay if parameter.dim() > 1 else 0.0
        groups.setdefault((head_rate if new else settings.learning_rate, decay), []).append(parameter)
    return [{"params": p, "lr": rate, "weight_decay": decay} for (rate, decay), p in groups.items()]


def optimizer_of(groups: list[dict[str, object]], settings: TrainSettings) -> torch.optim.Optimizer:
    """Make the optimizer that the settings name."""
    rate = settings.learning_rate
    match settings.optimizer:
        case "adamw":
            return torch.optim.AdamW(groups, lr=rate, fused=True)
        case "adam":
            return torch.optim.Adam(groups, lr=rate, fused=True)
        case "sgd":
            return torch.optim.SGD(groups, lr=rate, momentum=0.9)
        case "adafactor":
            return torch.optim.Adafactor(groups, lr=rate)


def rate_at(step: int, settings: TrainSettings) -> float:
    """Give the factor on the learning rate: up from zero over the warm-up, then down as the schedule says."""
    warm = round(settings.warmup * settings.steps)
    if step < warm:
        return (step + 1) / warm
    if settings.schedule == "constant":
        return 1.0
    done = min(1.0, (step - warm) / max(1, settings.steps - warm))
    return 1.0 - done if settings.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
