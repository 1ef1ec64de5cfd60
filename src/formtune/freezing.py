"""What of a model is trained: by count of blocks, by part, by pattern, or through adapters.

Freezing keeps general knowledge and saves work; LoRA (Hu et al. 2021) trains low-rank additions instead.
"""

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from formtune.errors import SettingError

if TYPE_CHECKING:
    from formtune.models import Model

PARTS = ("none", "embeddings", "encoder", "body")


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


def blocks_of(model: "Model") -> list[nn.ModuleList]:
    """Find the stacks of transformer blocks, bottom first (an encoder-decoder has two)."""
    return list(_stacks(model).values())


def _stacks(model: "Model") -> dict[str, nn.ModuleList]:
    config = model.module.config
    depths = {
        getattr(config, name, None) for name in ("num_hidden_layers", "num_layers", "n_layer", "num_decoder_layers")
    }
    depths |= {getattr(config, name, None) for name in ("encoder_layers", "decoder_layers")}
    found: dict[str, nn.ModuleList] = {}
    for name, module in model.module.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in found)  # a T5 block is itself a list of layers
        if isinstance(module, nn.ModuleList) and len(module) in depths - {None} and not inside:
            found[name] = module
    return found


def freeze(model: "Model", spec: str) -> None:
    """Freeze parameters in place.

    Args:
        model: loaded; heads that are new stay free whatever is frozen.
        spec: ``"none"``; ``"all-but-top-K"`` (all but the top K blocks of each stack, the norm after them and the
            heads); ``"embeddings"`` (of words, positions and types, and their norm); ``"encoder"`` (of an encoder-decoder); ``"body"`` (all but the heads); a glob
            over parameter names (``"*.layer.0.*"``) or ``re:`` and a regular expression. Several with commas.

    Raises:
        SettingError: where a name is not known or a pattern matches nothing.
    """
    for part in filter(None, (p.strip() for p in spec.split(","))):
        frozen = _matching(model, part)
        for name, parameter in model.module.named_parameters():
            if name in frozen and name not in model.fresh:
                parameter.requires_grad_(False)


def _matching(model: "Model", part: str) -> set[str]:
    names = [n for n, _ in model.module.named_parameters()]
    top = re.fullmatch(r"all-but-top-(\d+)", part)
    if part == "none":
        return set()
    if top:
        return _all_but_top(model, int(top.group(1)))
    if part in ("embeddings", "encoder", "body"):
        return _part(model, part)
    pattern = _compiled(part)
    found = {n for n in names if pattern.search(n)}
    if not found:
        raise SettingError(
            f"{part!r} freezes nothing: no parameter has such a name (the first is {names[0]!r}).",
            f"Use one of {', '.join(PARTS)}, all-but-top-K, a glob, or re: and a regular expression.",
            at="model.freeze",
        )
    return found


def _compiled(part: str) -> re.Pattern[str]:
    try:
        return re.compile(part[3:] if part.startswith("re:") else fnmatch.translate(part))
    except re.error as error:
        raise SettingError(
            f"{part[3:]!r} is not a regular expression ({error}).",
            r"Write one such as re:layers\.[01]\. or a glob such as *.layers.0.*.",
            at="model.freeze",
        ) from error


def _part(model: "Model", part: str) -> set[str]:
    modules: list[nn.Module] = [model.base]
    if part == "embeddings":
        modules = _embeddings(model)
    if part == "encoder" and model.shape == "encoder-decoder":
        modules = [model.module.get_encoder()]
    wanted = {id(p) for m in modules for p in m.parameters()}
    return {n for n, p in model.module.named_parameters() if id(p) in wanted}


def _embeddings(model: "Model") -> list[nn.Module]:
    """List what turns ids, positions and types into the first states: one module (BERT), or tables beside the blocks.

    BERT's kin also keep tables beside their blocks, for relative positions: those belong to the attention.
    """
    whole = getattr(model.base, "embeddings", None)
    if isinstance(whole, nn.Module):
        return [model.base.get_input_embeddings(), whole]
    beside = [
        module
        for owner in _owners(model)
        for name, module in owner.named_children()
        if isinstance(module, nn.Embedding) or ("embed" in name and _is_norm(module))
    ]
    return [model.base.get_input_embeddings(), *beside]


def _owners(model: "Model") -> list[nn.Module]:
    """List the modules whose children the stacks are, in their order."""
    return [model.module.get_submodule(name.rpartition(".")[0]) for name in _stacks(model)]


def _is_norm(module: nn.Module) -> bool:
    return type(module).__name__.endswith("Norm")


def _after(owner: nn.Module) -> list[nn.Module]:
    """List the norms that follow the stack of an owner; DeBERTa's ``LayerNorm`` is one of its relative positions."""
    children = owner.named_children()
    return [m for name, m in children if _is_norm(m) and "embed" not in name and name != "LayerNorm"]


def _top(model: "Model", n_free: Mapping[str, int]) -> set[int]:
    """Give the ids of the parameters of the top blocks of each stack, by its name, and of what follows the stacks."""
    after: list[nn.Module] = [m for name, m in model.base.named_children() if name == "pooler"]
    for owner in _owners(model):
        after += _after(owner)
    for name, stack in _stacks(model).items():
        after += list(stack)[len(stack) - n_free[name] :]
    return {id(p) for module in after for p in module.parameters()}


def _all_but_top(model: "Model", top: int) -> set[str]:
    for stack in blocks_of(model):
        if top > len(stack):
            raise SettingError(
                f"The model has {len(stack)} blocks, so its top {top} cannot be kept free.",
                f"Give a number up to {len(stack)}.",
                at="model.freeze",
            )
    free = _top(model, dict.fromkeys(_stacks(model), top))
    body = {id(p) for p in model.base.parameters()} - free
    return {n for n, p in model.module.named_parameters() if id(p) in body}


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


def frozen_depth(stack: nn.ModuleList) -> int:
    """Count the blocks at the bottom of a stack that have nothing to train."""
    depth = 0
    for block in stack:
        if any(p.requires_grad for p in block.parameters()):
            break
        depth += 1
    return depth


def frozen_bottom(model: "Model") -> tuple[nn.Module, ...]:
    """List the embeddings and the bottom blocks, if nothing up to the first free block of their side is trained."""
    above = _top(model, {name: len(stack) - frozen_depth(stack) for name, stack in _stacks(model).items()})
    dropouts = [m for m in model.base.children() if isinstance(m, nn.Dropout)]  # GPT-2's, behind its embeddings
    first = [*_embeddings(model), *dropouts]
    quiet: list[nn.Module] = []
    for owner, stack in zip(_owners(model), blocks_of(model), strict=True):
        side = owner if model.shape == "encoder-decoder" else model.base
        if not any(p.requires_grad and id(p) not in above for p in side.parameters()):
            inside = set(side.modules())
            quiet += [*(m for m in first if m in inside), *list(stack)[: frozen_depth(stack)]]
    return tuple(quiet)


def trained(model: "Model") -> dict[str, nn.Parameter]:
    """List what is trained, by name; the class head's names begin with ``class_head.``; tied weights once."""
    found = {n: p for n, p in model.module.named_parameters() if p.requires_grad}
    if model.class_head:
        used = {id(p) for p in model.body.parameters()}
        # BERT's own pooler is not read: the head stands on the states themselves.
        found = {n: p for n, p in found.items() if id(p) in used and "pooler" not in n.split(".")}
        found |= {f"class_head.{n}": p for n, p in model.class_head.named_parameters()}
    return found


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
