# SPDX-License-Identifier: GPL-3.0-or-later
"""The built extension in a real Blender window, used as a person would use it.

Runs each function `check_…` of `inside_window/check_*.py` in a Blender of its own; no process may
outlive it. `make test-gui` builds what this needs.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from blender_window import INSIDE, PYTHON, ROOT, BlenderWindow

pytestmark = pytest.mark.window

PICTURES = ROOT / "out" / "gui"
"""Screenshots of all checks, to be looked at."""
CHECKS = [
    f"{file.stem}:{function}"
    for file in sorted(INSIDE.glob("check_*.py"))
    for function in re.findall(r"^def (check_\w+)\(", file.read_text(encoding="utf-8"), re.M)
]


@pytest.mark.parametrize("check", CHECKS)
def test_in_the_window(check: str, blender_window: BlenderWindow, fake_python: Path) -> None:
    run(blender_window, check, worker=fake_python)


@pytest.mark.preset
def test_the_real_worker(blender_window: BlenderWindow) -> None:
    run(blender_window, "real_worker:convert_a_photo", worker=PYTHON)


def run(blender_window: BlenderWindow, check: str, *, worker: Path) -> None:
    outcome = blender_window.run(check, ONE2345_PYTHON=str(worker))
    PICTURES.mkdir(parents=True, exist_ok=True)
    for picture in outcome.output_dir.glob("*.png"):
        shutil.copy(picture, PICTURES)
    assert outcome.has_passed, outcome.text
    assert outcome.processes_left == {}
