# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a process that is not ours to wait for still lives (Linux)."""

from __future__ import annotations

from pathlib import Path


def is_alive(pid: int) -> bool:
    """A process that has ended and waits to be collected does not live."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
