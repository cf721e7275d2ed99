# SPDX-License-Identifier: GPL-3.0-or-later
"""Training steps without a run, and what a run saved: what tests of trainings share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

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


def saved(run: Path) -> dict[str, Tensor]:
    """All that a run saved last, the optimizer's moments included."""
    (state_dir,) = run.glob("state_*")
    return {
        f"{path.stem}.{name}": value
        for path in sorted(state_dir.iterdir())
        for name, value in load_file(path).items()
    }
