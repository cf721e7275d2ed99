# SPDX-License-Identifier: GPL-3.0-or-later
"""A training run's folder: resumable state as safetensors and JSON, and the log."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

LOG_NAME = "log.jsonl"


@dataclass(kw_only=True)
class RunProgress:
    """How far a run has come."""

    step: int = 0
    images: int = 0
    seconds: float = 0.0
    """Time spent training, over all sittings."""


class RunFolder:
    """Writes and reads one run.

    Args:
        path: Created where missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def log(self, **entry: Any) -> None:
        """Append one line to the log and show it."""
        line = json.dumps({"time": time.strftime("%H:%M:%S"), **entry})
        with (self.path / LOG_NAME).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        print(line, flush=True)

    def save(
        self,
        progress: RunProgress,
        modules: dict[str, nn.Module],
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Replace the saved state by this one."""
        for name, module in modules.items():
            self._write(name, module.state_dict())
        moments = {
            f"{index}.{key}": value
            for index, values in optimizer.state_dict()["state"].items()
            for key, value in values.items()
        }
        self._write("optimizer", moments)
        (self.path / "progress.json").write_text(json.dumps(asdict(progress)), encoding="utf-8")

    def restore(
        self, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer
    ) -> RunProgress:
        """Load the saved state into `modules` and `optimizer`."""
        for name, module in modules.items():
            module.load_state_dict(load_file(self.path / f"{name}.safetensors"))
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in load_file(self.path / "optimizer.safetensors").items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict(
            {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
        )
        saved = json.loads((self.path / "progress.json").read_text(encoding="utf-8"))
        return RunProgress(**saved)

    def _write(self, name: str, tensors: dict[str, torch.Tensor]) -> None:
        partial = self.path / f"{name}.partial"
        save_file({key: value.contiguous() for key, value in tensors.items()}, partial)
        partial.replace(self.path / f"{name}.safetensors")


def run_options(command: str, description: str | None) -> argparse.ArgumentParser:
    """The options that all training runs share."""
    parser = argparse.ArgumentParser(prog=command, description=description)
    parser.add_argument("--data", type=Path, default=Path("out/training"), help="training data")
    parser.add_argument("--minutes", type=float, required=True, help="time of the whole run")
    parser.add_argument("--resume", action="store_true", help="go on from the saved state")
    parser.add_argument("--rigs-per-asset", type=int, default=2, help="at most so many are read")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    return parser
