# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel's settings, kept in the scene."""

from typing import Any

import bpy

from ..contracts.job import MAX_GRID_RESOLUTION, MIN_GRID_RESOLUTION, PRESETS
from .options import PRESET_RESOLUTION, ConversionOptions

SCENE_ATTRIBUTE = "one2345"

PRESET_NAMES = {
    "embedded": (
        "Built-in (offline)",
        "Small networks that come with the extension: 10 to 20 s on two free cores of a server, "
        "longer on a busy or an old machine. What the picture does not show comes out rough: the "
        "networks' views from behind are not yet as good as they were meant to be",
    ),
    "zero123-xl": ("Zero123-XL", "The published weights; a GPU and a download"),
}
"""Name and description by preset."""
FOLDER = "FOLDER"
"""In place of a preset's name: the folder that is chosen beside."""


class ONE2345_PG_settings(ConversionOptions, bpy.types.PropertyGroup):
    """What the panel's button converts, and how."""

    image: bpy.props.PointerProperty(
        name="Picture",
        description="The picture of one object, whole, seen a little from above",
        type=bpy.types.Image,
    )
    use_preset_resolution: bpy.props.BoolProperty(
        name="Default Resolution",
        description="Make the mesh as fine as the preset says; off: take the resolution below",
        default=True,
    )
    grid_resolution: bpy.props.IntProperty(
        name="Resolution",
        description="Samples along each axis of the volume; more make a finer mesh and take longer",
        min=MIN_GRID_RESOLUTION,
        max=MAX_GRID_RESOLUTION,
        default=256,
    )
    preset: bpy.props.EnumProperty(
        name="Preset",
        description="The weights that are used",
        items=[
            *((preset, *PRESET_NAMES[preset]) for preset in PRESETS),
            (FOLDER, "Folder", "Weights in a folder of yours, such as import-checkpoint makes"),
        ],
    )
    preset_folder: bpy.props.StringProperty(
        name="Weights",
        description="Folder with the weights of all networks; // is the folder of the .blend file",
        subtype="DIR_PATH",
    )


def attach() -> None:
    """Give every scene its settings."""
    pointer = bpy.props.PointerProperty(type=ONE2345_PG_settings)
    setattr(bpy.types.Scene, SCENE_ATTRIBUTE, pointer)


def detach() -> None:
    """Take them back."""
    delattr(bpy.types.Scene, SCENE_ATTRIBUTE)


def settings(context: bpy.types.Context) -> ONE2345_PG_settings:
    """The settings of the context's scene."""
    found: ONE2345_PG_settings = getattr(context.scene, SCENE_ATTRIBUTE)
    return found


def operator_options(chosen: ONE2345_PG_settings) -> dict[str, Any]:
    """The settings as properties of the operator; the picture is not among them.

    Not a method: where a property group has one, pip's bpy 4.2 crashes when Python exits.
    """
    names = ("preset", "grid_resolution", *ConversionOptions.__annotations__)
    values = {name: getattr(chosen, name) for name in names}
    if chosen.preset == FOLDER:
        values["preset"] = chosen.preset_folder
    if chosen.use_preset_resolution:
        values["grid_resolution"] = PRESET_RESOLUTION
    return values
