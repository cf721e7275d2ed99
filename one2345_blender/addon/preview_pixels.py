# SPDX-License-Identifier: GPL-3.0-or-later
"""Pixels as one of Blender's previews."""

from __future__ import annotations

import bpy
import numpy as np
from numpy.typing import NDArray


def fill_preview(preview: bpy.types.ImagePreview, rgb: NDArray[np.uint8]) -> None:
    """Give the preview the pixels `rgb (H, W, 3)`, at once. Blender's own reader of previews makes
    a thumbnail file in the user's cache of every picture."""
    height_px, width_px = rgb.shape[:2]
    rgba = np.ones((height_px, width_px, 4), dtype=np.float32)
    rgba[..., :3] = rgb[::-1] / np.float32(255)  # Blender counts rows from below
    preview.image_size = (width_px, height_px)
    preview.image_pixels_float.foreach_set(rgba.ravel())
