# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded preset needs no network and no place of its own to write to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.preset

ROOT = Path(__file__).resolve().parents[2]
SEAL = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
CONVERT = """
import json, sys
from pathlib import Path
calls = []
sys.addaudithook(lambda event, _: calls.append(event) if event.startswith("socket.") else None)
from one2345_blender.installation.stage_trial import try_each_stage
findings = list(try_each_stage())
lines = Path("/proc/net/dev").read_text().splitlines()[2:]
traffic = {name.strip(): sum(map(int, numbers.split())) for name, numbers in
           (line.split(":") for line in lines)}
print(json.dumps({"calls": calls, "traffic": traffic, "status": [f.status for f in findings]}))
"""


def sealed(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run without network interfaces, the package on a read-only mount."""
    seal = ["unshare", "--net", "--mount", "sh", "-c", SEAL, "sh", str(ROOT / "one2345_blender")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    try:
        return subprocess.run(
            [*seal, *command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("unshare is a command of Linux")


def test_a_conversion_without_a_network_from_a_read_only_folder() -> None:
    """Bytes sent, connections made, names looked up: none. `pytest -s` prints the counts.

    The one socket is urllib3's: when it is imported it looks whether there is IPv6.
    """
    probe = sealed([sys.executable, "-c", "open('one2345_blender/probe', 'w')"])
    if "Operation not permitted" in probe.stderr:
        pytest.skip("namespaces need root, or a system that allows them to users")
    assert "Read-only file system" in probe.stderr, probe.stderr
    finished = sealed([sys.executable, "-c", CONVERT])
    assert finished.returncode == 0, finished.stderr
    counted = json.loads(finished.stdout.splitlines()[-1])
    print(counted)  # noqa: T201 - the number that was asked for
    assert len(counted["status"]) == 10 and set(counted["status"]) == {"ok"}
    assert counted["calls"] in ([], ["socket.__new__", "socket.bind"])
    assert set(counted["traffic"].values()) == {0}
