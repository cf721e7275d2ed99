# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures that are dropped, and pictures from the clipboard."""

import bpy

from .operators import start_conversion
from .picture_files import PICTURE_EXTENSIONS, PictureFiles
from .properties import operator_options, settings
from .reports import give_up


class ONE2345_OT_drop_pictures(PictureFiles, bpy.types.Operator):
    """Turn dropped pictures into meshes with the settings of the panel; one picture that is dropped
    on the sidebar becomes the panel's picture"""

    bl_idname = "one2345.drop_pictures"
    bl_label = "Image to Mesh (One-2-3-45)"
    bl_options = {"INTERNAL"}  # noqa: RUF012 - place_result makes the undo step of a conversion

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Choose the picture, or queue all of them."""
        paths, chosen = self.picture_paths(), settings(context)
        if len(paths) == 1 and context.region is not None and context.region.type == "UI":
            try:
                chosen.image = bpy.data.images.load(str(paths[0]), check_existing=True)
            except RuntimeError as error:  # bpy's own
                return give_up(self, str(error))
            bpy.ops.ed.undo_push(message="Choose Picture")
            return {"FINISHED"}
        if not paths:
            return give_up(self, "Expected pictures: filepath, or files with directory; got none")
        return start_conversion(
            self,
            directory=str(paths[0].parent),
            files=[{"name": str(path)} for path in paths],  # absolute, so the folder is no matter
            **operator_options(chosen),
        )


class ONE2345_FH_pictures(bpy.types.FileHandler):
    """Pictures dropped into a 3D view, or onto its sidebar."""

    bl_idname = "ONE2345_FH_pictures"
    bl_label = "Image to Mesh (One-2-3-45)"
    bl_import_operator = ONE2345_OT_drop_pictures.bl_idname
    bl_file_extensions = ";".join(PICTURE_EXTENSIONS)

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        """Only in 3D views; elsewhere a picture means something else."""
        return context.area is not None and context.area.type == "VIEW_3D"


class ONE2345_OT_paste_picture(bpy.types.Operator):
    """Take the picture from the clipboard"""

    bl_idname = "one2345.paste_picture"
    bl_label = "Paste Picture"
    bl_options = {"UNDO"}  # noqa: RUF012 - Blender's convention

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Where the clipboard holds a picture that Blender can read."""
        if not bpy.ops.image.clipboard_paste.poll():
            cls.poll_message_set("The clipboard holds no picture that Blender can read here")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Paste through Blender's own operator, which makes an image datablock."""
        before = set(bpy.data.images)
        if bpy.ops.image.clipboard_paste() != {"FINISHED"}:
            return {"CANCELLED"}
        (pasted,) = set(bpy.data.images) - before
        settings(context).image = pasted
        return {"FINISHED"}
