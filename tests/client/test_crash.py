# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a process that ended unexpectedly."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

from one2345_blender.client.crash import crashed


def test_of_a_large_log_only_the_end_is_read(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    with log.open("wb") as file:
        file.truncate(400_000_000)  # a hole, which takes no room
        file.seek(0, 2)
        file.write(b"\n" + b"".join(b"line %d\n" % number for number in range(60)))
    tracemalloc.start()
    message = crashed("The worker", 3, log).message
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert message.splitlines()[2:] == [f"line {number}" for number in range(20, 60)]
    assert peak_bytes < 1_000_000


def test_a_log_that_is_gone_or_short_is_no_trouble(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    assert "exit status 3" in crashed("The worker", 3, log).message
    log.write_text("the only line")
    assert crashed("The worker", 3, log).message.endswith("the only line")
