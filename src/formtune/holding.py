"""How the processes of a training hold a model: each a copy of it, or each a part of every weight.

Whichever it is, the gradient of an update is the sum over all its examples. The factors of the loss hold the whole
update's denominator, so the sum of what the processes compute is what one process would have computed.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from formtune import processes
from formtune.errors import SettingError
from formtune.freezing import blocks_of, trained
from formtune.models import Model
from formtune.objective import Objective
from formtune.training_state import optimizer_state, restore_optimizer
from formtune.updates import TrainSettings

BUCKET_BYTES = 64 << 20  # gradients that travel at once


class Copies:
    """Every process holds the whole model; gradients are added up once, after the last micro-batch of an update.

    A process may have any number of micro-batches, or none. Alone, nothing is added up.

    Attributes:
        model: what is trained.
        objective: the model with its loss.
        parameters: what is trained, by name.
        in_step: whether all processes must compute equally many micro-batches.
    """

    in_step = False

    def __init__(self, model: Model, settings: TrainSettings) -> None:
        self.model = model
        self.objective = _objective(model, settings).to(processes.device())
        self.parameters = trained(model)
        if processes.count() > 1:
            for parameter in self.parameters.values():
                distributed.broadcast(parameter.data, src=0)

    def begin(self) -> None:
        """Make ready for an update."""
        self.model.train(True)

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of a micro-batch."""
        torch.autograd.backward(loss)

    def add_up(self, *numbers: float) -> list[float]:
        """Add up the gradients of an update over the processes, and some numbers (its loss, its tokens).

        A parameter for which no process has a gradient keeps none, so that nothing decays that one process would leave.
        """
        if processes.count() == 1:
            return list(numbers)
        learned = [float(p.grad is not None) for p in self.parameters.values()]
        sums = _summed([*numbers, *learned], self.model.device)
        parameters = [p for p, n in zip(self.parameters.values(), sums[len(numbers) :], strict=True) if n]
        for bucket in _buckets([_gradient(p) for p in parameters]):
            _sum_gradients(bucket)
        return sums[: len(numbers)]

    def clip(self, most: float) -> float:
        """Shorten the gradient where it is longer than ``most``, and give the length that it had."""
        return clip(list(self.parameters.values()), most)

    def hand_back(self) -> None:
        """Bring what was learned into the model as it was given; here it is the same."""

    def weights(self) -> dict[str, Tensor]:
        """Give what is trained, whole, by name."""
        return {name: p.detach() for name, p in self.parameters.items()}

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Give what an optimizer keeps of each parameter, whole, by the parameter's name."""
        return optimizer_state(optimizer, self.parameters)

    def put(self, weights: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, kept: Mapping[str, Any]) -> None:
        """Put back what :meth:`weights` and :meth:`optimizer_state` gave."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(weights[name])
        restore_optimizer(optimizer, self.parameters, kept)


def clip(parameters: Sequence[nn.Parameter], most: float) -> float:
    """Shorten a gradient in place where it is longer than ``most`` (Pascanu et al. 2013), and give the length it had.

    As ``nn.utils.clip_grad_norm_`` does, but on a CPU the length comes from products of gradients with themselves, and
    what is short enough is not multiplied by one.

    Args:
        parameters: whose gradients make one; those without are left out.
        most: the length that is left.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return 0.0
    if gradients[0].device.type != "cpu":  # there one kernel takes all of them
        return float(nn.utils.clip_grad_norm_(parameters, most))
    flat = [gradient.reshape(-1) for gradient in gradients]
    length = torch.stack([torch.dot(one, one) for one in flat]).sum().sqrt()
    if length > most:
        nn.utils.clip_grads_with_norm_(parameters, most, length, foreach=True)
    return float(length)


def _gradient(parameter: nn.Parameter) -> Tensor:
    if parameter.grad is None:  # this process had nothing to compute
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Group tensors, in order, up to a size at which sending one more costs little more than its bytes."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and (sum(t.nbytes for t in bucket) + tensor.nbytes > BUCKET_BYTES or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


def _sum_gradients(bucket: Sequence[Tensor]) -> None:
    """Put in the place of each gradient its sum over the processes."""
    flat = torch.cat([tensor.flatten() for tensor in bucket])
    distributed.all_reduce(flat)
    for tensor, summed in zip(bucket, torch.split(flat, [t.numel() for t in bucket]), strict=True):
        tensor.copy_(summed.view_as(tensor))


def _summed(numbers: Sequence[float], device: torch.device) -> list[float]:
    """Add up numbers over the processes; what is no number in one is none in the sum."""
    values = torch.tensor(numbers, dtype=torch.float64, device=device)
    distributed.all_reduce(values)
    return [float(value) for value in values]


