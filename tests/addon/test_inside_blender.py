# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs each file of `inside_blender/` in a process of its own, in which bpy may be loaded.

bpy must not share a process with the rest of the suite: it brings its own copies of libraries that
torch uses, and it cannot be unloaded. Each file can also be run by hand:
`python -m pytest tests/addon/inside_blender/check_scene.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parent / "inside_blender").glob("check_*.py"))
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.blender


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_inside_blender(file: Path, tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)],
        cwd=ROOT,
        env={**os.environ, "BLENDER_USER_RESOURCES": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
