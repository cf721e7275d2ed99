# SPDX-License-Identifier: GPL-3.0-or-later
"""An empty Blender for every test, and a worker that needs no models."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import bpy
import pytest

from one2345_blender import addon

REAL_PYTHON = os.environ.get("ONE2345_PYTHON", sys.executable)
"""The worker's Python before the tests name the fake one."""
FAKE_WORKER = Path(__file__).parents[2] / "fake_worker.py"


@pytest.fixture
def fake_python(tmp_path: Path) -> Path:
    """An executable that takes the place of the worker's Python, whatever its arguments."""
    script = tmp_path / "fake python"
    script.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -s {FAKE_WORKER}\n")
    script.chmod(0o755)
    return script


@pytest.fixture(autouse=True)
def empty_blender(fake_python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No objects, and `ONE2345_PYTHON` names the fake worker."""
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    monkeypatch.setenv("ONE2345_PYTHON", str(fake_python))


@pytest.fixture
def registered_addon(empty_blender: None) -> Iterator[None]:
    """The add-on, registered from source."""
    addon.register()
    yield
    addon.unregister()
