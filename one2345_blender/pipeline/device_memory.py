# SPDX-License-Identifier: GPL-3.0-or-later
"""How much memory a device has to give, and which errors say that it had too little."""

from __future__ import annotations

import sys

import psutil
import torch

from .process_memory import status_bytes

_MEMORY_ERRORS = (MemoryError, torch.OutOfMemoryError)
_CPU_MEMORY_WORDS = ("DefaultCPUAllocator", "bad_alloc", "could not create a primitive")
"""In the messages of the plain RuntimeErrors that torch raises where the CPU's memory ends; the
last is oneDNN's, which makes the convolutions."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of torch or Python says that memory ran out."""
    return isinstance(error, _MEMORY_ERRORS) or any(
        words in str(error) for words in _CPU_MEMORY_WORDS
    )


def free_bytes(device: torch.device) -> int:
    """What tensors on the device could still take, torch's own unused reserve included.

    Inside `memory_limited` at most what the limit leaves.
    """
    if device.type in ("cuda", "xpu"):
        backend = torch.get_device_module(device)
        free, total = backend.mem_get_info(device)
        allocated = backend.memory_allocated(device)
        unlimited = free + backend.memory_reserved(device) - allocated
        if device.type == "xpu":
            return int(unlimited)
        share = torch.cuda.get_per_process_memory_fraction(device)
        return max(0, min(int(unlimited), int(share * total) - allocated))
    if device.type == "mps":
        limit = torch.mps.recommended_max_memory()
        return int(limit - torch.mps.current_allocated_memory())
    available = int(psutil.virtual_memory().available)
    if sys.platform != "linux":
        return available
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if limit == resource.RLIM_INFINITY:
        return available
    return max(0, min(available, limit - status_bytes("VmData")))


def release_unused(device: torch.device) -> None:
    """Give torch's unused reserve back, so that it does not lie in pieces of the wrong size."""
    if device.type != "cpu":
        torch.get_device_module(device).empty_cache()
