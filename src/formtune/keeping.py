"""Whether what a model's frozen bottom gives can be kept, from where on, and under which name.

The name is a digest of everything that the states depend on: the bytes of the frozen weights as they are (after
continued training they are not those of the model's folder), the configuration, the boundary, the precision, the kind
of device, and the versions of what computes them. So whatever agrees in all of these shares them: runs, seeds, learning
rates, heads, formats, and processes of another day.
"""

import hashlib
import json
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from formtune import attention, processes
from formtune.batches import Batch
from formtune.freezing import blocks_of, embeddings_of, frozen_depth, trained
from formtune.models import Model
from formtune.shards import versions
from formtune.state_folder import states_folder
from formtune.state_store import StateStore
from formtune.trunk import Boundary, Bypass, Trunk

LAYOUT = 1  # of the files, and of what their name is made of


def trunk_of(model: Model, *, probe: Batch, limit_gb: float) -> Trunk | None:
    """Make the cache of a model's frozen bottom, on the boundary that saves most.

    Args:
        model: frozen as it is to be; what only waits to join counts as trained.
        probe: a few segments, on which the way past the frozen blocks is shown to be exact.
        limit_gb: how large everything that is kept may become.

    Returns:
        None where nothing at the bottom is frozen, or it cannot be kept (:func:`why_not` says why).
    """
    boundary, n_blocks = boundary_of(model)
    if boundary is None:
        return None
    bypass = _bypass(model, n_blocks) if boundary == "blocks" else None
    width = _width(model, bypass, probe, boundary=boundary)
    if not width:
        return None
    return Trunk(
        boundary,
        _opener(model, boundary, n_blocks=n_blocks, width=width, limit_gb=limit_gb),
        n_blocks=n_blocks,
        of_blocks=len(blocks_of(model)[0]) if blocks_of(model) else 0,
        causal=model.shape == "decoder",
        bypass=bypass,
    )


def boundary_of(model: Model) -> tuple[Boundary | None, int]:
    """Find the highest boundary below which nothing is trained, and how many blocks are below it."""
    learned = {id(p) for p in trained(model).values()}
    stacks = blocks_of(model)
    if model.shape == "encoder-decoder" and not model.class_head:  # a frozen decoder is computed: it is not cut
        encoder = model.module.get_encoder()
        whole = not any(id(p) in learned for p in encoder.parameters())
        return ("source", len(stacks[0]) if stacks else 0) if whole else (None, 0)
    if not any(id(p) in learned for p in model.body.parameters()):
        return ("pooled" if model.class_head else "body"), max(map(len, stacks), default=0)
    depth = frozen_depth(stacks[0]) if len(stacks) == 1 and model.quiet and model.packs else 0
    return ("blocks", depth) if depth else (None, 0)


def round_boundary(model: Model) -> None:
    """Round what a frozen bottom gives as it would be kept, so that a model reads the same states with the cache or without."""
    boundary, n_blocks = boundary_of(model)
    if boundary is None or state_dtype(model, boundary) != np.uint16:
        return
    below = model.module.get_encoder() if boundary == "source" else blocks_of(model)[0][n_blocks - 1]
    below.register_forward_hook(_rounded)


