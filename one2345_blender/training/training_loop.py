# SPDX-License-Identifier: GPL-3.0-or-later
"""The loop that all trainings share: a budget of minutes over many sittings, rate, log, state."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from .run_folder import RunFolder, RunProgress

LOG_EVERY_STEPS = 50
SAVE_EVERY_S = 300.0
WARM_UP_STEPS = 100
LOWEST_RATE = 0.02
MAX_AVERAGE_DECAY = 0.998


class TrainingLoop:
    """Takes steps until the run's time is used up; saves, logs, and calls what is due in between.

    Args:
        run: Where state and log go.
        modules: What is saved, by name.
        optimizer: Saved too.
        minutes: Of the whole run, sittings before a resumption included.
        resume: Go on from the saved state.
        batch_size: Examples that a step sees, for the log.
        peak_rate: Learning rate between warm-up and decay.
        decay_fraction: Share of the time, at its end, in which the rate falls linearly to
            `LOWEST_RATE` of the peak.
    """

    def __init__(
        self,
        run: RunFolder,
        modules: dict[str, nn.Module],
        optimizer: torch.optim.Optimizer,
        *,
        minutes: float,
        resume: bool,
        batch_size: int,
        peak_rate: float,
        decay_fraction: float,
    ) -> None:
        self._run, self._modules, self._optimizer = run, modules, optimizer
        self._total_s = 60.0 * minutes
        self._batch_size = batch_size
        self._peak_rate, self._decay_fraction = peak_rate, decay_fraction
        self._due: list[tuple[float, Callable[[], None], list[float]]] = []
        self.progress = run.restore(modules, optimizer) if resume else RunProgress()
        self.every(SAVE_EVERY_S, self.save)

    def every(self, seconds: float, action: Callable[[], None]) -> None:
        """Call `action` whenever so much training time has passed; its own time does not count."""
        self._due.append((seconds, action, [self.progress.seconds]))

    def take_steps(self, step: Callable[[], dict[str, float]]) -> None:
        """Call `step`, which returns its losses by name, until the time is used up; then save."""
        recent: list[dict[str, float]] = []
        while self.progress.seconds < self._total_s:
            started = time.monotonic()
            rate = learning_rate(
                self._peak_rate, self.progress, self._total_s, decay_fraction=self._decay_fraction
            )
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            recent.append(step())
            self.progress.step += 1
            self.progress.images += self._batch_size
            self.progress.seconds += time.monotonic() - started
            if self.progress.step % LOG_EVERY_STEPS == 0:
                means = {k: round(float(np.mean([r[k] for r in recent])), 4) for k in recent[0]}
                self.log(**means, learning_rate=rate)
                recent.clear()
            for seconds, action, last_s in self._due:
                if self.progress.seconds - last_s[0] > seconds:
                    last_s[0] = self.progress.seconds
                    action()
        self.save()

    def log(self, **entry: Any) -> None:
        """Append how far the run is, and `entry`, to its log."""
        self._run.log(
            step=self.progress.step,
            images=self.progress.images,
            seconds=round(self.progress.seconds),
            **entry,
        )

    def save(self) -> None:
        """Replace the saved state by this one."""
        self._run.save(self.progress, self._modules, self._optimizer)


def learning_rate(
    peak: float, progress: RunProgress, total_seconds: float, *, decay_fraction: float
) -> float:
    """Warm-up over `WARM_UP_STEPS`, then constant, then linear to `LOWEST_RATE` of the peak.

    Args:
        peak: The highest rate.
        progress: Of the run so far.
        total_seconds: The run's whole time.
        decay_fraction: Share of the time in which the rate falls.
    """
    remaining = max(0.0, 1.0 - progress.seconds / total_seconds)
    warm = min(1.0, (progress.step + 1) / WARM_UP_STEPS)
    return peak * warm * max(LOWEST_RATE, min(1.0, remaining / decay_fraction))


@torch.no_grad()
def average_weights(averaged: nn.Module, network: nn.Module, step: int) -> None:
    """Move `averaged` towards `network`: an exponential mean, quicker in the first steps."""
    decay = min(MAX_AVERAGE_DECAY, (step + 1) / (step + 10))
    torch._foreach_lerp_(
        list(averaged.parameters()), list(network.parameters()), weight=1.0 - decay
    )
