# SPDX-License-Identifier: GPL-3.0-or-later
"""A process is ended together with its children, also where Windows has its own way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import is_alive
from tiny_release import wait_for

ROOT = Path(__file__).resolve().parents[2]
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""
END_IT = """
import subprocess, sys
if sys.argv[1] == "as on Windows":
    sys.platform = "win32"
    subprocess.CREATE_NEW_PROCESS_GROUP = subprocess.CREATE_NO_WINDOW = 0
from one2345_blender.client import process_group
parent = subprocess.Popen(
    [sys.executable, "-c", sys.argv[3]], stdout=subprocess.PIPE, **process_group.POPEN_OPTIONS
)
child = int(parent.stdout.readline())
getattr(process_group, sys.argv[2])(parent)
parent.wait(60)
print(child)
"""
TASKKILL = """#!{python}
import os, sys
assert "/T" in sys.argv, "without its children"
parent = sys.argv[sys.argv.index("/PID") + 1]
for child in open(f"/proc/{{parent}}/task/{{parent}}/children").read().split():
    os.kill(int(child), 9)
os.kill(int(parent), 9)
"""
"""What Windows's tool does, for this system."""


@pytest.mark.skipif(not Path("/proc/thread-self/children").is_file(), reason="Linux")
@pytest.mark.parametrize("way", ["terminate", "kill"])
@pytest.mark.parametrize("system", ["here", "as on Windows"])
def test_children_end_too(tmp_path: Path, system: str, way: str) -> None:
    tool = tmp_path / "taskkill"
    tool.write_text(TASKKILL.format(python=sys.executable))
    tool.chmod(0o700)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    answer = subprocess.check_output(
        [sys.executable, "-c", END_IT, system, way, PARENT],
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        timeout=120,
    )
    wait_for(lambda: not is_alive(int(answer)))
