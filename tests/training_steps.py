# SPDX-License-Identifier: GPL-3.0-or-later
"""Training steps without a run: what a test of an objective needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from one2345_blender.training.training_loop import Slot


def slots(batch_size: int, step: int = 0) -> list[Slot]:
    """Those of one step of a run with seed 0 on one process."""
    return [
        Slot(index=index, batch_size=batch_size, rng=np.random.default_rng([0, step, index]))
        for index in range(batch_size)
    ]


def learn(
    objective: nn.Module,
    draw: Callable[[list[Slot]], Any],
    *,
    batch_size: int,
    num_steps: int,
    learning_rate: float,
) -> list[dict[str, float]]:
    """Take steps; returns the losses of each."""
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=learning_rate)
    history = []
    for step in range(num_steps):
        losses = objective(draw(slots(batch_size, step)))
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        history.append({name: loss.item() for name, loss in losses.items()})
    return history
