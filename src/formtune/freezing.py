"""What of a model is trained: by count of blocks, by part or by pattern.

Freezing keeps general knowledge and saves work.
"""

import fnmatch
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import nn

from formtune.errors import SettingError

if TYPE_CHECKING:
    from formtune.models import Model

PARTS = ("none", "embeddings", "encoder", "body", "all-but-biases", "all-but-norms")


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
            heads); ``"all-but-biases"`` (Ben Zaken et al. 2022, "BitFit": the norms' and pretrained heads' biases are
            trained as well); ``"all-but-norms"``; ``"embeddings"`` (of words, positions and types, and their norm);
            ``"encoder"`` (of an encoder-decoder); ``"body"`` (all but the heads); a glob over parameter names
            (``"*.layer.0.*"``) or ``re:`` and a regular expression. Several with commas.

    Raises:
        SettingError: where a name is not known, a pattern matches nothing, or the model has no such part.
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
    if part in ("all-but-biases", "all-but-norms"):
        return _all_but(model, part.removeprefix("all-but-"))
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
    wanted = body_ids(model)
    if part == "embeddings":
        wanted = {id(p) for m in embeddings_of(model) for p in m.parameters()}
    if part == "encoder" and model.shape == "encoder-decoder":
        wanted = {id(p) for p in model.module.get_encoder().parameters()}
    return {n for n, p in model.module.named_parameters() if id(p) in wanted}


def body_ids(model: "Model") -> set[int]:
    """Give the ids of the body's parameters; T5 is its own body, yet a head that is not tied is no part of that."""
    head = model.module.get_output_embeddings()
    tied = {id(p) for p in model.base.get_input_embeddings().parameters()}
    heads = {id(p) for p in head.parameters()} - tied if head is not None else set()
    return {id(p) for p in model.base.parameters()} - heads


def embeddings_of(model: "Model") -> list[nn.Module]:
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


def _all_but(model: "Model", kind: str) -> set[str]:
    """Name everything but the biases, or but the norms."""
    norms = {id(p) for m in model.module.modules() if _is_norm(m) for p in m.parameters()}
    named = dict(model.module.named_parameters())
    kept = {n for n, p in named.items() if (id(p) in norms if kind == "norms" else n.endswith("bias"))}
    if not {id(named[n]) for n in kept} & body_ids(model):
        raise SettingError(
            f"A model of the type {model.family!r} has no {kind}, so nothing of it would be trained.",
            "Write all-but-norms, all-but-top-4, or body for the head alone; or train adapters (model.lora).",
            at="model.freeze",
        )
    return named.keys() - kept


def _all_but_top(model: "Model", top: int) -> set[str]:
    if not blocks_of(model):
        raise SettingError(
            f"The layers of the model type {model.family!r} are not separate blocks (ALBERT's share one), so its top "
            f"{top} cannot be kept free.",
            "Freeze embeddings, body or nothing, or train adapters (model.lora).",
            at="model.freeze",
        )
    for stack in blocks_of(model):
        if top > len(stack):
            raise SettingError(
                f"The model has {len(stack)} blocks, so its top {top} cannot be kept free.",
                f"Give a number up to {len(stack)}.",
                at="model.freeze",
            )
    free = _top(model, dict.fromkeys(_stacks(model), top))
    frozen = body_ids(model) - free
    return {n for n, p in model.module.named_parameters() if id(p) in frozen}


def frozen_depth(stack: nn.ModuleList) -> int:
    """Count the blocks at the bottom of a stack that have nothing to train."""
    depth = 0
    for block in stack:
        if any(p.requires_grad for p in block.parameters()):
            break
        depth += 1
    return depth


def frozen_bottom(model: "Model") -> tuple[nn.Module, ...]:
    """List the embeddings and the bottom blocks, if nothing up to the first free block of their side is trained.

    A whole encoder or body of which nothing is trained comes besides.
    """
    above = _top(model, {name: len(stack) - frozen_depth(stack) for name, stack in _stacks(model).items()})
    dropouts = [m for m in model.base.children() if isinstance(m, nn.Dropout)]  # GPT-2's, behind its embeddings
    first = [*embeddings_of(model), *dropouts]
    quiet: list[nn.Module] = []
    for owner, stack in zip(_owners(model), blocks_of(model), strict=True):
        side = owner if model.shape == "encoder-decoder" else model.base
        if not any(p.requires_grad and id(p) not in above for p in side.parameters()):
            inside = set(side.modules())
            quiet += [*(m for m in first if m in inside), *list(stack)[: frozen_depth(stack)]]
    learned = {id(p) for p in trained(model).values()}
    wholes = [model.body, *([model.module.get_encoder()] if model.shape == "encoder-decoder" else [])]
    quiet += [whole for whole in wholes if not any(id(p) in learned for p in whole.parameters())]
    return tuple(quiet)


def trained(model: "Model") -> dict[str, nn.Parameter]:
    """List what is trained, by name; the class head's names begin with ``class_head.``; tied weights once.

    What only waits to join (gradual unfreezing) is listed as well, at any moment of a training.
    """
    found = {n: p for n, p in model.module.named_parameters() if p.requires_grad or n in model.waiting}
    if model.class_head:
        used = {id(p) for p in model.body.parameters()}
        # BERT's own pooler is not read: the head stands on the states themselves.
        found = {n: p for n, p in found.items() if id(p) in used and "pooler" not in n.split(".")}
        found |= {f"class_head.{n}": p for n, p in model.class_head.named_parameters()}
    return found


def levels(model: "Model") -> dict[str, int]:
    """Say how far below the top everything that is trained lies.

    Returns:
        By name: 0 for heads and for what follows the blocks; n for the n-th block from the top of its stack; one more
        than there are blocks for embeddings and whatever else lies beside or below them.
    """
    used = {id(p) for p in model.body.parameters()}
    stacks = [stack for stack in blocks_of(model) if all(id(p) in used for p in stack.parameters())]
    found = dict.fromkeys(body_ids(model), 1 + max(map(len, stacks), default=0))
    found |= dict.fromkeys(_top(model, dict.fromkeys(_stacks(model), 0)), 0)
    for stack in stacks:
        found |= {id(p): len(stack) - place for place, block in enumerate(stack) for p in block.parameters()}
    new = {name for name in model.fresh if "lora_" not in name}
    return {name: 0 if name in new else found.get(id(p), 0) for name, p in trained(model).items()}


def hold(model: "Model", names: frozenset[str]) -> None:
    """Let some of what is trained wait: it gets no gradient, until another call lets it join.

    Args:
        model: whose parameters.
        names: as :func:`trained` lists them; the others join.
    """
    if names == model.waiting:
        return
    for name, parameter in trained(model).items():
        parameter.requires_grad_(name not in names)
    model.waiting = names
