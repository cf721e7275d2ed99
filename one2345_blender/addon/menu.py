# SPDX-License-Identifier: GPL-3.0-or-later
"""The entry in Add > Image, through which the search (F3) finds the operator too."""

from __future__ import annotations

import bpy

from .operators import ONE2345_OT_image_to_mesh


def attach() -> None:
    """Add the entry."""
    bpy.types.VIEW3D_MT_image_add.append(_draw)


def detach() -> None:
    """Take it back."""
    bpy.types.VIEW3D_MT_image_add.remove(_draw)


def _draw(menu: bpy.types.Menu, _context: bpy.types.Context) -> None:
    menu.layout.operator(ONE2345_OT_image_to_mesh.bl_idname, icon="MESH_MONKEY")
