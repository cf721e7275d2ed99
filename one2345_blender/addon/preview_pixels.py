# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture file as one of Blender's previews."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np


def fill_preview(preview: bpy.types.ImagePreview, picture_path: Path) -> None:
    """Give the preview the picture's pixels, at once. Blender's own reader of previews makes a
    thumbnail file in the user's cache of every picture, and the first one takes it long.

    Raises:
        RuntimeError: The file is not there.
    """
    picture = bpy.data.images.load(str(picture_path))
    try:
        pixels = np.zeros(4 * picture.size[0] * picture.size[1], dtype=np.float32)
        picture.pixels.foreach_get(pixels)
        preview.image_size = picture.size
        preview.image_pixels_float.foreach_set(pixels)
    finally:
        bpy.data.images.remove(picture)
