"""How much memory a process holds and has held, of the kind that its model is in."""

import gc

import torch

from formtune.machine import peak_resident_bytes, resident_bytes


def held_bytes(device: torch.device) -> int:
    """Tell what is held now: tensors on a GPU, all that the process has on a CPU; 0 where the kernel does not say."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else resident_bytes()


def peak_bytes(device: torch.device) -> int:
    """Tell the most that was held since the process began; 0 where the kernel does not say."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_resident_bytes()


def release() -> None:
    """Let go of what is held by nothing but itself, and give what a GPU's allocator keeps in store back to the driver."""
    gc.collect()
    torch.cuda.empty_cache()
