# SPDX-License-Identifier: GPL-3.0-or-later
"""A view on its way to the panel: bare pixels, so that showing it costs Blender next to nothing."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from .errors import OutputError
from .mesh import ARRAY_DAMAGE, of_type


def save_preview(rgb: NDArray[np.uint8], file: BinaryIO) -> None:
    """Write `rgb (H, W, 3)` sRGB as a `.npy` file."""
    np.save(file, rgb, allow_pickle=False)


def load_preview(path: Path) -> NDArray[np.uint8]:
    """Read what `save_preview` wrote, `(H, W, 3)` sRGB.

    Raises:
        OutputError: The file is missing, damaged or holds something else.
    """
    try:
        # mapped: a header that promises more than the file holds is an error, not an allocation
        rgb = of_type(np.load(path, mmap_mode="r", allow_pickle=False), np.uint8)
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
            raise ValueError(f"expected (H > 0, W > 0, 3), got {rgb.shape}")
        return np.array(rgb)
    except ARRAY_DAMAGE as error:
        raise OutputError(f"The view {path} cannot be shown: {error}") from error
