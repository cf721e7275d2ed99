# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel's settings, kept in the scene."""

import bpy

from ..contracts.job import MAX_SEED, PRESETS

SCENE_ATTRIBUTE = "one2345"
PRESET_RESOLUTION = 0
"""Value of a grid resolution that means: as the preset says."""

_PRESET_NAMES = {
    "embedded": ("Embedded", "Small networks that ship with the extension; seconds on a CPU"),
    "zero123-xl": ("Zero123-XL", "The published weights; a GPU and a download"),
}


class ONE2345_PG_settings(bpy.types.PropertyGroup):
    """What the panel's button converts, and how."""

    image_path: bpy.props.StringProperty(
        name="Photo", description="The picture of one object", subtype="FILE_PATH"
    )
    preset: bpy.props.EnumProperty(
        name="Preset",
        description="The weights that are used",
        items=[(preset, *_PRESET_NAMES[preset]) for preset in PRESETS],
    )
    seed: bpy.props.IntProperty(
        name="Seed", description="The same seed gives the same mesh", min=0, max=MAX_SEED
    )
    estimates_elevation: bpy.props.BoolProperty(
        name="Estimate Elevation",
        description="Find out how far above the horizon the photo's camera stood",
        default=True,
    )
    elevation_deg: bpy.props.FloatProperty(
        name="Elevation",
        description="How far above the horizon the photo's camera stood, degrees",
        min=-90.0,
        max=90.0,
        default=20.0,
    )
    grid_resolution: bpy.props.IntProperty(
        name="Mesh Resolution",
        description="Samples along each axis of the volume; 0: as the preset says",
        min=PRESET_RESOLUTION,
        max=512,
        default=PRESET_RESOLUTION,
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
