"""Where a training stands after an update: everything that the next update depends on and that nothing else tells.

What follows from the number of an update is not part of it: the order of the examples, what is masked, the rates, which
blocks have joined. Python's and numpy's own generators are not used while training.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from formtune.tokens import Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where a training stands after an update.

    Attributes:
        step: updates done.
        weights: of what is trained, by name.
        optimizer: what the optimizer keeps of each, by name.
        random: states of torch's generators, by device.
        best_step: the update after which the best look was taken; 0 where none was.
        best: the weights of that moment.
        notes: whatever else the training needs, as JSON can hold it.
    """

    step: int
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Mapping[str, Any]]
    random: Mapping[str, Tensor]
    best_step: int
    best: Mapping[str, Tensor]
    notes: Mapping[str, Any]


def optimizer_state(optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]) -> dict[str, Any]:
    """Give what an optimizer keeps of each parameter, tensors and numbers, by the parameter's name."""
    return {name: dict(optimizer.state[p]) for name, p in parameters.items() if optimizer.state.get(p)}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], kept: Mapping[str, Mapping[str, Any]]
) -> None:
    """Put back what :func:`optimizer_state` gave; the tensors are copied."""
    names = {id(p): name for name, p in parameters.items()}
    order = [names[id(p)] for group in optimizer.param_groups for p in group["params"]]
    state = {place: _copied(kept[name]) for place, name in enumerate(order) if name in kept}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.clone() if isinstance(value, Tensor) else value for key, value in values.items()}


def random_state() -> dict[str, Tensor]:
    """Give the states of torch's generators: the CPU's, and those of the GPUs where there are some."""
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), **{f"cuda:{place}": state for place, state in enumerate(devices)}}


def restore_random(states: Mapping[str, Tensor]) -> None:
    """Put back what :func:`random_state` gave; GPUs that are not here are passed over."""
    torch.set_rng_state(states["cpu"])
    for place in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        if f"cuda:{place}" in states:
            torch.cuda.set_rng_state(states[f"cuda:{place}"], place)


def digest_of_tokens(examples: Sequence[Tokens]) -> str:
    """Digest examples in their order, as far as training depends on them: SHA-256 in hex."""
    found = hashlib.sha256()
    for one in examples:
        _add(found.update, one)
    return found.hexdigest()


def _add(update: Callable[[bytes], object], tokens: Tokens) -> None:
    arrays = (tokens.ids_T, tokens.labels_T, tokens.weights_T, tokens.parts_T, tokens.types_T, *tokens.candidates)
    told = f"{tokens.id!r} {tokens.gold} {tokens.corrupt} {[len(a) for a in arrays]} {tokens.decoder is not None}\n"
    update(told.encode())
    for array in arrays:
        update(array.tobytes())
    if tokens.decoder is not None:
        _add(update, tokens.decoder)
