# SPDX-License-Identifier: GPL-3.0-or-later
"""The properties of an operator that the file browser and a drop fill."""

from pathlib import Path

import bpy

PICTURE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif")


class PictureFiles:
    """Mix-in of operators that convert: one picture file or several."""

    filepath: bpy.props.StringProperty(
        name="Photo",
        description="The picture of one object",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"},
    )
    directory: bpy.props.StringProperty(
        name="Folder",
        description="Where the files lie",
        subtype="DIR_PATH",
        options={"HIDDEN", "SKIP_SAVE"},
    )
    files: bpy.props.CollectionProperty(
        name="Files",
        description="Several pictures at once, each of one object",
        type=bpy.types.OperatorFileListElement,
        options={"HIDDEN", "SKIP_SAVE"},
    )
    filter_glob: bpy.props.StringProperty(
        default=";".join(f"*{extension}" for extension in PICTURE_EXTENSIONS), options={"HIDDEN"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Where there is a scene to put the object in."""
        if context.scene is None:
            cls.poll_message_set(  # type: ignore[attr-defined]  # the operator's
                "There is no scene for the object"
            )
            return False
        return True

    def picture_paths(self) -> list[Path]:
        """The chosen files, absolute."""
        folder = Path(bpy.path.abspath(self.directory))
        names = [file.name for file in self.files if file.name]
        if names:
            return [(folder / name).absolute() for name in names]
        return [Path(bpy.path.abspath(self.filepath)).absolute()] if self.filepath else []
