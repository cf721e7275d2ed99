# SPDX-License-Identifier: GPL-3.0-or-later
"""What every test gets: the same seeds, and a stated reason where a tool it needs is absent."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

TESTS = Path(__file__).resolve().parent
PACKAGE = TESTS.parent / "one2345_blender"
ROOM_NEEDS = {
    "addon": ("bpy",),
    "pipeline": ("torch", "diffusers", "skimage", "trimesh"),
    "installation": ("torch", "diffusers", "skimage", "trimesh"),
    "evaluation": ("torch", "diffusers", "skimage", "trimesh", "moderngl"),
    "training": ("torch", "diffusers", "moderngl"),
}
"""Modules without which a folder of tests cannot even be collected."""
SEED = 2345


class _AbsentToolModule(pytest.Module):
    """A test file that reports why it is skipped, without being imported."""

    reason = ""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        pytest.skip(self.reason, allow_module_level=True)


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    room = module_path.relative_to(TESTS).parts[0]
    absent = [name for name in ROOM_NEEDS.get(room, ()) if find_spec(name) is None]
    if not absent:
        return None
    module: _AbsentToolModule = _AbsentToolModule.from_parent(parent, path=module_path)
    module.reason = f"needs {', '.join(absent)} (make setup)"
    return module


def _has_cuda() -> bool:
    if find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def _has_preset() -> bool:
    embedded = PACKAGE / "pipeline" / "presets" / "embedded"
    return (embedded / "model_index.json").is_file() and find_spec("torch") is not None


CONDITIONS: dict[str, tuple[Callable[[], bool], str]] = {
    "blender": (lambda: find_spec("bpy") is not None, "bpy is not installed"),
    "torch": (lambda: find_spec("torch") is not None, "torch is not installed"),
    "gpu": (_has_cuda, "no CUDA device"),
    "weights": (
        lambda: Path(os.environ.get("ONE2345_WEIGHTS", "/nonexistent")).is_dir(),
        "ONE2345_WEIGHTS names no folder with the published weights",
    ),
    "reference": (
        lambda: (
            Path(os.environ.get("ONE2345_REFERENCE", "/nonexistent")) / "small_io.safetensors"
        ).is_file(),
        "ONE2345_REFERENCE names no folder with the recordings of the original's view synthesis",
    ),
    "window": (
        lambda: (Path(os.environ.get("ONE2345_GUI_ROOT", "/nonexistent")) / ".ready").is_file(),
        "no Blender with a window was built (make test-gui)",
    ),
    "preset": (_has_preset, "the embedded preset has no weights"),
}
"""Marker -> whether its tests can run, and the reason if not."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    used = {mark.name for item in items for mark in item.iter_markers()}
    unmet = {
        name: reason
        for name, (is_met, reason) in CONDITIONS.items()
        if name in used and not is_met()
    }
    for item in items:
        for name in unmet.keys() & {mark.name for mark in item.iter_markers()}:
            item.add_marker(pytest.mark.skip(reason=unmet[name]))


@pytest.fixture(autouse=True)
def _same_seeds() -> None:
    """Every test starts from the same random state, in whatever order the tests run."""
    random.seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002 - libraries under test may draw from the global state
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(SEED)


@pytest.fixture(scope="session")
def tiny_preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a preset with tiny untrained networks (`tiny_preset.py`)."""
    pytest.importorskip("torch")
    from tiny_preset import save_tiny_preset

    return save_tiny_preset(tmp_path_factory.mktemp("preset") / "tiny")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a disk of so many bytes; skips where mounting is not allowed."""
    mounted: list[Path] = []

    def mount(size_bytes: int) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("mounting a tmpfs needs root on Linux")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
