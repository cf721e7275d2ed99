# SPDX-License-Identifier: GPL-3.0-or-later
"""How much room folders take, found out in the background: an environment has 30,000 files."""

from __future__ import annotations

import os
import threading
from pathlib import Path


class FolderSizes:
    """Sizes by folder; each is measured once, when it is first asked for."""

    def __init__(self) -> None:
        self._sizes: dict[Path, int | None] = {}

    def size_bytes(self, folder: Path) -> int | None:
        """The size of all files below `folder`; None while it is being measured."""
        if folder not in self._sizes:
            self._sizes[folder] = None
            threading.Thread(target=self._measure, args=(folder,), daemon=True).start()
        return self._sizes[folder]

    def forget(self) -> None:
        """Measure again when asked again."""
        self._sizes.clear()

    def _measure(self, folder: Path) -> None:
        self._sizes[folder] = folder_size_bytes(folder)


def folder_size_bytes(folder: Path) -> int:
    """The size of all files below `folder`; 0 if there is none. Links are not followed."""
    total = 0
    for parent, _folders, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(parent) / name).lstat().st_size
            except OSError:  # removed meanwhile
                continue
    return total
