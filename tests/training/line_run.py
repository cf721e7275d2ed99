# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole run that fits a line, in as many processes as it is started in: see test_training_loop.

Usage: python line_run.py FOLDER STEPS
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from one2345_blender.training.process_group import part_together
from one2345_blender.training.run_folder import RunFolder
from one2345_blender.training.training_loop import Slot, TrainingLoop, accelerator
from one2345_blender.training.training_options import TrainingOptions

BATCH_SIZE = 4


class LineObjective(nn.Module):
    """Noisy points of the line y = 2 x + 1."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(1, 1)
        nn.init.zeros_(self.line.weight)
        nn.init.zeros_(self.line.bias)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"loss": (self.line(x) - 2.0 * x - 1.0).square().mean()}


def draw(slots: Sequence[Slot]) -> Tensor:
    return torch.tensor([[slot.rng.normal()] for slot in slots], dtype=torch.float32)


def line_loop(folder: Path, *, steps: int, resume: bool = False, **said: Any) -> TrainingLoop:
    """The run's loop; it keeps an average of the line. `said`: more of the options."""
    objective = LineObjective()
    averaged = LineObjective().requires_grad_(False)
    return TrainingLoop(
        RunFolder(folder),
        objective,
        torch.optim.Adam(objective.parameters()),
        TrainingOptions(data=folder, steps=steps, resume=resume, **said),
        batch_size=BATCH_SIZE,
        peak_rate=0.1,
        decay_fraction=0.5,
        averaged=averaged,
    )


if __name__ == "__main__":
    line_loop(Path(sys.argv[1]), steps=int(sys.argv[2])).take_steps(draw)
    this = accelerator()
    (Path(sys.argv[1]) / f"process_{this.process_index}_of_{this.num_processes}").touch()
    part_together(is_done=True)
