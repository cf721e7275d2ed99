# SPDX-License-Identifier: GPL-3.0-or-later
"""The loop that all trainings share, on a network of one weight."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from one2345_blender.training.run_folder import LOG_NAME, RunFolder, RunProgress
from one2345_blender.training.training_loop import (
    LOG_EVERY_STEPS,
    TrainingLoop,
    average_weights,
    learning_rate,
)


class Sitting:
    """A run's loop in `folder`, and the network that it trains towards 1."""

    def __init__(self, folder: Path, *, seconds: float, resume: bool = False) -> None:
        torch.manual_seed(0)
        self.network = torch.nn.Linear(1, 1)
        self.optimizer = torch.optim.Adam(self.network.parameters())
        self.loop = TrainingLoop(
            RunFolder(folder),
            {"network": self.network},
            self.optimizer,
            minutes=seconds / 60,
            resume=resume,
            batch_size=4,
            peak_rate=0.01,
            decay_fraction=0.5,
        )

    def step(self) -> dict[str, float]:
        loss = (self.network(torch.ones(4, 1)) - 1.0).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        time.sleep(0.001)
        return {"loss": loss.item()}


def test_a_later_sitting_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    first = Sitting(tmp_path, seconds=0.2)
    first.loop.take_steps(first.step)
    assert first.loop.progress.seconds >= 0.2
    assert first.loop.progress.images == 4 * first.loop.progress.step
    second = Sitting(tmp_path, seconds=0.4, resume=True)
    assert second.loop.progress == first.loop.progress
    assert torch.equal(second.network.weight, first.network.weight)
    second.loop.take_steps(second.step)
    assert second.loop.progress.step > first.loop.progress.step
    assert second.step()["loss"] < first.step()["loss"]


def test_what_is_due_is_called_and_its_time_does_not_count(tmp_path: Path) -> None:
    sitting = Sitting(tmp_path, seconds=0.2)
    called_at_s: list[float] = []

    def action() -> None:
        time.sleep(0.3)
        called_at_s.append(sitting.loop.progress.seconds)

    sitting.loop.every(0.05, action)
    sitting.loop.take_steps(sitting.step)
    assert 1 <= len(called_at_s) <= 4
    assert all(b - a > 0.05 for a, b in pairwise(called_at_s))


def test_the_log_has_the_mean_losses(tmp_path: Path) -> None:
    sitting = Sitting(tmp_path, seconds=2.0)
    losses: list[float] = []

    def step() -> dict[str, float]:
        losses.append(sitting.step()["loss"])
        if len(losses) == LOG_EVERY_STEPS:
            sitting.loop.progress.seconds = 2.0
        return {"loss": losses[-1]}

    sitting.loop.take_steps(step)
    (line,) = (tmp_path / LOG_NAME).read_text(encoding="utf-8").splitlines()
    entry = json.loads(line)
    assert entry["step"] == LOG_EVERY_STEPS
    assert entry["loss"] == pytest.approx(sum(losses) / len(losses), abs=1e-4)


def test_learning_rate_warms_up_stays_and_falls() -> None:
    def rate(step: int, seconds: float) -> float:
        progress = RunProgress(step=step, seconds=seconds)
        return learning_rate(1.0, progress, 100.0, decay_fraction=0.5)

    assert rate(0, 0.0) == pytest.approx(0.01)
    assert rate(500, 50.0) == 1.0
    assert rate(500, 75.0) == pytest.approx(0.5)
    assert rate(500, 100.0) == pytest.approx(0.02)


def test_average_follows_quickly_at_first() -> None:
    averaged, network = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    averaged.requires_grad_(False)
    averaged.weight.fill_(0.0)
    torch.nn.init.ones_(network.weight)
    average_weights(averaged, network, step=0)
    assert averaged.weight.item() == pytest.approx(0.9)
    average_weights(averaged, network, step=10_000)
    assert averaged.weight.item() == pytest.approx(0.9 + 0.1 * 0.002)
