# SPDX-License-Identifier: GPL-3.0-or-later
"""An image datablock as a file that the worker can read."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
from numpy.typing import NDArray

from ..contracts.errors import InputImageError, OptionError
from ..contracts.job_folder import prepare_output_dir

_SRGB_LINEAR_LIMIT = 0.0031308


def picture_file(image_name: str, folder: Path) -> Path:
    """The picture's own file if it says what Blender shows, else a copy in `folder`.

    The file comes first because the photo's orientation stands in it, which Blender does not read.

    Raises:
        OptionError: There is no image of that name.
        InputImageError: The image has no pixels.
        OutputError: `folder` cannot be written to.
    """
    image = bpy.data.images.get(image_name)
    if image is None:
        raise OptionError(
            f"image: expected the name of an image of this file, got {image_name!r}.",
            hint="Choose one of the file's images.",
        )
    if image.source == "FILE" and not image.is_dirty and not image.is_float:
        own_file = Path(bpy.path.abspath(image.filepath, library=image.library))
        if image.packed_file is not None:
            return _write(folder, own_file.name or image.name, image.packed_file.data)
        if own_file.is_file():
            return own_file.absolute()
    return _save_pixels(image, folder)


def srgb_from_linear(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """sRGB's transfer curve (IEC 61966-2-1), values outside 0..1 cut off."""
    linear = linear.clip(0.0, 1.0)
    power = 1.055 * linear ** np.float32(1 / 2.4) - 0.055
    return np.where(linear <= _SRGB_LINEAR_LIMIT, 12.92 * linear, power).astype(np.float32)


def _save_pixels(image: bpy.types.Image, folder: Path) -> Path:
    """What Blender shows, as an 8-bit sRGB PNG with alpha."""
    width, height = image.size
    if not width * height or image.channels != 4:
        raise InputImageError(
            f"The image {image.name!r} has no pixels that can be read.",
            hint="Choose another picture; save a render result to a file first.",
        )
    pixels = np.zeros((width * height, 4), dtype=np.float32)
    image.pixels.foreach_get(pixels.ravel())
    if image.is_float:
        pixels[:, :3] = srgb_from_linear(pixels[:, :3])
    prepare_output_dir(folder)
    copy = bpy.data.images.new(image.name, width, height, alpha=True)
    try:
        copy.pixels.foreach_set(pixels.ravel())
        copy.file_format = "PNG"
        path = folder / f"{bpy.path.clean_name(image.name)}.png"
        copy.save(filepath=str(path))
    finally:
        bpy.data.images.remove(copy)
    return path


def _write(folder: Path, name: str, content: bytes) -> Path:
    prepare_output_dir(folder)
    path = folder / name
    path.write_bytes(content)
    return path
