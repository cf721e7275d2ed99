# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of a run on several processes."""

from __future__ import annotations

import sys


def part_together(*, is_done: bool) -> None:
    """Leave the process group, if this process is in one, when all others do.

    Who leaves the others, or exits with the group's threads running, may be aborted.

    Args:
        is_done: Whether this process came to its end; the others may wait elsewhere for one that
            failed.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        if is_done:
            distributed.barrier()
        distributed.destroy_process_group()
