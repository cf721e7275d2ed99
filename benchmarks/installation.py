# SPDX-License-Identifier: GPL-3.0-or-later
"""What an installation of the runtime costs: from nothing, after kills, and without a network.

Run with the Python that is to be the base: `python3.11 benchmarks/installation.py`. It installs
three times below a temporary folder (4 GB), and leaves nothing there:

- from nothing, down to the conversion of `--verify`;
- killed with its children, as the add-on would, after a fifth of the download, in the midst of the
  packages and before the verification, each time started again with the same command;
- from a wheelhouse, in a network namespace without interfaces (Linux, root).

Each row is one run of `vendor_install.py`. CPU seconds stand beside the wall's: on a busy machine
the process waits for its turn. They do not hold those of what was killed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).resolve().parents[1] / "vendor_install.py"
NO_NETWORK = ("unshare", "--net")
SOME_PACKAGES_BYTES = 200_000_000
"""Of more than a thousand million."""
Event = dict[str, Any]


def folder_bytes(folder: Path) -> int:
    """Sizes of all files below a folder, in which others may be at work."""
    sizes = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            sizes += 0 if path.is_dir() else path.lstat().st_size
    return sizes


def is_downloading(event: Event) -> bool:
    """A fifth of all bytes are there."""
    return event["type"] == "progress" and event["step"] > event["steps"] / 5


def is_half_installed(environment: Path) -> Callable[[Event], bool]:
    """Packages are being installed, and some are there."""

    def is_so(event: Event) -> bool:
        if not begins("install")(event):
            return False
        while folder_bytes(environment) < SOME_PACKAGES_BYTES:
            time.sleep(0.05)
        return True

    return is_so


def begins(stage: str) -> Callable[[Event], bool]:
    """A stage begins."""
    return lambda event: event["type"] == "stage" and event["name"] == stage


def never(_event: Event) -> bool:
    """The run is left to its end."""
    return False


def run(
    what: str,
    *arguments: str,
    wheels: Path,
    killed_when: Callable[[Event], bool] = never,
    prefix: Sequence[str] = (),
) -> Event:
    """Run the installer, print its row, and return the last event.

    Args:
        wheels: The folder that it downloads to.
        killed_when: Tells from an event that the moment to kill it has come.
        prefix: A command that starts it.
    """
    before_bytes, began_s, began_cpu_s = folder_bytes(wheels), time.monotonic(), children_cpu_s()
    had_bytes, event = before_bytes, {}
    command = [*prefix, sys.executable, str(SCRIPT), *arguments, "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        for event in events(process):
            if begins("create_environment")(event) or event["type"] == "result":
                had_bytes = max(had_bytes, folder_bytes(wheels))
            if killed_when(event):
                os.killpg(process.pid, signal.SIGKILL)
                had_bytes = max(had_bytes, folder_bytes(wheels))
    wall_s, cpu_s = time.monotonic() - began_s, children_cpu_s() - began_cpu_s
    was_killed = process.returncode == -signal.SIGKILL
    if was_killed is (killed_when is never) or process.returncode > 0:
        raise SystemExit(f"{what}: {event}")
    fetched_mb = (had_bytes - before_bytes) / 1e6
    print(f"| {what} | {wall_s:.0f} | {cpu_s:.0f} | {fetched_mb:.0f} |", flush=True)
    return event


def events(process: subprocess.Popen[str]) -> Iterator[Event]:
    """What the installer says, until it ends; the line that a kill has cut is left out."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.endswith("\n"):
            yield json.loads(line)


def children_cpu_s() -> float:
    """Of all processes that ended and were waited for, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def remove(target: Path) -> int:
    """Remove an environment; the bytes that this frees."""
    command = [sys.executable, str(SCRIPT), "--target", str(target), "--remove", "--json"]
    freed: int = json.loads(subprocess.check_output(command))["report"]["freed_bytes"]
    return freed


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", default="cpu", help="build of PyTorch")
    parser.add_argument("--tool", default="auto", help="uv, pip, or whichever is there")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    options = parser.parse_args()
    build = ["--device", options.device, "--tool", options.tool]
    print("| run | wall s | CPU s | fetched, MB |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        target, work = Path(folder, "runtime"), Path(folder, "runtime.work")
        wheels, environment = work / "wheels", work / "environment"
        install = [*build, "--target", str(target)]
        result = run("from nothing, verified", *install, "--verify", wheels=wheels)
        size_mb = folder_bytes(target) / 1e6
        freed_mb = remove(target) / 1e6
        for what, moment in (
            ("killed after a fifth of the download", is_downloading),
            ("again, killed in the midst of the packages", is_half_installed(environment)),
            ("again, killed before verifying", begins("verify")),
        ):
            run(what, *install, "--verify", wheels=wheels, killed_when=moment)
        run("again, verified", *install, "--verify", wheels=wheels)
        remove(target)
        wheelhouse = Path(folder, "wheelhouse")
        run("wheelhouse made", *build, "--make-wheelhouse", str(wheelhouse), wheels=wheelhouse)
        offline = [*install, "--wheelhouse", str(wheelhouse), "--verify"]
        run("from it, no network, verified", *offline, wheels=wheels, prefix=NO_NETWORK)
    verified = result["report"]["verified"]
    print(f"\n{size_mb:.0f} MB on disk, {freed_mb:.0f} MB freed by --remove; verified: {verified}")


if __name__ == "__main__":
    main()
