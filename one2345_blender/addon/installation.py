# SPDX-License-Identifier: GPL-3.0-or-later
"""The one command that installs, fetches or removes; Blender's main thread only."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..client.command_process import CommandProcess
from ..client.disk_usage import FolderSizes
from ..client.environment import WorkerLaunch, find_worker_python
from ..client.installation_commands import (
    DOWNLOAD_JOB,
    INSTALL_JOB,
    installer_launch,
    weights_launch,
)
from ..client.job_state import JobState
from . import preferences, timers, viewport

PUBLISHED_PRESET = "zero123-xl"
SIZES = FolderSizes()
"""Of the runtime and the weights."""
_POLL_INTERVAL_S = 0.2


class Installation:
    """What runs now, or ran last."""

    def __init__(self) -> None:
        self.action = ""
        """Identifier of the operator that started it."""
        self._process: CommandProcess | None = None
        self._changes_runtime = False

    @property
    def state(self) -> JobState | None:
        """How it stands; None: nothing was done yet."""
        return self._process.state if self._process else None

    @property
    def is_busy(self) -> bool:
        """True while a command runs."""
        return self._process is not None and not self._process.is_over

    @property
    def is_changing_runtime(self) -> bool:
        """True while the runtime is installed or removed: no worker may start in it."""
        return self._changes_runtime and self.is_busy

    def run_installer(self, action: str, *arguments: str) -> None:
        """Start `vendor_install.py` for the extension's runtime, in Blender's own Python.

        Raises:
            EnvironmentMissingError: It cannot be started.
        """
        target = preferences.runtime_dir()
        assert target is not None
        launch = installer_launch(
            Path(sys.executable), os.environ, "--target", str(target), *arguments
        )
        self._start(action, launch, INSTALL_JOB)
        self._changes_runtime = "--dry-run" not in arguments

    def run_download(self, action: str, *arguments: str) -> None:
        """Start `download` for the published weights, in the worker's Python.

        Raises:
            EnvironmentMissingError: There is no Python for the worker.
        """
        launch = weights_launch(
            worker_python(),
            os.environ,
            PUBLISHED_PRESET,
            *arguments,
            is_online=bpy.app.online_access,
        )
        self._start(action, launch, DOWNLOAD_JOB)
        self._changes_runtime = False

    def step(self) -> None:
        """Take in what the command said."""
        if self._process is not None:
            self._process.step()
            if not self.is_busy:
                SIZES.forget()

    def wait(self) -> None:
        """Block until the command is over; an interrupt (Ctrl-C) ends it."""
        try:
            while self.is_busy:
                self.step()
                time.sleep(_POLL_INTERVAL_S / 2)
        except KeyboardInterrupt:
            self.close()
            raise

    def cancel(self) -> None:
        """Ask the command to end."""
        if self._process is not None:
            self._process.cancel()

    def close(self) -> None:
        """End the command and forget it."""
        if self.is_busy:
            assert self._process is not None
            self._process.kill()
        self._process, self.action = None, ""

    def _start(self, action: str, launch: WorkerLaunch, job_id: str) -> None:
        log_path = Path(bpy.app.tempdir) / "installation.log"
        self._process = CommandProcess(launch, job_id=job_id, log_path=log_path)
        self.action = action


INSTALLATION = Installation()


def worker_python() -> Path:
    """The interpreter that runs the worker now.

    Raises:
        EnvironmentMissingError: There is none, or the runtime is being installed.
    """
    return find_worker_python(
        preferred=preferences.preferred_python(),
        environ=os.environ,
        runtime_dir=preferences.runtime_dir(),
        is_runtime_changing=INSTALLATION.is_changing_runtime,
    )


def offline_reason() -> str:
    """Why the network may not be used; empty: it may."""
    if bpy.app.online_access:
        return ""
    if bpy.app.online_access_override:
        return iface_("Blender was started with online access switched off (--offline-mode)")
    return iface_("Allow Online Access in Preferences > System > Network, or name local files")


def watch() -> None:
    """Look after the command with a timer."""
    timers.start(_tick, _POLL_INTERVAL_S)


def detach() -> None:
    """Called when the add-on is unregistered, and so when Blender quits."""
    timers.stop(_tick)
    INSTALLATION.close()


def _tick() -> float | None:
    INSTALLATION.step()
    viewport.redraw()
    return _POLL_INTERVAL_S if INSTALLATION.is_busy else None
