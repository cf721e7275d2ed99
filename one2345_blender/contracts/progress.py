# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pipeline tells its caller while it works: one callback, four kinds of event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STAGES = (
    "load_models",
    "foreground",
    "views_stage1",
    "elevation",
    "views_stage2",
    "features",
    "cost_volume",
    "sdf",
    "meshing",
    "write",
)
"""Stage names in the order of a conversion. `views_stage1` makes the four level views and the near
views of each, which the elevation needs; `views_stage2` the four tilted ones and theirs."""


@dataclass(frozen=True)
class StageStarted:
    """A stage begins."""

    stage: str

    @property
    def index(self) -> int:
        """Position in `STAGES`."""
        return STAGES.index(self.stage)

    @property
    def count(self) -> int:
        """Number of stages of a conversion."""
        return len(STAGES)


@dataclass(frozen=True)
class StepDone:
    """`step` of `steps` in a stage is done."""

    stage: str
    step: int
    steps: int


@dataclass(frozen=True)
class ViewReady:
    """A picture is worth showing: `rgb` is `(H, W, 3)` uint8 sRGB."""

    name: str
    rgb: NDArray[np.uint8]


@dataclass(frozen=True)
class WarningRaised:
    """Something is not as asked; the user must see it."""

    code: str
    message: str


PipelineEvent = StageStarted | StepDone | ViewReady | WarningRaised
OnEvent = Callable[[PipelineEvent], None]
"""The callback; it may raise `Cancelled` to stop the job at that point."""


def ignore_events(event: PipelineEvent) -> None:
    """A listener that does not listen."""
