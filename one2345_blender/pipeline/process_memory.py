# SPDX-License-Identifier: GPL-3.0-or-later
"""What this process takes of the computer's memory, and has taken at most."""

from __future__ import annotations

import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_memory_bytes() -> int:
    """Largest resident size of this process so far.

    Linux hands `ru_maxrss` on from the process that started this one, which may be a Blender of
    many gigabytes; its own count is in `VmHWM`.
    """
    if sys.platform == "linux":
        return status_bytes("VmHWM")
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def status_bytes(name: str) -> int:
    """What Linux counts for this process under a name: `VmRSS`, `VmHWM`, `VmData`."""
    (line,) = (ln for ln in _STATUS.read_text().splitlines() if ln.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])
