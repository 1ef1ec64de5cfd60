"""Who this process is where a launcher started several, and how they agree.

A launcher (``torchrun``, ``accelerate launch``, Ray Train) tells each process its number and how many there are. They
go the same way through the program. What only one may do (write files, read the test records) the first one does, the
main process; what may fail in one alone is told to all, so that none waits for another that has ended.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from formtune.errors import FormtuneError, SettingError

if TYPE_CHECKING:
    import torch
    from torch.distributed import ProcessGroup

T = TypeVar("T")
Item = TypeVar("Item")

_SUMMING = timedelta(hours=1)  # between two gradients; torch's own ten minutes are less than some looks take
_TALKING = timedelta(days=7)  # while the main process reads the test records

# What a launcher may ask for that would change nothing here, or something else than it says: name → what may stand.
_REFUSED: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "ACCELERATE_USE_DEEPSPEED": (("false",), "DeepSpeed is not used here", "Choose FSDP with fsdp_version 2"),
    "ACCELERATE_USE_MEGATRON_LM": (("false",), "Megatron-LM is not used here", "Choose FSDP with fsdp_version 2"),
    "ACCELERATE_USE_PARALLELISM_CONFIG": (("false",), "Examples alone are dealt out", "Leave parallelism_config out"),
    "ACCELERATE_MIXED_PRECISION": (("no",), "model.precision says it", "Start with --mixed_precision no"),
    "ACCELERATE_DYNAMO_BACKEND": (("no",), "Nothing is compiled here", "Start with --dynamo_backend no"),
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": (
        ("1",),
        "training.batch_size says how many examples an update has",
        "Start with --gradient_accumulation_steps 1",
    ),
    "FSDP_OFFLOAD_PARAMS": (("false",), "Weights stay on the device", "Start with --fsdp_offload_params false"),
    "FSDP_ACTIVATION_CHECKPOINTING": (
        ("false",),
        "training.checkpoint_activations says it",
        "Start with --fsdp_activation_checkpointing false",
    ),
}


def count() -> int:
    """Tell how many processes a launcher started; 1 without one."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def local_count() -> int:
    """Tell how many of them run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE") or 1)


def rank() -> int:
    """Tell the number of this process, from 0."""
    return int(os.environ.get("RANK") or 0) if count() > 1 else 0


def is_main() -> bool:
    """Tell whether this is the process that writes files and speaks."""
    return rank() == 0


def sharded() -> bool:
    """Tell whether each process is to hold a part of every weight (FSDP) instead of a copy of all."""
    return count() > 1 and _asked("ACCELERATE_USE_FSDP") == "true"


def _asked(name: str) -> str:
    return os.environ.get(name, "").lower()


def start() -> None:
    """Join the other processes, once; alone do nothing.

    Raises:
        SettingError: where the launcher asks for what is not done here, or did not start what it was asked for.
    """
    if count() == 1:
        _check_alone()
        return
    _check_launcher()
    # Else transformers would leave the weights of all but the main process empty.
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    from accelerate import PartialState

    if PartialState(cpu=_on_cpu(), timeout=_SUMMING).num_processes != count():
        raise SettingError(
            f"The launcher says that there are {count()} processes, and they do not find one another.",
            "Start them with torchrun or accelerate launch.",
            at="WORLD_SIZE",
        )


def _check_alone() -> None:
    """Refuse what ``accelerate launch --cpu --num_processes 2`` does: it starts one process, and says nothing."""
    several = os.environ.get("ACCELERATE_USE_CPU") and os.environ.get("MASTER_ADDR")
    if several and "WORLD_SIZE" not in os.environ:
        raise SettingError(
            "accelerate launch --cpu was asked for several processes and started one, since it has no MPI.",
            "Run: torchrun --nproc-per-node N -m formtune ...",
            at="--num_processes",
        )


def _check_launcher() -> None:
    for name, (allowed, problem, remedy) in _REFUSED.items():
        if _asked(name) not in ("", *allowed):
            raise SettingError(f"{problem}, and the launcher asks for {_asked(name)!r}.", f"{remedy}.", at=name)
    if sharded() and _asked("FSDP_VERSION") != "2":
        raise SettingError(
            "Of the two versions of FSDP the second is used here.", "Start with --fsdp_version 2.", at="FSDP_VERSION"
        )


def _on_cpu() -> bool:
    import torch

    return _asked("ACCELERATE_USE_CPU") in ("true", "1") or not torch.cuda.is_available()


def end() -> None:
    """Part from the other processes; where none were joined do nothing."""
    if count() == 1 or "torch.distributed" not in sys.modules:
        return
    from torch import distributed

    _talk.cache_clear()
    if distributed.is_initialized():
        distributed.destroy_process_group()


def device() -> "torch.device":
    """Tell where this process trains."""
    import torch

    if count() == 1:
        return torch.device("cpu" if _on_cpu() else "cuda")
    from accelerate import PartialState

    found: torch.device = PartialState(cpu=_on_cpu(), timeout=_SUMMING).device
    return found


@cache
def _talk() -> "ProcessGroup":
    """Give the channel for what is not on a device: values that are pickled, between processes that trust one another."""
    from torch import distributed

    group: ProcessGroup = distributed.new_group(backend="gloo", timeout=_TALKING)
    return group


def gathered(value: T) -> list[T]:
    """Give every process the values of all, in their order."""
    if count() == 1:
        return [value]
    from torch import distributed

    values: list[T | None] = [None] * count()
    distributed.all_gather_object(values, value, group=_talk())
    return values  # type: ignore[return-value]


def alike(do: Callable[[], T]) -> T:
    """Do in every process what may fail in one alone, and let all fail if one does.

    Raises:
        FormtuneError: in every process, that of the first which has one.
    """
    if count() == 1:
        return do()
    value, error = _tried(do)
    errors = [one for one in gathered(error) if one is not None]
    if errors:
        raise errors[0]
    return value  # type: ignore[return-value]


def from_main(do: Callable[[], T]) -> T:
    """Do in the main process alone what the others wait for, and give its value to all.

    Args:
        do: what; the value is pickled on its way.

    Raises:
        FormtuneError: in every process, where the main process has one.
    """
    if count() == 1:
        return do()
    from torch import distributed

    own = _tried(do) if is_main() else (None, None)
    box: list[tuple[T | None, FormtuneError | None]] = [own]
    distributed.broadcast_object_list(box, src=0, group=_talk())
    value, error = own if is_main() else box[0]
    if error is not None:
        raise error
    return value  # type: ignore[return-value]


@contextmanager
def held_by_main(make: Callable[[], AbstractContextManager[object]]) -> Iterator[None]:
    """Let the main process alone hold something for a while, which the others go by: a lock, a folder.

    Args:
        make: gives what is entered.

    Raises:
        FormtuneError: in every process, where the main process cannot enter it.
    """
    with ExitStack() as stack:

        def enter() -> None:
            stack.enter_context(make())

        from_main(enter)
        yield


def _tried(do: Callable[[], T]) -> tuple[T | None, FormtuneError | None]:
    try:
        return do(), None
    except FormtuneError as error:
        return None, error


def spread(items: Sequence[Item], do: Callable[[Sequence[Item]], Sequence[T]]) -> list[T]:
    """Do each process its part of some work on items, and give all the results to every one.

    Args:
        items: the same in every process.
        do: gives one result for each of the items that it gets, in order.

    Returns:
        One result for each item, in order.
    """
    parts = gathered(alike(lambda: list(do(items[rank() :: count()]))))
    found: list[T | None] = [None] * len(items)
    for first, part in enumerate(parts):
        found[first :: count()] = part
    return found  # type: ignore[return-value]


def check_same(value: object, *, what: str) -> None:
    """Refuse to go on where something is not the same in all processes.

    Raises:
        SettingError: in every process.
    """
    if any(other != value for other in gathered(value)):
        raise SettingError(f"The processes do not have the same {what}.", "Give all of them the same files.", at="DATA")
