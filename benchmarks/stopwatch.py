# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU seconds and largest resident memory of each stage of the pipeline, under Linux."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from one2345_blender.contracts.progress import PipelineEvent, StageStarted
from one2345_blender.pipeline.process_memory import peak_memory_bytes

_CLEAR_REFS = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class StageCost:
    """What one stage took."""

    cpu_s: float
    peak_bytes: int
    """Largest resident size of the process while the stage ran, what was there before included."""


class Stopwatch:
    """Begins with a stage `start`, what the process did before; `stages` has those that ended."""

    def __init__(self) -> None:
        self._stage = "start"
        self._began = 0.0
        self.stages: dict[str, StageCost] = {}

    def begin(self, stage: str) -> None:
        """End the stage that runs and begin another."""
        now = time.process_time()
        self.stages[self._stage] = StageCost(now - self._began, peak_memory_bytes())
        self._stage, self._began = stage, now
        forget_peak_memory()

    def on_event(self, event: PipelineEvent) -> None:
        """Takes the pipeline's own stages."""
        if isinstance(event, StageStarted):
            self.begin(event.stage)


def forget_peak_memory() -> None:
    """From now on `peak_memory_bytes` starts from what is resident (`man 5 proc`, clear_refs)."""
    _CLEAR_REFS.write_text("5", encoding="ascii")
