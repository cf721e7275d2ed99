# SPDX-License-Identifier: GPL-3.0-or-later
"""A converted object as an asset of the asset browser."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import bpy

from ..contracts.errors import OutputError
from ..contracts.preview_file import load_preview
from .preview_pixels import fill_preview

_TAG = "One-2-3-45"


@dataclass(frozen=True, kw_only=True)
class AssetFields:
    """What the user says of the assets that they make."""

    author: str = ""
    license: str = ""
    tags: tuple[str, ...] = ()


def mark_as_asset(
    placed: bpy.types.Object, fields: AssetFields, *, description: str, cutout_path: Path | None
) -> None:
    """Mark the object. Its preview is the object cut out of its photo: Blender renders previews in
    a window only, and those of vertex colors grey.

    Args:
        placed: The mesh object.
        fields: The user's.
        description: How it was made.
        cutout_path: The cut-out, as `load_preview` reads it; None, or one that is gone: no preview.
    """
    placed.asset_mark()
    metadata = placed.asset_data
    metadata.author, metadata.license = fields.author, fields.license
    metadata.description = description
    for tag in (_TAG, *fields.tags):
        metadata.tags.new(tag, skip_if_exists=True)
    if cutout_path is not None:
        with contextlib.suppress(OutputError):  # the temporary folder was cleared
            fill_preview(placed.preview_ensure(), load_preview(cutout_path))
