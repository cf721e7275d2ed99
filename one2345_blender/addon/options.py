# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a conversion, declared once for the operator and for the panel's settings."""

from typing import Any

import bpy

from ..contracts.job import MAX_SEED

PRESET_RESOLUTION = 0
"""Value of a grid resolution that means: as the preset says."""


class ConversionOptions:
    """Mix-in of Blender properties. The preset is not among them: the panel offers a choice of
    names where the operator also takes a folder."""

    seed: bpy.props.IntProperty(
        name="Seed",
        description="The same seed gives the same mesh; another one imagines the far side anew",
        min=0,
        max=MAX_SEED,
    )
    estimate_elevation: bpy.props.BoolProperty(
        name="Estimate Elevation",
        description="Find out how far above the horizon the photo's camera stood; off: take the "
        "elevation below",
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
        description="Samples along each axis of the volume, 16 to 512; 0: as the preset says",
        min=PRESET_RESOLUTION,
        max=512,
        default=PRESET_RESOLUTION,
    )
    scale: bpy.props.FloatProperty(
        name="Scale",
        description="Blender units per unit of the method, whose camera stands 1.2 units away",
        default=1.0,
        min=1e-4,
    )


def option_values(chosen: Any) -> dict[str, Any]:
    """The options and the preset of the panel's settings, as properties of the operator."""
    return {name: getattr(chosen, name) for name in ("preset", *ConversionOptions.__annotations__)}
