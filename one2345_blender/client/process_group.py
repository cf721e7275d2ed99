# SPDX-License-Identifier: GPL-3.0-or-later
"""A process together with its children, on POSIX and on Windows."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

if sys.platform == "win32":
    POPEN_OPTIONS: dict[str, Any] = {
        "creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    }

    def terminate(process: subprocess.Popen[bytes]) -> None:
        """End the process and its children; Windows has no way to ask those without a console."""
        kill(process)

    def kill(process: subprocess.Popen[bytes]) -> None:
        """End the process and its children."""
        subprocess.run(
            ["taskkill", "/F", "/T", "/PID", str(process.pid)],
            check=False,
            capture_output=True,
            creationflags=subprocess.CREATE_NO_WINDOW,
        )

else:
    import os

    POPEN_OPTIONS: dict[str, Any] = {"start_new_session": True}

    def terminate(process: subprocess.Popen[bytes]) -> None:
        """Ask the process and its children to end."""
        _signal_group(process, signal.SIGTERM)

    def kill(process: subprocess.Popen[bytes]) -> None:
        """End the process and its children."""
        _signal_group(process, signal.SIGKILL)

    def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
        """Signal the group; a process that was already waited for has given its id back."""
        if process.returncode is None:
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                return


def describe_exit(status: int) -> str:
    """An exit status in words; negative: the signal that ended it."""
    if status >= 0:
        return f"exit status {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    likely = "; probably out of memory" if name == "SIGKILL" else ""
    return f"{name}{likely}"
