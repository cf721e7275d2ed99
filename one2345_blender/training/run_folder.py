# SPDX-License-Identifier: GPL-3.0-or-later
"""A training run's folder: resumable state as safetensors and JSON, the log, TensorBoard's."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from ..contracts.errors import CheckpointError
from ..contracts.job_folder import atomic_write

LOG_NAME = "log.jsonl"
PROGRESS_NAME = "progress.json"


@dataclass(kw_only=True)
class RunProgress:
    """How far a run has come."""

    step: int = 0
    images: int = 0
    seconds: float = 0.0
    """Time spent training, over all sittings."""
    objects: int = 0
    """Whose pictures were trained on, in the sitting with most of them; 0: nobody counted."""


class RunFolder:
    """Writes and reads one run.

    Args:
        path: Created where missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._events: SummaryWriter | None = None

    def log(self, step: int, **entry: Any) -> None:
        """Append one line to the log and show it; its numbers become TensorBoard's curves."""
        line = json.dumps({"time": time.strftime("%H:%M:%S"), "step": step, **entry})
        with (self.path / LOG_NAME).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        print(line, flush=True)
        if self._events is None:
            self._events = SummaryWriter(self.path)
        for name, value in _numbers(entry).items():
            self._events.add_scalar(name, value, step)
        self._events.flush()

    def holds(self, path: Path) -> bool:
        """Whether a path lies in this folder."""
        return path.resolve().is_relative_to(self.path.resolve())

    def start_anew(self) -> None:
        """Move all that an earlier run left to `earlier_N` in the folder."""
        if not any((self.path / name).is_file() for name in (LOG_NAME, PROGRESS_NAME)):
            return
        left = [path for path in self.path.iterdir() if not path.name.startswith("earlier_")]
        folders = (self.path / f"earlier_{number}" for number in itertools.count(1))
        earlier = next(folder for folder in folders if not folder.exists())
        earlier.mkdir()
        for path in left:
            path.rename(earlier / path.name)

    def save(
        self,
        progress: RunProgress,
        modules: dict[str, nn.Module],
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Replace the saved state by this one: whole, or not at all if the process dies."""
        previous = self._read_progress()
        if previous is not None and previous.step == progress.step:
            return  # nothing was learnt since, and this state must not be taken apart
        unfinished = self.path / "unfinished_state"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        for name, module in modules.items():
            _write(unfinished / f"{name}.safetensors", module.state_dict())
        moments = {
            f"{index}.{key}": value
            for index, values in optimizer.state_dict()["state"].items()
            for key, value in values.items()
        }
        _write(unfinished / "optimizer.safetensors", moments)
        state_dir = self._state_dir(progress)
        shutil.rmtree(state_dir, ignore_errors=True)
        unfinished.rename(state_dir)
        with atomic_write(self.path / PROGRESS_NAME) as file:
            file.write(json.dumps(asdict(progress)).encode())
        if previous is not None:
            shutil.rmtree(self._state_dir(previous), ignore_errors=True)

    def restore(
        self, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer
    ) -> RunProgress:
        """Load the saved state into `modules` and `optimizer`.

        Raises:
            CheckpointError: Nothing was saved yet, or not what is trained now.
        """
        progress = self._read_progress()
        if progress is None:
            raise CheckpointError(
                f"{self.path} holds no saved state to go on from.",
                hint="Start the training without --resume.",
            )
        state_dir = self._state_dir(progress)
        if missing := [n for n in modules if not (state_dir / f"{n}.safetensors").is_file()]:
            raise CheckpointError(
                f"Expected {' and '.join(missing)} in {state_dir}: it is another version's.",
                hint="Start the training without --resume.",
            )
        for name, module in modules.items():
            module.load_state_dict(load_file(state_dir / f"{name}.safetensors"))
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in load_file(state_dir / "optimizer.safetensors").items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict(
            {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
        )
        for parameter, moments in optimizer.state.items():
            for key, value in moments.items():
                if value.shape == parameter.shape:
                    # PyTorch's fused optimizers pair numbers by their place in memory
                    moments[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        return progress

    def _state_dir(self, progress: RunProgress) -> Path:
        return self.path / f"state_{progress.step}"

    def _read_progress(self) -> RunProgress | None:
        path = self.path / PROGRESS_NAME
        if not path.is_file():
            return None
        return RunProgress(**json.loads(path.read_text(encoding="utf-8")))


def read_log(run_dir: Path) -> list[dict[str, Any]]:
    """All lines of a run's log, oldest first; none where there is no log."""
    path = run_dir / LOG_NAME
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _write(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file({key: value.contiguous() for key, value in tensors.items()}, path)


def _numbers(entry: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a log entry, those of nested tables under `outer/inner`."""
    found: dict[str, float] = {}
    for name, value in entry.items():
        if isinstance(value, dict):
            found |= _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            found[prefix + name] = float(value)
    return found
