# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints of a training framework are read; code in them is not run."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from one2345_blender.contracts.errors import CheckpointError
from one2345_blender.pipeline.checkpoint_file import read_checkpoint_file

HINT = "Do this."
CALLBACK = "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint"
SETTINGS = "pytorch_lightning.utilities.parsing.AttributeDict"


class Malicious:
    """Pickled as a call of a shell command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


@pytest.fixture
def framework() -> Iterator[dict[str, type]]:
    """Classes that exist while a checkpoint is written, and no longer when it is read."""
    modules, classes = {}, {}
    for full_name, base in ((CALLBACK, object), (SETTINGS, dict)):
        module_name, name = full_name.rsplit(".", 1)
        for package in accumulate(module_name.split("."), "{}.{}".format):
            modules.setdefault(package, types.ModuleType(package))
            modules[package].__path__ = []
        classes[name] = type(name, (base,), {"__module__": module_name})
        setattr(modules[module_name], name, classes[name])
    sys.modules.update(modules)
    yield classes
    forget_framework()


def forget_framework() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "pytorch_lightning"]:
        del sys.modules[name]


def test_settings_of_a_framework_are_inert(tmp_path: Path, framework: dict[str, type]) -> None:
    path = tmp_path / "last.ckpt"
    callback = framework["ModelCheckpoint"]
    state = callback()
    state.monitor = "val/loss"  # type: ignore[attr-defined]
    checkpoint = {
        "state_dict": {"weight": torch.arange(6.0).view(2, 3)},
        "global_step": 165000,
        "callbacks": {callback: {"best_model_score": np.float64(0.5), "state": state}},
        "hyper_parameters": framework["AttributeDict"](base_learning_rate=1e-4),
    }
    torch.save(checkpoint, path)
    forget_framework()
    read = read_checkpoint_file(path, hint=HINT)
    assert torch.equal(read["state_dict"]["weight"], checkpoint["state_dict"]["weight"])
    assert read["global_step"] == 165000
    assert read["hyper_parameters"] == {"base_learning_rate": 1e-4}
    (callback_read,) = read["callbacks"]
    assert not hasattr(read["callbacks"][callback_read]["state"], "monitor")


def test_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "evil.ckpt", tmp_path / "ran"
    torch.save({"state_dict": {}, "gift": Malicious(f"touch {trace}")}, path)
    with pytest.raises(CheckpointError, match="system") as caught:
        read_checkpoint_file(path, hint=HINT)
    assert caught.value.hint == HINT
    assert not trace.exists()


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(2)}, tmp_path / "model.safetensors")
    read = read_checkpoint_file(tmp_path / "model.safetensors", hint=HINT)
    assert torch.equal(read["weight"], torch.ones(2))


@pytest.mark.parametrize("name", ["cut.ckpt", "cut.safetensors"])
def test_damaged_files_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(CheckpointError, match="cut"):
        read_checkpoint_file(tmp_path / name, hint=HINT)


def test_a_single_tensor_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save(torch.ones(2), tmp_path / "tensor.pth")
    with pytest.raises(CheckpointError, match="expected a dict"):
        read_checkpoint_file(tmp_path / "tensor.pth", hint=HINT)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="found none"):
        read_checkpoint_file(tmp_path / "none.ckpt", hint=HINT)
