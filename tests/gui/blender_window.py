# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs checks in a Blender window that nobody sees, and looks for processes that outlive it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(sys.prefix).resolve() / "bin" / "python"
"""This interpreter under a name that leads there without links elsewhere."""
INSIDE = Path(__file__).parent / "inside_window"
RUN_VARIABLE = "ONE2345_GUI_RUN"
"""Marks every process that a run starts, also those that leave its process group."""
SCREEN = "1280x800"
GONE_WITHIN_S = 5.0
LANGUAGES = """\
0:Complete:
0:Automatic (Automatic):DEFAULT
1:English (English):en_US
5:German (Deutsch):de_DE
"""
"""That one can choose; the tree has no translations of Blender itself, and so no list of them."""


def paths_of_this_python() -> list[Path]:
    """What the worker's interpreter needs: its environment, and the Python that it is made from."""
    environment = PYTHON.parents[1]
    if sys.base_prefix != "/usr":
        return [environment, Path(sys.base_prefix)]
    # a distribution's: /usr as a whole would hide that of the other system
    return [environment, Path(sys.executable).resolve(), Path(sysconfig.get_path("stdlib"))]


def processes_of_run(run_id: str) -> dict[int, str]:
    """Process id -> command line of what is left of a run."""
    mark = f"{RUN_VARIABLE}={run_id}".encode()
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found[int(folder.name)] = command
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it ended while we looked, or is not ours
    return found


@dataclass(frozen=True)
class Outcome:
    """What a check left behind."""

    output_dir: Path
    has_passed: bool
    text: str
    """What Blender printed."""
    processes_left: dict[int, str]
    """Process id -> command line, of those that outlived Blender by `GONE_WITHIN_S`."""


@dataclass(frozen=True)
class BlenderWindow:
    """Runs checks of `inside_window/`, each in a Blender of its own."""

    gui_root: Path
    home_dir: Path
    """`BLENDER_USER_RESOURCES` with the extension installed and enabled."""
    tmp_path: Path
    """Each run gets a folder below."""

    def run(self, check: str, *, timeout_s: float = 600.0, **environ: str) -> Outcome:
        """Run `<file>:<function>`.

        Raises:
            subprocess.TimeoutExpired: It took too long.
        """
        file, function = check.split(":")
        run_id = uuid.uuid4().hex
        output_dir = self.tmp_path / run_id
        shutil.copytree(self.home_dir, output_dir / "home")
        blender = [
            *("blender", "--gpu-backend", "opengl", "--enable-event-simulate"),
            *("--no-window-focus", "--window-geometry", "0", "0", *SCREEN.split("x")),
            *("--python-exit-code", "1", "--python", INSIDE / "run_check.py"),
            *("--", INSIDE / f"{file}.py", function, output_dir),
        ]
        command = [
            *("env", f"BLENDER_USER_RESOURCES={output_dir / 'home'}"),
            *("xvfb-run", "-a", "-s", f"-screen 0 {SCREEN}x24"),
            *blender,
        ]
        try:
            finished = self._inside(
                command, output_dir, timeout_s, environ={**environ, RUN_VARIABLE: run_id}
            )
            left = _left_after(run_id)
        finally:
            for pid in processes_of_run(run_id):
                os.kill(pid, signal.SIGKILL)
        return Outcome(
            output_dir=output_dir,
            has_passed=(output_dir / "passed").is_file(),
            text=finished.stdout,
            processes_left=left,
        )

    def _inside(
        self, command: list[object], output_dir: Path, timeout_s: float, environ: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        return run_in_gui_blender(
            self.gui_root,
            command,
            read=[ROOT, *paths_of_this_python(), self.tmp_path],
            write=[output_dir],
            timeout_s=timeout_s,
            environ=environ,
        )


def run_in_gui_blender(
    gui_root: Path,
    command: list[object],
    *,
    read: list[Path],
    write: list[Path],
    timeout_s: float,
    environ: dict[str, str],
) -> subprocess.CompletedProcess[str]:
    """`scripts/run_in_gui_blender.sh`; stdout and stderr together."""
    binds = [part for path in read for part in ("--read", path)]
    binds += [part for path in write for part in ("--write", path)]
    arguments = [ROOT / "scripts" / "run_in_gui_blender.sh", gui_root, *binds, *command]
    return subprocess.run(
        [str(argument) for argument in arguments],
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def _left_after(run_id: str) -> dict[int, str]:
    """What is left when the processes had the time that they are granted."""
    deadline_s = time.monotonic() + GONE_WITHIN_S
    while (left := processes_of_run(run_id)) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    return left


def install_extension(gui_root: Path, folder: Path) -> None:
    """Build the archive, then install and enable it in `folder`, a `BLENDER_USER_RESOURCES`."""
    with tempfile.TemporaryDirectory() as dist:
        build = [sys.executable, "scripts/build_extension.py", "--output-dir", dist]
        subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(dist).glob("*.zip")
        install = ["blender", "--command", "extension", "install-file", "-r", "user_default"]
        finished = run_in_gui_blender(
            gui_root,
            ["env", f"BLENDER_USER_RESOURCES={folder}", *install, "--enable", archive],
            read=[archive.parent],
            write=[folder],
            timeout_s=300,
            environ={},
        )
    assert finished.returncode == 0, finished.stdout
    (gui_root / "usr" / "share" / "locale" / "languages").write_text(LANGUAGES, encoding="utf-8")
