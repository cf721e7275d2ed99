# SPDX-License-Identifier: GPL-3.0-or-later
"""When the process that started a worker is killed, the worker ends by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import is_alive
from tiny_release import wait_for

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="Linux")

ROOT = Path(__file__).resolve().parents[2]
FAKE_WORKER = ROOT / "tests" / "fake_worker.py"
PARENT = """
import os, sys, time
from pathlib import Path
from one2345_blender.client.environment import WorkerLaunch, worker_launch
from one2345_blender.client.worker_process import WorkerProcess

folder, fake_worker, mode = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
real = worker_launch(Path(sys.executable), os.environ)
env = {**real.env, "ONE2345_FAKE_MODE": "ok" if mode == "half a line" else mode}
launch = WorkerLaunch(argv=(*real.argv[:-2], fake_worker), env=env)
worker = WorkerProcess(launch, working_dir=folder, log_path=folder / "worker.log")
if mode in ("slow", "deaf"):
    worker.run({"job_id": "j", "image_path": "/a.png", "output_dir": str(folder / "out")})
    while not any(event["type"] == "progress" for event in worker.poll()):
        time.sleep(0.02)
if mode == "half a line":
    worker._process.send(b'{"type":"run","job":')
print(worker._process.pid, flush=True)
time.sleep(600)
"""


WITHIN_S = 5.0


def is_reading(pid: int) -> bool:
    """The worker has taken the wire to itself: a second descriptor is the pipe that stdin was."""
    try:
        links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    except FileNotFoundError:  # closed while we looked
        return False
    return sum(link.startswith("pipe:") for link in links) == 2 and os.devnull in links


@pytest.mark.parametrize(
    "mode",
    ["ok", "slow", "deaf", "half a line"],
    ids=["idle", "converting", "heeds no cancel", "half a line on the wire"],
)
def test_a_worker_does_not_outlive_a_killed_parent(tmp_path: Path, mode: str) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path), str(FAKE_WORKER), mode]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_for(lambda: is_reading(pid))
        parent.kill()
    wait_for(lambda: not is_alive(pid), WITHIN_S)
    assert not (tmp_path / "out" / "mesh.npz").exists()
