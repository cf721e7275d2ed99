# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a conversion, declared once for the operator and for the panel's settings."""

from typing import Any

import bpy

from ..contracts.job import MAX_SEED, REFERENCE_SAMPLER
from .asset import AssetFields

PRESET_RESOLUTION = 0
"""Value of a grid resolution that means: as the preset says."""
QUALITIES: dict[str, dict[str, Any]] = {
    "DRAFT": {"steps_scale": 0.5},
    "STANDARD": {},
    "FINE": {"steps_scale": 2.0},
    "REFERENCE": {"sampler": REFERENCE_SAMPLER},
}
"""What each quality asks for in a `JobSpec`."""


class ConversionOptions:
    """Mix-in of Blender properties. Preset and resolution are not among them: the panel offers a
    choice of names where the operator also takes a folder, and a switch where it takes 0.

    Limits are soft: Blender would silently replace a script's value beyond a hard one, where
    `JobSpec` says what it expected.
    """

    seed: bpy.props.IntProperty(
        name="Seed",
        description="The same seed gives the same mesh; another one imagines the far side anew, "
        "with the built-in networks only in details",
        soft_min=0,
        soft_max=MAX_SEED,
    )
    estimate_elevation: bpy.props.BoolProperty(
        name="Estimate Elevation",
        description="Find out how far above the horizon the photo's camera stood; off: take the "
        "elevation below",
        default=True,
    )
    elevation_deg: bpy.props.FloatProperty(
        name="Elevation (°)",
        description="How far above the horizon the photo's camera stood, degrees",
        soft_min=-90.0,
        soft_max=90.0,
        default=20.0,
        precision=1,
        step=100,
    )
    quality: bpy.props.EnumProperty(
        name="Quality",
        description="How carefully the views around the object are imagined, and how long it takes",
        items=[
            (
                "DRAFT",
                "Draft",
                "Half the preset's steps, in half the time, for rougher "
                "views; of the built-in preset's time these take a fifth",
            ),
            ("STANDARD", "Standard", "As many steps as the preset says"),
            ("FINE", "Fine", "Twice the preset's steps: slower, calmer views"),
            (
                "REFERENCE",
                "Reference",
                "In the many steps of the weights' authors: with the published weights about "
                "five times as long as Standard, with the embedded ones the same",
            ),
        ],
        default="STANDARD",
    )
    scale: bpy.props.FloatProperty(
        name="Scale",
        description="How large the object becomes: at 1 at most 1.24 Blender units across, with "
        "its camera 1.2 units away; at 2 twice that",
        default=1.0,
        min=1e-4,
    )
    use_collection: bpy.props.BoolProperty(
        name="Own Collection",
        description="Put object and camera into the collection One-2-3-45, not the active one",
    )
    mark_asset: bpy.props.BoolProperty(
        name="Mark as Asset",
        description="Show the object in the asset browser, once the file lies in an asset library",
    )
    asset_author: bpy.props.StringProperty(
        name="Author", description="Who made the asset; the asset browser shows it"
    )
    asset_license: bpy.props.StringProperty(
        name="License", description="Under which terms others may use the asset"
    )
    asset_tags: bpy.props.StringProperty(
        name="Tags", description="Words to find the asset by, separated by commas"
    )


def asset_fields(chosen: ConversionOptions) -> AssetFields | None:
    """What to say of the assets; None: they are not marked."""
    if not chosen.mark_asset:
        return None
    tags = (tag.strip() for tag in chosen.asset_tags.split(","))
    return AssetFields(
        author=chosen.asset_author,
        license=chosen.asset_license,
        tags=tuple(tag for tag in tags if tag),
    )
