# SPDX-License-Identifier: GPL-3.0-or-later
"""How much memory a device has to give, and which errors say that it had too little."""

from __future__ import annotations

import psutil
import torch

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
    """What tensors on the device could still take, torch's own unused reserve included."""
    if device.type in ("cuda", "xpu"):
        backend = torch.get_device_module(device)
        free, _ = backend.mem_get_info(device)
        return int(free + backend.memory_reserved(device) - backend.memory_allocated(device))
    if device.type == "mps":
        limit = torch.mps.recommended_max_memory()
        return int(limit - torch.mps.current_allocated_memory())
    return int(psutil.virtual_memory().available)


def release_unused(device: torch.device) -> None:
    """Give torch's unused reserve back, so that it does not lie in pieces of the wrong size."""
    if device.type != "cpu":
        torch.get_device_module(device).empty_cache()
