# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel's settings, kept in the scene."""

import bpy

from ..contracts.job import PRESETS
from .options import ConversionOptions

SCENE_ATTRIBUTE = "one2345"

_PRESET_NAMES = {
    "embedded": ("Embedded", "Small networks that ship with the extension; seconds on a CPU"),
    "zero123-xl": ("Zero123-XL", "The published weights; a GPU and a download"),
}


class ONE2345_PG_settings(ConversionOptions, bpy.types.PropertyGroup):
    """What the panel's button converts, and how."""

    image: bpy.props.PointerProperty(
        name="Picture",
        description="The picture of one object, whole, seen a little from above",
        type=bpy.types.Image,
    )
    preset: bpy.props.EnumProperty(
        name="Preset",
        description="The weights that are used",
        items=[(preset, *_PRESET_NAMES[preset]) for preset in PRESETS],
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
