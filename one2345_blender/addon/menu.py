# SPDX-License-Identifier: GPL-3.0-or-later
"""The entries in Blender's menus, through which the search (F3) finds the operators too."""

from __future__ import annotations

import bpy

from .job_operators import (
    ONE2345_OT_cancel,
    ONE2345_OT_forget,
    ONE2345_OT_open_log,
    ONE2345_OT_place_result,
    ONE2345_OT_unload,
)
from .object_operators import (
    ONE2345_OT_another_seed,
    ONE2345_OT_frame,
    ONE2345_OT_look_through_camera,
    ONE2345_OT_refine,
)
from .operators import ONE2345_OT_image_to_mesh
from .picture_operators import ONE2345_OT_paste_picture


class ONE2345_MT_object(bpy.types.Menu):
    """Object > Image to Mesh: what the sidebar offers, for those who work without it."""

    bl_idname = "ONE2345_MT_object"
    bl_label = "Image to Mesh"

    def draw(self, _context: bpy.types.Context) -> None:
        """Draw the entries; those that cannot be used now are grey."""
        layout = self.layout
        layout.operator(ONE2345_OT_frame.bl_idname)
        layout.operator(ONE2345_OT_look_through_camera.bl_idname)
        layout.operator(ONE2345_OT_another_seed.bl_idname)
        layout.operator_enum(ONE2345_OT_refine.bl_idname, "kind")
        layout.separator()
        layout.operator(ONE2345_OT_paste_picture.bl_idname)
        layout.operator(ONE2345_OT_cancel.bl_idname)
        layout.operator(ONE2345_OT_place_result.bl_idname)
        layout.operator(ONE2345_OT_forget.bl_idname)
        layout.operator(ONE2345_OT_open_log.bl_idname)
        layout.operator(ONE2345_OT_unload.bl_idname)


def attach() -> None:
    """Add the entries."""
    bpy.types.VIEW3D_MT_image_add.append(_draw_add)
    bpy.types.VIEW3D_MT_object.append(_draw_object)


def detach() -> None:
    """Take them back."""
    bpy.types.VIEW3D_MT_object.remove(_draw_object)
    bpy.types.VIEW3D_MT_image_add.remove(_draw_add)


def _draw_add(menu: bpy.types.Menu, _context: bpy.types.Context) -> None:
    menu.layout.operator(ONE2345_OT_image_to_mesh.bl_idname, icon="MESH_MONKEY")


def _draw_object(menu: bpy.types.Menu, _context: bpy.types.Context) -> None:
    menu.layout.separator()
    menu.layout.menu(ONE2345_MT_object.bl_idname, icon="MESH_MONKEY")
