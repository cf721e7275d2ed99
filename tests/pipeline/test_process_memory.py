# SPDX-License-Identifier: GPL-3.0-or-later
"""A process's peak is its own, not that of the program that started it."""

from __future__ import annotations

import subprocess
import sys

from one2345_blender.pipeline.process_memory import peak_memory_bytes

HELD_BYTES = 300_000_000
REPORT = (
    "from one2345_blender.pipeline.process_memory import peak_memory_bytes as peak; print(peak())"
)


def test_the_peak_grows_and_is_not_inherited() -> None:
    held = bytearray(b"\1") * HELD_BYTES
    assert peak_memory_bytes() > len(held)
    started = subprocess.run(
        [sys.executable, "-c", REPORT], capture_output=True, text=True, check=True
    )
    assert 0 < int(started.stdout) < HELD_BYTES / 2
