# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender with the built extension installed, and a worker that needs no models."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
from blender_window import PYTHON, ROOT, BlenderWindow, install_extension


@pytest.fixture(scope="session")
def gui_root() -> Path:
    """Where `scripts/build_gui_blender.sh` put Blender."""
    return Path(os.environ["ONE2345_GUI_ROOT"])


@pytest.fixture(scope="session")
def home_dir(gui_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user folder of Blender's in which the built archive is installed and enabled."""
    folder = tmp_path_factory.mktemp("home")
    install_extension(gui_root, folder)
    return folder


@pytest.fixture
def fake_python(tmp_path: Path) -> Path:
    """An executable that takes the place of the worker's Python, whatever its arguments."""
    script = tmp_path / "fake python"
    worker = ROOT / "tests" / "fake_worker.py"
    script.write_text(f"#!/bin/sh\nexec {shlex.quote(str(PYTHON))} -s {shlex.quote(str(worker))}\n")
    script.chmod(0o755)
    return script


@pytest.fixture
def blender_window(gui_root: Path, home_dir: Path, tmp_path: Path) -> BlenderWindow:
    """Blender in a window that nobody sees."""
    return BlenderWindow(gui_root=gui_root, home_dir=home_dir, tmp_path=tmp_path)
