# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidebar's tab; drawing only."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import bpy

from ..client.job_state import JobState, JobStatus
from . import session
from .operators import ONE2345_OT_cancel, ONE2345_OT_image_to_mesh
from .properties import ONE2345_PG_settings, settings

_STAGE_NAMES = {
    "load_models": "Loading the networks",
    "foreground": "Finding the object",
    "views_stage1": "Imagining eight views",
    "elevation": "Estimating the elevation",
    "views_stage2": "Imagining views nearby",
    "features": "Reading the views",
    "cost_volume": "Building the cost volume",
    "sdf": "Computing the surface",
    "meshing": "Making the mesh",
    "write": "Writing the files",
}
_LINE_CHARACTERS = 42


class ONE2345_PT_main(bpy.types.Panel):
    """Photo, options, button; progress while a job runs, its outcome afterwards."""

    bl_label = "Image to Mesh"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "One-2-3-45"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the panel."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        state = session.SESSION.state
        if state is not None and not state.is_final:
            _draw_progress(layout, state)
            return
        _draw_options(layout, settings(context))
        if state is not None:
            _draw_outcome(layout, state)


def _draw_options(layout: bpy.types.UILayout, options: ONE2345_PG_settings) -> None:
    layout.prop(options, "image_path")
    layout.prop(options, "preset")
    layout.prop(options, "seed")
    layout.prop(options, "grid_resolution")
    layout.prop(options, "estimates_elevation")
    row = layout.row()
    row.enabled = not options.estimates_elevation
    row.prop(options, "elevation_deg")
    operator = layout.operator(ONE2345_OT_image_to_mesh.bl_idname, icon="MESH_MONKEY")
    operator.filepath = options.image_path
    operator.preset = options.preset
    operator.seed = options.seed
    operator.grid_resolution = options.grid_resolution
    operator.estimate_elevation = options.estimates_elevation
    operator.elevation_deg = options.elevation_deg


def _draw_progress(layout: bpy.types.UILayout, state: JobState) -> None:
    if state.status is JobStatus.CANCELLING:
        text = "Cancelling"
    else:
        text = _STAGE_NAMES.get(state.stage, "Starting the worker")
    layout.progress(factor=state.fraction, text=text)
    layout.operator(ONE2345_OT_cancel.bl_idname, icon="CANCEL")


def _draw_outcome(layout: bpy.types.UILayout, state: JobState) -> None:
    box = layout.box()
    if state.status is JobStatus.FAILED:
        _draw_text(box, str(state.failure), icon="ERROR")
    elif state.status is JobStatus.CANCELLED:
        how = "The worker did not stop and was ended." if state.was_forced else "Cancelled."
        _draw_text(box, how, icon="CANCEL")
    elif state.report is not None:
        _draw_text(box, _elevation_text(state.report["elevation"]), icon="CHECKMARK")
    for warning in state.warnings:
        _draw_text(box, warning, icon="INFO")


def _elevation_text(elevation: Mapping[str, Any]) -> str:
    """The report's elevation in words; one that is neither estimated nor certain is the prior."""
    if elevation["is_estimated"]:
        source = f"estimated, confidence {elevation['confidence']:.0%}"
    else:
        source = "as given" if elevation["confidence"] == 1.0 else "assumed"
    return f"Elevation {elevation['elevation_deg']:.0f}\u00b0, {source}"


def _draw_text(layout: bpy.types.UILayout, text: str, *, icon: str) -> None:
    """Wrapped, the icon before the first line."""
    column = layout.column(align=True)
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, _LINE_CHARACTERS)]
    for number, line in enumerate(lines):
        column.label(text=line, icon=icon if number == 0 else "BLANK1")
