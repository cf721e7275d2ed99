# SPDX-License-Identifier: GPL-3.0-or-later
"""A limit to the memory that a job may take: what goes beyond is an error, not a slow machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..contracts.errors import OptionError, OutOfMemoryError
from .devices import resolve_device
from .process_memory import status_bytes

_GB = 10**9


@contextmanager
def memory_limited(limit_gb: float | None, device_name: str) -> Iterator[None]:
    """Inside, allocations beyond the limit fail as if the machine had no more memory.

    On the CPU the limit counts the process's own memory (Linux: `RLIMIT_DATA`, which leaves mapped
    files out), the networks' libraries included; on a CUDA device, what PyTorch takes of the
    device's.

    Args:
        limit_gb: In 10^9 bytes; None: no limit.
        device_name: Where the networks run, one of `contracts.job.DEVICES`.

    Raises:
        DeviceError: There is no such device.
        OptionError: This system cannot limit that device's memory.
        OutOfMemoryError: The process takes more already.
    """
    if limit_gb is None:
        yield
        return
    device = resolve_device(device_name)
    if device.type == "cuda":
        limited = _device_limited(limit_gb, device)
    elif device.type == "cpu" and sys.platform == "linux":
        limited = _process_limited(limit_gb)
    else:
        raise OptionError(
            "memory_limit_gb: the memory can be limited on CUDA devices, and on the CPU under "
            f"Linux; the device is {device.type} under {sys.platform}.",
            hint="Set the memory limit to 0, for no limit.",
        )
    with limited:
        yield


@contextmanager
def _device_limited(limit_gb: float, device: torch.device) -> Iterator[None]:
    total_bytes = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(limit_gb * _GB / total_bytes, 1.0), device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


@contextmanager
def _process_limited(limit_gb: float) -> Iterator[None]:
    import resource

    limit_bytes, used_bytes = int(limit_gb * _GB), status_bytes("VmData")
    if used_bytes >= limit_bytes:
        raise OutOfMemoryError(
            f"The memory limit is {limit_gb:g} GB, and {used_bytes / _GB:.1f} GB are taken before "
            "the job begins.",
            hint="Raise the memory limit.",
        )
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
