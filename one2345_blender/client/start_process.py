# SPDX-License-Identifier: GPL-3.0-or-later
"""How the client starts a process that speaks the worker's events on its stdout."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ..contracts.errors import EnvironmentMissingError
from . import process_group
from .environment import WorkerLaunch


def start_process(
    launch: WorkerLaunch,
    *,
    stdin: int,
    log_path: Path,
    log_mode: str,
    working_dir: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start it with its children in a group of its own.

    Args:
        launch: Command line and environment.
        stdin: As for `subprocess.Popen`.
        log_path: Its stderr goes to this file.
        log_mode: "wb" begins the file anew, "ab" appends.
        working_dir: Made where missing; None: the client's own.

    Raises:
        EnvironmentMissingError: The interpreter cannot be started.
    """
    try:
        (working_dir or log_path.parent).mkdir(parents=True, exist_ok=True)
        with log_path.open(log_mode) as log:
            return subprocess.Popen(
                launch.argv,
                env=dict(launch.env),
                cwd=working_dir,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=log,
                **process_group.POPEN_OPTIONS,
            )
    except OSError as error:
        raise EnvironmentMissingError(
            f"Could not start {launch.argv[0]}: {error.strerror or error}.",
            hint="Choose a working Python in the add-on's preferences.",
        ) from error
