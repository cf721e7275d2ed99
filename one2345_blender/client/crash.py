# SPDX-License-Identifier: GPL-3.0-or-later
"""What to say of a process that ended without its last word."""

from __future__ import annotations

import os
from pathlib import Path

from ..contracts.errors import WorkerCrashedError
from . import process_group

_LOG_TAIL_LINES = 40
_LOG_TAIL_BYTES = 64_000


def crashed(what: str, exit_status: int, log_path: Path) -> WorkerCrashedError:
    """The error, with the end of the process's log.

    Args:
        what: The process, as the beginning of a sentence.
        exit_status: Negative: the signal that ended it.
        log_path: The file that its stderr went to.
    """
    tail = _tail(log_path)
    return WorkerCrashedError(
        f"{what} ended unexpectedly ({process_group.describe_exit(exit_status)})."
        + (f"\nIts last output:\n{tail}" if tail else ""),
        hint=f"The whole output is in {log_path}.",
    )


def _tail(log_path: Path) -> str:
    try:
        with log_path.open("rb") as log:
            log.seek(max(log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES, 0))
            text = log.read(_LOG_TAIL_BYTES).decode("utf-8", errors="replace")
    except OSError:  # the temporary folder was cleared meanwhile
        return ""
    lines = text.splitlines()
    return "\n".join(lines[-_LOG_TAIL_LINES:])
