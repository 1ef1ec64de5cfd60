"""How weights move: which rule, which step size for which part, when a part joins, how it all changes over the updates.

Everything here follows from the number of an update alone (the first is 1), so that a training that is taken up again
goes on as it would have.
"""

import math
from collections.abc import Mapping

import torch
from torch import nn

from formtune.errors import SettingError
from formtune.freezing import blocks_of, hold, levels
from formtune.models import Model
from formtune.updates import TrainSettings

_LAST = 0.2  # share of the updates over which the schedule "wsd" falls (Hägele et al. 2024, section 3)


def parameter_groups(
    model: Model, parameters: Mapping[str, nn.Parameter], settings: TrainSettings
) -> list[dict[str, object]]:
    """Part parameters by learning rate (of new heads, of each block) and by decay (none on biases and norms).

    With a ``layer_decay`` d the topmost block has the whole learning rate, each block below d times that of the one
    above it, and the embeddings the lowest (Howard and Ruder 2018, section 3.2, with d = 1 / 2.6).

    Returns:
        One group for each pair of a rate and a decay; ``initial_lr`` is the rate before the schedule.

    Raises:
        SettingError: where blocks are to differ, and the model has none of its own.
    """
    _check_blocks(model, settings)
    below = levels(model)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        rate = settings.learning_rate * settings.layer_decay ** max(0, below[name] - 1)
        if (name in model.fresh and "lora_" not in name) or name.startswith("class_head."):
            rate = settings.head_learning_rate or settings.learning_rate
        plain = parameter.dim() > 1 and not name.endswith("bias")  # XLNet's biases have a row for each head
        groups.setdefault((rate, settings.weight_decay if plain else 0.0), []).append(parameter)
    return [
        {"params": parts, "lr": rate, "initial_lr": rate, "weight_decay": decay}
        for (rate, decay), parts in groups.items()
    ]


def _check_blocks(model: Model, settings: TrainSettings) -> None:
    asked = {"layer_decay": settings.layer_decay != 1.0, "unfreeze_every": settings.unfreeze_every is not None}
    for name, wanted in asked.items():
        if wanted and not blocks_of(model):
            raise SettingError(
                f"The layers of the model type {model.family!r} are not separate blocks, so they all move alike.",
                f"Leave {name} out.",
                at=f"training.{name}",
            )


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


def set_rates(optimizer: torch.optim.Optimizer, step: int, settings: TrainSettings) -> float:
    """Give every group its own rate times what the schedule says of an update, and return the largest.

    Args:
        optimizer: over groups from :func:`parameter_groups`.
        step: the update about to be done; the first is 1.
        settings: how.
    """
    factor = factor_at(step, settings)
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
    return max(float(group["lr"]) for group in optimizer.param_groups)


def factor_at(step: int, settings: TrainSettings) -> float:
    """Give the factor on the learning rate: up from zero over the warm-up, then as the schedule says.

    ``linear`` and ``cosine`` fall to zero over the rest; ``inverse_sqrt`` falls as in Vaswani et al. (2017, section
    5.3), from the warm-up on; ``wsd`` (warm-up, stable, decay: Hu et al. 2024) stays, and falls to zero over the last
    fifth of the updates.

    Args:
        step: the update about to be done; the first is 1.
        settings: how.
    """
    warm = round(settings.warmup * settings.steps)
    rest = max(1, settings.steps - warm)
    left = max(0, settings.steps - step + 1)
    if step <= warm:
        return step / warm
    match settings.schedule:
        case "linear":
            return left / rest
        case "cosine":
            return 0.5 * (1.0 - math.cos(math.pi * left / rest))
        case "inverse_sqrt":
            return math.sqrt(max(1, warm) / step)
        case "wsd":
            return min(1.0, left / min(rest, max(1, round(_LAST * settings.steps))))
        case "constant":
            return 1.0


def joined(step: int, settings: TrainSettings, levels: Mapping[str, int]) -> frozenset[str]:
    """Name what is trained at an update: gradual unfreezing (Howard and Ruder 2018, section 3.3).

    At first these are the heads, what follows the blocks, and the topmost block that is trained at all; after every
    ``unfreeze_every`` updates one more block of each stack joins, from the top, and at last the embeddings. So after
    the n-th has joined, what is trained is what ``all-but-top-n`` leaves free of it.

    Args:
        step: the update about to be done; the first is 1.
        settings: how; without ``unfreeze_every`` everything is trained from the beginning.
        levels: how far below the top each parameter lies, from :func:`formtune.freezing.levels`.
    """
    if settings.unfreeze_every is None:
        return frozenset(levels)
    first = min((level for level in levels.values() if level), default=0)
    reached = first + (step - 1) // settings.unfreeze_every
    return frozenset(name for name, level in levels.items() if level <= reached)


def let_join(model: Model, step: int, settings: TrainSettings, *, levels: Mapping[str, int]) -> None:
    """Make exactly what has joined by an update require gradients; nothing else moves, not even by decay.

    Whatever waits is still listed by :func:`formtune.freezing.trained`. Costs next to nothing where nothing changes.

    Args:
        model: in training.
        step: the update about to be done; the first is 1.
        settings: how.
        levels: of this model, from :func:`formtune.freezing.levels`.
    """
    hold(model, frozenset(levels) - joined(step, settings, levels))
