# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidebar's tab; drawing only."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import bpy

from ..client.job_queue import Job
from ..client.job_state import JobState, JobStatus
from . import session
from .job_operators import (
    ONE2345_OT_cancel,
    ONE2345_OT_forget,
    ONE2345_OT_place_result,
    ONE2345_OT_unload,
)
from .operators import ONE2345_OT_image_to_mesh
from .options import option_values
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
_STATUS_ICONS = {
    JobStatus.WAITING: "TIME",
    JobStatus.STARTING: "PLAY",
    JobStatus.RUNNING: "PLAY",
    JobStatus.CANCELLING: "PLAY",
    JobStatus.DONE: "CHECKMARK",
    JobStatus.CANCELLED: "CANCEL",
    JobStatus.FAILED: "ERROR",
}
_LINE_CHARACTERS = 42


class ONE2345_PT_main(bpy.types.Panel):
    """Picture, options, button; the progress of the conversion under way, the last outcome."""

    bl_label = "Image to Mesh"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "One-2-3-45"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the panel."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        _draw_options(layout, settings(context))
        current = session.SESSION.queue.current
        if current is not None:
            _draw_progress(layout, current)
        elif session.SESSION.jobs and not session.SESSION.is_busy:
            _draw_outcome(layout, session.SESSION.jobs[-1].state)


class ONE2345_PT_queue(bpy.types.Panel):
    """A row for each conversion."""

    bl_label = "Queue"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "One-2-3-45"
    bl_parent_id = "ONE2345_PT_main"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012 - Blender's convention

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Only when there is something to list."""
        return bool(session.SESSION.jobs)

    def draw_header(self, _context: bpy.types.Context) -> None:
        """How many wait, also while the panel is closed."""
        if waiting := len(session.SESSION.queue.waiting):
            self.layout.label(text=f"{waiting} waiting")

    def draw(self, _context: bpy.types.Context) -> None:
        """Draw the rows."""
        column = self.layout.column(align=True)
        for job in session.SESSION.jobs:
            _draw_job(column.row(align=True), job)
        self.layout.operator(ONE2345_OT_forget.bl_idname, icon="TRASH")
        self.layout.operator(ONE2345_OT_unload.bl_idname, icon="MEMORY")


def _draw_options(layout: bpy.types.UILayout, options: ONE2345_PG_settings) -> None:
    layout.template_ID_preview(options, "image", open="image.open", rows=3, cols=4)
    for name in ("preset", "seed", "grid_resolution", "estimate_elevation"):
        layout.prop(options, name)
    row = layout.row()
    row.enabled = not options.estimate_elevation
    row.prop(options, "elevation_deg")
    operator = layout.operator(ONE2345_OT_image_to_mesh.bl_idname, icon="MESH_MONKEY")
    operator.image = options.image.name if options.image else ""
    for name, value in option_values(options).items():
        setattr(operator, name, value)


def _draw_progress(layout: bpy.types.UILayout, job: Job) -> None:
    layout.progress(factor=job.state.fraction, text=_doing(job.state))
    operator = layout.operator(ONE2345_OT_cancel.bl_idname, text="Cancel", icon="CANCEL")
    operator.job_id = job.spec.job_id


def _draw_job(row: bpy.types.UILayout, job: Job) -> None:
    """The picture's name, how the job stands, and what can be done to it."""
    state, job_id = job.state, job.spec.job_id
    row.label(text=job.spec.image_path.stem, icon=_STATUS_ICONS[state.status])
    if state.status in (JobStatus.STARTING, JobStatus.RUNNING):
        row.progress(factor=state.fraction, text=f"{state.fraction:.0%}")
    elif session.SESSION.is_unplaced(job):
        row.operator(ONE2345_OT_place_result.bl_idname, text="Place Here").job_id = job_id
    else:
        row.label(text=state.status.value.capitalize())
    ends = ONE2345_OT_forget if state.is_final else ONE2345_OT_cancel
    row.operator(ends.bl_idname, text="", icon="X").job_id = job_id


def _doing(state: JobState) -> str:
    if state.status is JobStatus.CANCELLING:
        return "Cancelling"
    return _STAGE_NAMES.get(state.stage, "Starting the worker")


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