def _rounded(_module: nn.Module, _inputs: object, output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.bfloat16().float()
    if hasattr(output, "last_hidden_state"):  # of an encoder; a block that hands on several states is never cut
        output.last_hidden_state = output.last_hidden_state.bfloat16().float()
    return output


def why_not(model: Model) -> str:
    """Say why what frozen blocks give is computed anew each time; empty where nothing is frozen that could be kept."""
    if model.trunk or not model.quiet or not any(frozen_depth(stack) for stack in blocks_of(model)):
        return ""
    if model.shape == "encoder-decoder":
        return "of an encoder-decoder only a whole encoder is kept"
    if model.pads:
        return f"models of the type {model.family!r} read padded rows"
    return f"the type {model.family!r} hands on more between its blocks than one state"


def promise(trunk: Trunk, *, n_tokens: int, n_examples: int, limit_gb: float) -> str:
    """Tell beforehand what is kept, how much of the disk it takes, and where.

    Args:
        trunk: of a model.
        n_tokens: of all examples that are to be read; what they share at the beginning is kept once, so it is less.
        n_examples: how many they are.
        limit_gb: how large everything that is kept may become.

    Raises:
        SettingError: where it cannot be kept at its place.
    """
    store = trunk.store_on(processes.device().type)
    size_bytes = (n_examples if trunk.boundary == "pooled" else n_tokens) * store.row_bytes
    about = f"about {_size(size_bytes)}"
    if size_bytes > limit_gb * 1e9:
        about = f"at most {limit_gb:g} GB (model.cache_gb) of {about}"
    before = f", {_size(store.size_bytes)} of earlier runs are there" if store.size_bytes else ""
    part = {"blocks": f"bottom ({trunk.n_blocks} of {trunk.of_blocks} blocks)", "source": "encoder"}.get(
        trunk.boundary, "body"
    )
    return f"what the frozen {part} gives is kept: {about} in {store.folder}{before}"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e8 else f"{size_bytes / 1e6:.1f} MB"


def _sites(root: nn.Module, modules: Iterable[nn.Module]) -> list[tuple[nn.Module, str]]:
    """Find the owner of each module, and its name there; what is inside another of them is passed over."""
    wanted = list(modules)
    inside = {id(part) for module in wanted for part in module.modules() if part is not module}
    outer = {id(module) for module in wanted if id(module) not in inside}
    return [(owner, name) for owner in root.modules() for name, child in owner.named_children() if id(child) in outer]


def _bypass(model: Model, n_blocks: int) -> Bypass:
    return Bypass(blocks_of(model)[0], n_blocks, _sites(model.base, embeddings_of(model)))


def _width(model: Model, bypass: Bypass | None, probe: Batch, *, boundary: Boundary) -> int:
    """Count the numbers of one state on a probe; 0 where both halves of a model do not give what the whole gives."""
    if boundary == "source":
        return int(model.module.config.d_model)
    with model.inference():
        wanted = model.hidden(probe)
        if bypass is None:
            return wanted.shape[-1]
        try:
            states = bypass.bottom(model.hidden)(probe)
            found = bypass.top(model.hidden, probe, states)
        except (TypeError, ValueError, IndexError, AttributeError, RuntimeError):  # a family that hands on more
            return 0
    error, scale = (found - wanted).abs().max(), wanted.abs().max().clamp(min=1)
    return states.shape[-1] if error <= 1e-5 * scale else 0


def _opener(
    model: Model, boundary: Boundary, *, n_blocks: int, width: int, limit_gb: float
) -> Callable[[str, Path | None], StateStore]:
    """Give what opens a model's store when it is asked for."""
    known = weakref.ref(model)  # the model has the trunk: in a circle neither would go before the collector comes

    def open_store(device: str, root: Path | None) -> StateStore:
        alive = known()
        assert alive is not None, "a trunk is asked by its model alone"
        return _store(alive, boundary, n_blocks=n_blocks, width=width, limit_gb=limit_gb, device=device, root=root)

    return open_store


def _store(  # noqa: PLR0913 (what a store is named by has that many sides)
    model: Model,
    boundary: Boundary,
    *,
    n_blocks: int,
    width: int,
    limit_gb: float,
    device: str,
    root: Path | None,
) -> StateStore:
    about = dependencies(model, boundary, n_blocks=n_blocks, device=device)
    digest = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()
    told = {"model": model.name, "blocks": n_blocks, **about}
    return StateStore(
        (root or states_folder()) / digest[:32],
        told,
        width=width,
        dtype=state_dtype(model, boundary),
        limit_bytes=int(limit_gb * 1e9),
    )


def state_dtype(model: Model, boundary: Boundary) -> np.dtype[Any]:
    """Say how states are kept: where what reads them calculates in bfloat16, as bfloat16 (in its bits), else in float32.

    The heads above a body and above pooled states calculate in float32 whatever the precision.
    """
    rounded = model.precision == "bfloat16" and boundary in ("blocks", "source")
    return np.dtype(np.uint16 if rounded else np.float32)


def dependencies(model: Model, boundary: Boundary, *, n_blocks: int, device: str) -> dict[str, Any]:
    """List what the states at a boundary depend on, besides the tokens, as plain values."""
    config = {k: v for k, v in model.module.config.to_dict().items() if k not in ("_name_or_path", "use_cache")}
    return {
        "layout": LAYOUT,
        "boundary": boundary,
        "depth": n_blocks if boundary == "blocks" else None,
        "pooling": model.pooling if boundary == "pooled" else None,
        "weights": weights_digest(_below(model, boundary)),
        "config": config,
        "positions from": model.position_offset,
        "attention": attention.NAME if model.packs else "padded",
        "precision": model.precision,
        "kept as": "bfloat16" if state_dtype(model, boundary) == np.uint16 else "float32",
        "products": torch.get_float32_matmul_precision(),
        "device": device,
        "versions": {
            name: version for name, version in versions().items() if name in ("torch", "transformers", "formtune")
        },
    }


def _below(model: Model, boundary: Boundary) -> list[nn.Module]:
    match boundary:
        case "source":
            return [model.module.get_encoder()]
        case "blocks":
            return list(model.quiet)
        case _:
            return [model.body]


def weights_digest(modules: Iterable[nn.Module]) -> str:
    """Digest the weights of modules as they are: SHA-256 over types, shapes and bytes, in their order."""
    digest = hashlib.sha256()
    for tensor in _tensors(modules):
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _tensors(modules: Iterable[nn.Module]) -> Iterator[Tensor]:
    for module in modules:
        yield from module.parameters()
        yield from module.buffers()