class Shards:
    """Every process holds a part of each weight, its gradient and its optimizer state (FSDP2, ZeRO stage 3).

    Weights are gathered block by block while they are needed (Rajbhandari et al. 2020, section 5.3). The model that was
    given stays whole, in the memory of the host, and learns what its twin has learned when it is handed back.

    Attributes:
        model: the sharded twin.
        objective: the twin with its loss, the root of what is sharded: what is no block's is gathered with it.
        parameters: what is trained of it, by name.
        in_step: whether all processes must compute equally many micro-batches.
    """

    in_step = True

    def __init__(self, model: Model, settings: TrainSettings) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        _check_shardable(settings)
        self.whole = model
        self._move("cpu")
        self.model = _twin(model)
        self.objective = _objective(self.model, settings)
        mesh = init_device_mesh(processes.device().type, (processes.count(),))
        for stack in blocks_of(self.model):
            for block in stack:
                fully_shard(block, mesh=mesh, reshard_after_forward=_reshards())
        fully_shard(self.objective, mesh=mesh, reshard_after_forward=False)
        self.parameters = trained(self.model)

    def begin(self) -> None:
        """Make ready for an update: the whole model leaves the device."""
        self._move("cpu")
        self.model.train(True)

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of a micro-batch, added up over the processes (FSDP takes their mean)."""
        torch.autograd.backward(loss * processes.count())

    def add_up(self, *numbers: float) -> list[float]:
        """Add up some numbers of an update over the processes; its gradients are already."""
        return _summed(numbers, processes.device())

    def clip(self, most: float) -> float:
        """Shorten the gradient where it is longer than ``most``, and give the length that it had."""
        return float(_full(nn.utils.clip_grad_norm_(self.parameters.values(), most)))

    def weights(self) -> dict[str, Tensor]:
        """Gather what is trained, whole, by name, on the host: a device has room for one whole tensor, not for all."""
        return {name: _full(p).cpu() for name, p in self.parameters.items()}

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Gather what an optimizer keeps of each parameter, whole, by the parameter's name, on the host."""
        kept = optimizer_state(optimizer, self.parameters)
        return {name: {key: _on_host(_full(value)) for key, value in own.items()} for name, own in kept.items()}

    def put(self, weights: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, kept: Mapping[str, Any]) -> None:
        """Take this process's part of what :meth:`weights` and :meth:`optimizer_state` gave."""
        parts = {
            name: {key: _part(value, self.parameters[name]) for key, value in own.items()} for name, own in kept.items()
        }
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(_part(weights[name], parameter))
        restore_optimizer(optimizer, self.parameters, parts)
        self.hand_back()

    def hand_back(self) -> None:
        """Bring what was learned into the model as it was given, which needs room for it on every device."""
        self._move(processes.device())
        whole = trained(self.whole)
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                whole[name].copy_(_full(parameter))

    def _move(self, device: torch.device | str) -> None:
        if self.whole.device != torch.device(device):
            _objective_parts(self.whole).to(device)


def _full(value: Any) -> Any:
    """Gather what is in parts; what is not (a count of updates) is whole already."""
    sharded: bool = isinstance(value, DTensor)
    return value.detach().full_tensor() if sharded else value


def _on_host(value: Any) -> Any:
    return value.cpu() if isinstance(value, Tensor) else value


def _part(value: Any, like: Any) -> Any:
    """Take this process's part of what has the shape of a parameter; anything else is the same in all."""
    if not isinstance(value, Tensor) or value.shape != like.shape:
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)


def _objective_parts(model: Model) -> nn.ModuleList:
    return nn.ModuleList([model.module] if model.class_head is None else [model.module, model.class_head])


def _twin(model: Model) -> Model:
    """Copy a model without its trunk's cache: whether a block runs must not differ between processes."""
    bare = copy.copy(model)
    bare.trunk = None
    return copy.deepcopy(bare, {id(model.tokenizer): model.tokenizer})


def _reshards() -> bool:
    """Tell whether a block's weights are let go between its forward and backward pass, as the launcher says."""
    from accelerate import FullyShardedDataParallelPlugin

    return bool(FullyShardedDataParallelPlugin().reshard_after_forward)


def _check_shardable(settings: TrainSettings) -> None:
    refused = {
        "optimizer": ("The optimizer adafactor needs whole matrices", settings.optimizer == "adafactor"),
        "unfreeze_every": ("What is sharded cannot join later", settings.unfreeze_every is not None),
    }
    for name, (problem, wanted) in refused.items():
        if wanted:
            raise SettingError(f"{problem}, and FSDP parts them.", "Start without FSDP.", at=f"training.{name}")


def _objective(model: Model, settings: TrainSettings) -> Objective:
    return Objective(
        model,
        label_smoothing=settings.label_smoothing,
        shares=settings.share_prefixes,
        recomputes=settings.checkpoint_activations,
    )


def held(model: Model, settings: TrainSettings) -> Copies | Shards:
    """Hold a model as the launcher says, together with the other processes; alone it is as it was.

    Raises:
        SettingError: where the launcher, or the settings under it, ask for what is not done here.
    """
    processes.start()
    return Shards(model, settings) if processes.sharded() else Copies(model, settings)
