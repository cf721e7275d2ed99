# SPDX-License-Identifier: GPL-3.0-or-later
"""Small files that somebody else wrote, read in bounded memory."""

from __future__ import annotations

from pathlib import Path

MAX_BYTES = 16_000_000
"""No text file that is read here comes near it."""


def read_bounded(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """The content of a plain file, which a link may lead to.

    Raises:
        OSError: It is missing, cannot be read, is no file (a device, say, which has no end) or has
            more than `max_bytes`.
    """
    if path.exists() and not path.is_file():
        raise OSError(f"{path.name} is no plain file")
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(f"{path.name} has more than {max_bytes} bytes")
    return content
