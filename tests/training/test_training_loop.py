# SPDX-License-Identifier: GPL-3.0-or-later
"""The loop that all trainings share: its end, its rate, its log, its state, many processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from line_run import BATCH_SIZE, draw, line_loop
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_steps import saved

from one2345_blender.contracts.errors import CheckpointError, OptionError
from one2345_blender.training import run_folder, training_loop
from one2345_blender.training.run_folder import LOG_NAME, RunProgress
from one2345_blender.training.training_loop import (
    LOG_EVERY_STEPS,
    average_weights,
    share_of,
)
from one2345_blender.training.training_options import TrainingOptions

REPOSITORY = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("line_run.py")


def log_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / LOG_NAME).read_text().splitlines()]


def test_training_learns_and_logs_its_mean_losses(tmp_path: Path) -> None:
    line_loop(tmp_path, steps=4 * LOG_EVERY_STEPS).take_steps(draw)
    log = log_of(tmp_path)
    assert [entry["step"] for entry in log] == [LOG_EVERY_STEPS * n for n in (1, 2, 3, 4)]
    assert log[-1]["loss"] < 0.05 * log[0]["loss"]
    assert log[-1]["images"] == BATCH_SIZE * log[-1]["step"]
    curve = EventAccumulator(str(tmp_path)).Reload().Scalars("loss")
    assert [(point.step, point.value) for point in curve] == [
        (entry["step"], pytest.approx(entry["loss"])) for entry in log
    ]
    state = saved(tmp_path)
    assert state["network.line.weight"].item() == pytest.approx(2.0, abs=0.1)
    assert state["averaged.line.bias"].item() == pytest.approx(1.0, abs=0.5)


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path) -> None:
    """Bit by bit, though the first sitting ends at another step than the second."""
    whole = line_loop(tmp_path / "whole", steps=30)
    whole.take_steps(draw)
    first = line_loop(tmp_path / "parts", steps=30)
    first.every(0.0, lambda: first.save() if first.progress.step == 11 else None)

    def stopped_at_12(slots: list) -> torch.Tensor:
        if first.progress.step == 12:
            raise KeyboardInterrupt
        return draw(slots)

    with pytest.raises(KeyboardInterrupt):
        first.take_steps(stopped_at_12)
    second = line_loop(tmp_path / "parts", steps=30, resume=True)
    assert second.progress.step == 11
    second.take_steps(draw)
    one, other = saved(tmp_path / "whole"), saved(tmp_path / "parts")
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_process_that_dies_while_saving_leaves_the_last_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line_loop(tmp_path, steps=5).take_steps(draw)
    before, write = saved(tmp_path), run_folder._write

    def dying(path: Path, tensors: dict[str, torch.Tensor]) -> None:
        write(path, tensors)
        if path.name == "averaged.safetensors":
            raise KeyboardInterrupt

    monkeypatch.setattr(run_folder, "_write", dying)
    with pytest.raises(KeyboardInterrupt):
        line_loop(tmp_path, steps=6, resume=True).take_steps(draw)
    monkeypatch.undo()
    resumed = line_loop(tmp_path, steps=7, resume=True)
    assert resumed.progress.step == 5
    assert all(torch.equal(value, saved(tmp_path)[name]) for name, value in before.items())
    resumed.take_steps(draw)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"state_7"}


def test_the_end_of_a_run_may_be_asked_for_twice(tmp_path: Path) -> None:
    """The state of the last step is not taken apart to be written again."""
    line_loop(tmp_path, steps=5).take_steps(draw)
    (state_dir,) = tmp_path.glob("state_*")
    written = {path: path.stat().st_mtime_ns for path in state_dir.iterdir()}
    line_loop(tmp_path, steps=5, resume=True).take_steps(draw)
    assert {path: path.stat().st_mtime_ns for path in state_dir.iterdir()} == written


def test_a_new_run_sets_the_old_one_aside(tmp_path: Path) -> None:
    for steps in (LOG_EVERY_STEPS, 2 * LOG_EVERY_STEPS):
        line_loop(tmp_path, steps=steps).take_steps(draw)
    assert [entry["step"] for entry in log_of(tmp_path)] == [LOG_EVERY_STEPS, 2 * LOG_EVERY_STEPS]
    assert sorted(path.name for path in tmp_path.glob("*_*")) == ["earlier_1", "state_100"]
    earlier = tmp_path / "earlier_1"
    assert [entry["step"] for entry in log_of(earlier)] == [LOG_EVERY_STEPS]
    assert len(list(tmp_path.glob("events.out.*"))) == 1
    resumed = line_loop(earlier, steps=LOG_EVERY_STEPS + 1, resume=True)
    assert resumed.progress.step == LOG_EVERY_STEPS


TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node=2")
ACCELERATE = ("accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--num_machines=1")
"""Where there is no GPU, its processes meet over gloo; `--cpu` would start only one."""


@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_two_processes_learn_what_one_learns(launcher: tuple[str, ...], tmp_path: Path) -> None:
    """The same batch shared out: the same curve, and the same weights up to rounding."""
    line_loop(tmp_path / "one", steps=2 * LOG_EVERY_STEPS).take_steps(draw)
    command = [sys.executable, "-m", *launcher]
    arguments = [str(SCRIPT), str(tmp_path / "two"), str(2 * LOG_EVERY_STEPS)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *arguments], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "two").glob("process_*")} == {
        "process_0_of_2",
        "process_1_of_2",
    }
    curves = [[entry["loss"] for entry in log_of(tmp_path / name)] for name in ("one", "two")]
    assert curves[0] == pytest.approx(curves[1], abs=2e-4)
    one, two = saved(tmp_path / "one"), saved(tmp_path / "two")
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-4, rtol=1e-4)


def test_a_batch_that_cannot_be_shared_out_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ThreeProcesses:
        num_processes = 3

    monkeypatch.setattr(training_loop, "accelerator", ThreeProcesses)
    with pytest.raises(OptionError, match="cannot share out a batch of 4"):
        line_loop(tmp_path, steps=1)


def test_shards_are_disjoint_and_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"object {number}" for number in range(7)]

    def shard(index: int) -> list[str]:
        class Process:
            process_index, num_processes = index, 3

        monkeypatch.setattr(training_loop, "accelerator", Process)
        return share_of(names, TrainingOptions(data=tmp_path, steps=1, shard_data=True))

    shards = [shard(index) for index in range(3)]
    assert sorted(name for part in shards for name in part) == names
    assert share_of(names, TrainingOptions(data=tmp_path, steps=1)) == names


def test_what_is_due_is_called_and_its_time_does_not_count(tmp_path: Path) -> None:
    loop = line_loop(tmp_path, steps=40)
    called_at_s: list[float] = []

    def action() -> None:
        time.sleep(0.2)
        called_at_s.append(loop.progress.seconds)

    def slow_draw(slots: list) -> torch.Tensor:
        time.sleep(0.01)
        return draw(slots)

    loop.every(0.1, action)
    loop.take_steps(slow_draw)
    assert called_at_s
    assert all(later - earlier > 0.1 for earlier, later in pairwise(called_at_s))


def test_what_is_due_at_the_end_is_called_once(tmp_path: Path) -> None:
    loop = line_loop(tmp_path, steps=3)
    called: list[tuple[str, int]] = []
    loop.every(1e9, lambda: called.append(("at the end", loop.progress.step)), at_end=True)
    loop.every(1e9, lambda: called.append(("never", loop.progress.step)))
    loop.take_steps(draw)
    assert called == [("at the end", 3)]


def test_the_user_may_say_batch_rate_and_decay(tmp_path: Path) -> None:
    said = {"batch_size": 2 * BATCH_SIZE, "learning_rate": 0.01, "decay_fraction": 0.1}
    loop = line_loop(tmp_path, steps=1000, **said)
    loop.progress.step = 850
    assert loop._set_rate() == pytest.approx(0.01)
    loop.progress.step = 999
    loop.take_steps(draw)
    assert loop.progress.images == 2 * BATCH_SIZE


def test_objects_of_the_sitting_with_most_are_remembered(tmp_path: Path) -> None:
    loop = line_loop(tmp_path, steps=1)
    for num_objects in (3, 7, 5):
        loop.saw(num_objects)
    loop.take_steps(draw)
    again = line_loop(tmp_path, steps=2, resume=True)
    again.saw(2)
    assert again.progress.objects == 7


def test_nothing_to_go_on_from_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no saved state"):
        line_loop(tmp_path, steps=5, resume=True)


@pytest.mark.parametrize("end", [{}, {"minutes": 1.0, "steps": 5}])
def test_a_run_has_one_end(tmp_path: Path, end: dict) -> None:
    with pytest.raises(OptionError, match="needs an end"):
        TrainingOptions(data=tmp_path, **end)


def test_minutes_are_of_all_sittings() -> None:
    options = TrainingOptions(data=Path(), minutes=2.0)
    assert options.share_left(RunProgress(seconds=30.0)) == 0.75
    assert options.share_left(RunProgress(seconds=500.0)) == 0.0


def test_learning_rate_warms_up_stays_and_falls(tmp_path: Path) -> None:
    loop = line_loop(tmp_path, steps=1000)

    def rate(step: int) -> float:
        loop.progress.step = step
        return loop._set_rate() / 0.1

    assert rate(0) == pytest.approx(0.01)
    assert rate(400) == pytest.approx(1.0)
    assert rate(750) == pytest.approx(0.5)
    assert rate(1000) == pytest.approx(0.02)


def test_average_follows_quickly_at_first() -> None:
    averaged, network = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    averaged.requires_grad_(False)
    averaged.weight.fill_(0.0)
    torch.nn.init.ones_(network.weight)
    average_weights(averaged, network, step=0)
    assert averaged.weight.item() == pytest.approx(0.9)
    average_weights(averaged, network, step=10_000)
    assert averaged.weight.item() == pytest.approx(0.9 + 0.1 * 0.002)
