# SPDX-License-Identifier: GPL-3.0-or-later
"""The command lines that install the runtime and fetch the published weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .environment import (
    HUB,
    NETWORK,
    OFFLINE_VARIABLE,
    PACKAGE_PARENT,
    PACKAGES,
    WorkerLaunch,
    worker_environment,
)

INSTALL_JOB, DOWNLOAD_JOB = "install", "download"
"""The job ids that the events of the two commands bear."""


def installer_launch(python: Path, environ: Mapping[str, str], *arguments: str) -> WorkerLaunch:
    """`vendor_install.py`, which any Python 3.11 or newer can run, Blender's own too."""
    script = str(PACKAGE_PARENT / "vendor_install.py")
    argv = (str(python), "-I", "-X", "utf8", script, *arguments, "--json")
    return WorkerLaunch(argv=argv, env=worker_environment(environ, NETWORK, PACKAGES))


def weights_launch(
    python: Path, environ: Mapping[str, str], *arguments: str, is_online: bool
) -> WorkerLaunch:
    """`download` in the worker's Python; offline it opens no connection."""
    argv = (str(python), "-s", "-X", "utf8", "-m", "one2345_blender", "download")
    env = worker_environment(environ, NETWORK, HUB)
    if not is_online:
        env[OFFLINE_VARIABLE] = "1"
    return WorkerLaunch(argv=(*argv, *arguments, "--events"), env=env)
