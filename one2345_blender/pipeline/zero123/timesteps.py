# SPDX-License-Identifier: GPL-3.0-or-later
"""The timesteps that the original sampler visits."""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler

from ...contracts.errors import OptionError


def set_timesteps(
    scheduler: DDIMScheduler, num_inference_steps: int, *, drops_largest: bool
) -> None:
    """Set the scheduler's timesteps, descending.

    Args:
        scheduler: Its config gives the spacing where nothing is dropped.
        num_inference_steps: What the user asks for. With `drops_largest` it only fixes the stride,
            as in the original: 75 gives 76 steps from 976 to 1, 50 gives 49 from 961 to 1.
        drops_largest: Take every stride-th timestep plus the scheduler's offset, without the
            largest (One-2-3-45, ldm/models/diffusion/ddim.py:136).

    Raises:
        OptionError: Nothing would be left but the noise that sampling starts from, or there are
            not so many timesteps.
    """
    num_train = scheduler.config.num_train_timesteps
    if num_inference_steps > num_train:
        raise OptionError(
            f"num_inference_steps: the whole schedule has {num_train} timesteps, and this asks for "
            f"{num_inference_steps} of them.",
            hint="Take fewer steps.",
        )
    fewest = fewest_steps(drops_largest=drops_largest)
    if num_inference_steps < fewest:
        raise OptionError(
            f"num_inference_steps: expected at least {fewest}, since this preset leaves the "
            f"largest timestep out, got {num_inference_steps}.",
            hint="Take more steps, or the fast sampler.",
        )
    scheduler.set_timesteps(num_inference_steps)
    if not drops_largest:
        # for some numbers diffusers' trailing spacing rounds to one more, below zero
        scheduler.timesteps = scheduler.timesteps[:num_inference_steps]
        return
    ascending = torch.arange(0, num_train, num_train // num_inference_steps)
    scheduler.timesteps = (ascending[:-1] + scheduler.config.steps_offset).flip(0)


def fewest_steps(*, drops_largest: bool) -> int:
    """The least number of steps of which `set_timesteps` leaves any."""
    return 2 if drops_largest else 1
