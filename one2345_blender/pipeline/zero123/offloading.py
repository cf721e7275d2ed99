# SPDX-License-Identifier: GPL-3.0-or-later
"""Zero123's networks on the device only while they work, otherwise in the computer's memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from accelerate import cpu_offload_with_hook
from accelerate.hooks import UserCpuOffloadHook
from diffusers import DiffusionPipeline

from ...contracts.progress import OnEvent, WarningRaised
from ..device_memory import free_bytes, is_out_of_memory, release_unused

Result = TypeVar("Result")

RECONSTRUCTION_BYTES = 3_000_000_000
"""Kept free for the reconstruction. Measured are 1.6 GB at full size
(`benchmarks/reconstruction.py`); the rest is for what a device's convolutions take on the side."""
OFFLOADED = WarningRaised(
    "memory_offloaded",
    "The device has little memory: each network is there only while it works, which takes longer.",
)
ORDER = ("image_encoder", "clip_camera_projection", "unet", "vae")
"""In which they work; each sends the one before it away, the first the last."""


def place_networks(pipeline: DiffusionPipeline, device: torch.device) -> None:
    """Move a pipeline to a device; where that has not enough room, Zero123's networks in turn.

    What is free is known beforehand only roughly: where memory runs out on the way, they move in
    turn as well. `is_offloaded` tells, and every conversion then warns.
    """
    modules = {n: m for n, m in pipeline.components.items() if isinstance(m, torch.nn.Module)}
    weights_bytes = sum(t.nbytes for m in modules.values() for t in m.parameters())
    if device.type == "cpu" or free_bytes(device) >= weights_bytes + RECONSTRUCTION_BYTES:
        try:
            pipeline.to(device)
            return
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error) or device.type == "cpu":
                raise
    offload_networks(pipeline, device)
    release_unused(device)
    for name in modules.keys() - set(ORDER):
        modules[name].to(device)


def offload_networks(pipeline: DiffusionPipeline, device: torch.device) -> None:
    """From now on each network moves to `device` when it is called; slower, in less memory.

    Args:
        pipeline: Has the networks of `ORDER`.
        device: Where they compute.
    """
    hooks: list[UserCpuOffloadHook] = []
    for name in ORDER:
        previous = hooks[-1] if hooks else None
        hooks.append(cpu_offload_with_hook(getattr(pipeline, name), device, previous)[1])
    hooks[0].hook.prev_module_hook = hooks[-1]


def is_offloaded(pipeline: DiffusionPipeline) -> bool:
    """Whether `offload_networks` was called for the pipeline or one that shares its networks."""
    return hasattr(pipeline.unet, "_hf_hook")


def with_room_made(
    pipeline: DiffusionPipeline, work: Callable[[], Result], on_event: OnEvent
) -> Result:
    """The result of `work`, which does without Zero123's networks.

    Where memory runs out, these leave the device, and `work` begins again.
    """
    device = pipeline.device
    try:
        return work()
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error) or device.type == "cpu" or is_offloaded(pipeline):
            raise
    offload_networks(pipeline, device)
    release_unused(device)
    on_event(OFFLOADED)
    return work()
