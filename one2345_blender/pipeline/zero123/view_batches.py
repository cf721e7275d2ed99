# SPDX-License-Identifier: GPL-3.0-or-later
"""Views in batches as large as memory allows; where it runs out, smaller ones, then offloading."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...contracts.errors import OutOfMemoryError
from ...contracts.progress import OnEvent, WarningRaised
from ..device_memory import free_bytes, is_out_of_memory, release_unused
from .offloading import OFFLOADED, is_offloaded, offload_networks
from .pipeline_zero123 import Zero123Pipeline

MAPS_PER_EVALUATION = 60
"""Activations of the UNet at a time, in maps of its first level's size. Measured are 41 of them
(`benchmarks/view_memory.py`); the rest is for what a device's convolutions take on the side."""
USED_SHARE = 0.7
"""Of what is free; the rest is for the decoder and for other programs."""


@dataclass
class BatchLimit:
    """What a conversion has learnt of the memory."""

    num_views: int | None = None
    """More at a time did not fit; None: nothing failed yet."""


def views_in_batches(
    zero123: Zero123Pipeline,
    rgb: NDArray[np.uint8],
    d_polar_deg: Sequence[float],
    d_azimuth_deg: Sequence[float],
    *,
    generators: Sequence[torch.Generator],
    guess_rgb: NDArray[np.uint8] | None,
    limit: BatchLimit,
    num_inference_steps: int,
    on_step: Callable[[int, int], None],
    on_event: OnEvent,
    **sampling: Any,
) -> NDArray[np.uint8]:
    """What one call of `Zero123Pipeline` gives, `(B, H, W, 3)`, in less memory where it is scarce.

    Each rung of the ladder is a warning; a batch that failed starts again with the same noise.

    Args:
        zero123: See its call for the arguments that are not named here.
        generators: One for each view.
        limit: Kept from call to call, lowered where memory runs out.
        on_step: Called with steps done and in all, as if there were one batch.
        on_event: Hears the warnings.

    Raises:
        OutOfMemoryError: Not even one view at a time, one network at a time, has room.
    """
    num_views = len(generators)
    views_per_image = num_views // len(rgb)
    affordable = affordable_views(zero123, len(rgb[0]))
    views: list[NDArray[np.uint8]] = []
    start = most_steps = 0
    while start < num_views:
        chosen = range(num_views)[start:][: min(affordable, limit.num_views or affordable)]
        first, last = chosen.start // views_per_image, (chosen.stop - 1) // views_per_image
        states = [generators[view].get_state() for view in chosen]

        def count_step(step: int, steps: int, chosen: range = chosen) -> None:
            nonlocal most_steps
            done = chosen.start * steps + len(chosen) * step
            most_steps = max(most_steps, num_inference_steps * done // (num_views * steps))
            on_step(most_steps, num_inference_steps)

        try:
            part = zero123(
                rgb[first : last + 1],
                [d_polar_deg[view] for view in chosen],
                [d_azimuth_deg[view] for view in chosen],
                image_of_view=[view // views_per_image - first for view in chosen],
                generator=[generators[view] for view in chosen],
                guess_rgb=None if guess_rgb is None else guess_rgb[chosen],
                num_inference_steps=num_inference_steps,
                on_step=count_step,
                **sampling,
            )
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            part = None  # what failed is let go of at the end of this block, then memory is freed
        if part is None:
            limit.num_views = _next_rung(zero123, len(chosen), on_event)
            for view, state in zip(chosen, states, strict=True):
                generators[view].set_state(state)
        else:
            views.append(part)
            start = chosen.stop
    return np.concatenate(views)


def affordable_views(zero123: Zero123Pipeline, size_px: int) -> int:
    """How many views of `size_px` the free memory holds at a time, guided; at least 1."""
    unet = zero123.unet
    latent_px = size_px // zero123.pixels_per_latent
    map_bytes = latent_px**2 * unet.config.block_out_channels[0] * unet.dtype.itemsize
    view_bytes = 2 * MAPS_PER_EVALUATION * map_bytes
    return max(1, int(USED_SHARE * free_bytes(zero123._execution_device)) // view_bytes)


def _next_rung(zero123: Zero123Pipeline, batch_size: int, on_event: OnEvent) -> int:
    """Free memory and make do with less; the new size of a batch.

    Raises:
        OutOfMemoryError: Nothing is left to do.
    """
    device = zero123._execution_device
    release_unused(device)
    if batch_size > 1:
        smaller = batch_size // 2
        message = (
            f"Memory ran out with {batch_size} views at a time; they are made {smaller} at a time "
            "from here on, which takes longer."
        )
        on_event(WarningRaised("memory_smaller_batches", message))
        return smaller
    if device.type != "cpu" and not is_offloaded(zero123):
        offload_networks(zero123, device)
        on_event(OFFLOADED)
        return 1
    raise OutOfMemoryError(
        "Memory ran out with one view at a time"
        + (" and one network at a time." if is_offloaded(zero123) else "."),
        hint="Close other programs that use the device, raise the memory limit if one is set"
        + ("." if device.type == "cpu" else ", or choose the device `cpu`."),
    )
