# SPDX-License-Identifier: GPL-3.0-or-later
"""A converted object as an asset of the asset browser."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy

_TAG = "One-2-3-45"


@dataclass(frozen=True, kw_only=True)
class AssetFields:
    """What the user says of the assets that they make."""

    author: str = ""
    license: str = ""
    tags: tuple[str, ...] = ()


def mark_as_asset(
    placed: bpy.types.Object, fields: AssetFields, *, description: str, picture_path: Path
) -> None:
    """Mark the object; Blender renders its preview in the background of a window. Without a window
    it cannot, and a picture of the object takes the preview's place.

    Args:
        placed: The mesh object.
        fields: The user's.
        description: How it was made.
        picture_path: Of the object, cut out of its photo.
    """
    placed.asset_mark()
    metadata = placed.asset_data
    metadata.author, metadata.license = fields.author, fields.license
    metadata.description = description
    for tag in (_TAG, *fields.tags):
        metadata.tags.new(tag, skip_if_exists=True)
    if bpy.app.background:
        _show_picture(placed.preview_ensure(), picture_path)
    else:
        placed.asset_generate_preview()


def _show_picture(preview: bpy.types.ImagePreview, picture_path: Path) -> None:
    picture = bpy.data.images.load(str(picture_path))
    try:
        preview.image_size = picture.size
        preview.image_pixels_float = picture.pixels[:]
    finally:
        bpy.data.images.remove(picture)
