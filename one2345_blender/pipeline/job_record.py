# SPDX-License-Identifier: GPL-3.0-or-later
"""What is noted while a job runs: times, warnings, versions. And memory errors get a name."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from ..contracts.errors import OutOfMemoryError
from ..contracts.progress import OnEvent, PipelineEvent, StageStarted, WarningRaised
from .device_memory import is_out_of_memory

_PACKAGES = ("torch", "diffusers", "transformers", "scikit-image", "numpy")


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """What a job left behind: absolute paths by name, and the report as JSON values."""

    files: dict[str, str]
    report: dict[str, Any]


@dataclass
class JobRecord:
    """Passes events on; notes when stages begin and what was warned of."""

    on_event: OnEvent
    began: float = field(default_factory=time.perf_counter)
    stage_began: list[tuple[str, float]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __call__(self, event: PipelineEvent) -> None:
        if isinstance(event, StageStarted):
            self.stage_began.append((event.stage, time.perf_counter()))
        elif isinstance(event, WarningRaised):
            self.warnings.append(event.message)
        self.on_event(event)

    def stage_seconds(self) -> dict[str, float]:
        """Seconds by stage up to now."""
        ends = [began for _, began in self.stage_began[1:]] + [time.perf_counter()]
        return {
            stage: round(end - began, 3)
            for (stage, began), end in zip(self.stage_began, ends, strict=True)
        }

    def total_seconds(self) -> float:
        """Seconds since the job began."""
        return round(time.perf_counter() - self.began, 3)


def installed_versions() -> dict[str, str]:
    """Python and the packages whose versions can change a result."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


@contextmanager
def memory_errors_named() -> Iterator[None]:
    """Turn an out-of-memory failure of torch or Python into an `OutOfMemoryError`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            f"Memory ran out: {error}",
            hint="Close other programs, raise the memory limit if one is set, choose a smaller "
            "mesh resolution or the device `cpu`.",
        ) from error
