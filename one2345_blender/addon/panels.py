# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidebar's tab; drawing only."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..client.job_queue import Job
from ..client.job_state import JobStatus
from ..contracts.errors import EnvironmentMissingError
from . import session, texts
from .installation import worker_python
from .job_names import job_names
from .job_operators import (
    ONE2345_OT_cancel,
    ONE2345_OT_forget,
    ONE2345_OT_open_log,
    ONE2345_OT_place_result,
    ONE2345_OT_unload,
)
from .notices import TAB
from .object_operators import (
    ONE2345_OT_another_seed,
    ONE2345_OT_frame,
    ONE2345_OT_look_through_camera,
    ONE2345_OT_refine,
    is_on_converted_object,
)
from .operators import ONE2345_OT_image_to_mesh
from .package_id import ROOT_PACKAGE, is_extension
from .picture_operators import ONE2345_OT_paste_picture
from .preview_icons import PREVIEW_ICONS
from .properties import FOLDER, operator_options, settings

_STATUS_ICONS = {
    JobStatus.WAITING: "TIME",
    JobStatus.STARTING: "PLAY",
    JobStatus.RUNNING: "PLAY",
    JobStatus.CANCELLING: "PLAY",
    JobStatus.DONE: "CHECKMARK",
    JobStatus.CANCELLED: "CANCEL",
    JobStatus.FAILED: "ERROR",
}
_VIEW_ICON_SCALE = 2.6
_ASSET_FIELDS = ("asset_author", "asset_license", "asset_tags")


class InSidebar:
    """Mix-in: a panel of our tab."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = TAB


class ONE2345_PT_main(InSidebar, bpy.types.Panel):
    """Picture and button; the progress of the conversion under way, or what went wrong."""

    bl_label = "Image to Mesh"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the panel."""
        layout = self.layout
        chosen = settings(context)
        row = layout.row(align=True)
        row.column().template_ID_preview(chosen, "image", open="image.open", rows=3, cols=4)
        row.operator(ONE2345_OT_paste_picture.bl_idname, text="", icon="PASTEDOWN")
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(chosen, "preset")
        if chosen.preset == FOLDER:
            layout.prop(chosen, "preset_folder")
        missing = _missing_runtime()
        if missing:
            box = layout.box()
            texts.draw_wrapped(box, missing, icon="INFO")
            if is_extension():
                show = box.operator("preferences.addon_show", text="Open Preferences")
                show.module = ROOT_PACKAGE
        row = layout.row()
        row.enabled = not missing
        row.scale_y = 1.4
        operator = row.operator(
            ONE2345_OT_image_to_mesh.bl_idname,
            text="Add to Queue" if session.SESSION.is_busy else "Image to Mesh",
            icon="MESH_MONKEY",
        )
        operator.image = chosen.image.name if chosen.image else ""
        for name, value in operator_options(chosen).items():
            setattr(operator, name, value)
        queue = session.SESSION.queue
        if queue.current is not None:
            _draw_progress(layout.box(), queue.current)
        elif queue.waiting:
            _draw_wait(layout.box(), queue.waiting[0])
        elif session.SESSION.jobs and not session.SESSION.is_busy:
            _draw_outcome(layout, session.SESSION.jobs[-1])


class SettingsPanel(InSidebar):
    """Mix-in: a sub-panel of the scene's settings, closed at first."""

    bl_parent_id = "ONE2345_PT_main"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012 - Blender's convention

    shown: ClassVar[tuple[str, ...]]
    """Names of the settings."""
    matters_while: ClassVar[Mapping[str, tuple[str, bool]]]
    """By setting: the switch that it depends on, and how that must stand."""

    layout: bpy.types.UILayout
    """Blender's."""

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the settings."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        chosen = settings(context)
        for name in self.shown:
            row = layout.row()
            if name in self.matters_while:
                switch, value = self.matters_while[name]
                row.enabled = getattr(chosen, switch) is value
            row.prop(chosen, name)


class ONE2345_PT_options(SettingsPanel, bpy.types.Panel):
    """How the picture is converted."""

    bl_label = "Options"

    shown = (
        *("seed", "quality"),
        *("use_preset_resolution", "grid_resolution"),
        *("estimate_elevation", "elevation_deg"),
    )
    matters_while = MappingProxyType(
        {
            "grid_resolution": ("use_preset_resolution", False),
            "elevation_deg": ("estimate_elevation", False),
        }
    )


class ONE2345_PT_output(SettingsPanel, bpy.types.Panel):
    """Where the object goes, and whether it is an asset."""

    bl_label = "Output"

    shown = ("scale", "use_collection", "mark_asset", *_ASSET_FIELDS)
    matters_while = MappingProxyType(dict.fromkeys(_ASSET_FIELDS, ("mark_asset", True)))


class ONE2345_PT_result(InSidebar, bpy.types.Panel):
    """The active object, if a conversion made it, and what people do with it next."""

    bl_label = "Result"
    bl_parent_id = "ONE2345_PT_main"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only for such an object."""
        return is_on_converted_object(context)

    def draw(self, context: bpy.types.Context) -> None:
        """Draw facts and buttons."""
        layout = self.layout
        placed = context.active_object
        facts = layout.column(align=True)
        facts.scale_y = 0.8
        for fact, value in (
            ("Elevation", texts.elevation(placed)),
            ("Time", texts.duration(placed["one2345_total_seconds"])),
            ("Faces", texts.faces(placed, context.evaluated_depsgraph_get())),
            ("Seed", str(placed["one2345_seed"])),
        ):
            split = facts.split(factor=0.3)
            split.label(text=fact)
            split.label(text=value, translate=False)
        column = layout.column(align=True)
        column.operator(ONE2345_OT_frame.bl_idname, icon="ZOOM_SELECTED")
        column.operator(ONE2345_OT_look_through_camera.bl_idname, icon="VIEW_CAMERA")
        column.operator(ONE2345_OT_another_seed.bl_idname, icon="FILE_REFRESH")
        row = layout.row(align=True)
        for kind, icon in (
            ("SMOOTH", "MOD_SMOOTH"),
            ("REMESH", "MOD_REMESH"),
            ("DECIMATE", "MOD_DECIM"),
        ):
            text = kind.capitalize()
            row.operator(ONE2345_OT_refine.bl_idname, text=text, icon=icon).kind = kind


class ONE2345_PT_queue(InSidebar, bpy.types.Panel):
    """A row for each conversion."""

    bl_label = "Queue"
    bl_parent_id = "ONE2345_PT_main"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012 - Blender's convention

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Only when there is something to list."""
        return bool(session.SESSION.jobs)

    def draw_header_preset(self, _context: bpy.types.Context) -> None:
        """How many wait, also while the panel is closed."""
        if waiting := len(session.SESSION.queue.waiting):
            self.layout.label(text=iface_("{} waiting").format(waiting), translate=False)

    def draw(self, _context: bpy.types.Context) -> None:
        """Draw the rows."""
        column = self.layout.column(align=True)
        jobs = session.SESSION.jobs
        names = job_names(jobs, session.SESSION.object_names)
        for job, name in zip(jobs, names, strict=True):
            _draw_job(column.row(align=True), job, name)
            if job.state.failure is not None:
                _draw_failure(column, job)
        row = self.layout.row(align=True)
        row.operator(ONE2345_OT_forget.bl_idname, icon="TRASH")
        row.operator(ONE2345_OT_unload.bl_idname, icon="MEMORY")


def _missing_runtime() -> str:
    """Why no conversion can run yet; empty: one can."""
    try:
        worker_python()
    except EnvironmentMissingError as error:
        return error.message
    return ""


def _draw_progress(layout: bpy.types.UILayout, job: Job) -> None:
    layout.label(text=job.spec.image_path.stem, icon="IMAGE_DATA", translate=False)
    layout.label(text=texts.doing(job.state), translate=False)
    layout.progress(factor=job.fraction, text=texts.progress(job), translate=False)
    grid = layout.grid_flow(row_major=True, columns=3, even_columns=True, align=True)
    for icon_id in PREVIEW_ICONS.icon_ids(job):
        grid.template_icon(icon_value=icon_id, scale=_VIEW_ICON_SCALE)
    _draw_cancel(layout, job)


def _draw_wait(layout: bpy.types.UILayout, job: Job) -> None:
    """The job whose turn is next, while no worker has one."""
    layout.label(text=job.spec.image_path.stem, icon="IMAGE_DATA", translate=False)
    is_paused = session.SESSION.queue.is_paused
    layout.label(text="Waiting for the render to end" if is_paused else "Waiting")
    _draw_cancel(layout, job)


def _draw_cancel(layout: bpy.types.UILayout, job: Job) -> None:
    operator = layout.operator(ONE2345_OT_cancel.bl_idname, text="Cancel", icon="CANCEL")
    operator.job_id = job.spec.job_id


def _draw_job(row: bpy.types.UILayout, job: Job, name: str) -> None:
    """The row's name, how the job stands, and what can be done to it."""
    state, job_id = job.state, job.spec.job_id
    row = row.split(factor=0.62, align=True)
    row.label(text=name, icon=_STATUS_ICONS[state.status], translate=False)
    row = row.row(align=True)
    if state.status in (JobStatus.STARTING, JobStatus.RUNNING):
        row.progress(factor=job.fraction, text=f"{job.fraction:.0%}", translate=False)
    elif _is_without_scene(job):
        row.operator(ONE2345_OT_place_result.bl_idname, text="Place Here").job_id = job_id
    else:
        row.label(text=texts.STATUS_NAMES[state.status])
    ends = ONE2345_OT_forget if state.is_final else ONE2345_OT_cancel
    row.operator(ends.bl_idname, text="", icon="X").job_id = job_id


def _draw_failure(layout: bpy.types.UILayout, job: Job) -> None:
    """Why the job failed, and the way to all that the worker said."""
    failure = job.state.failure
    assert failure is not None
    box = layout.box()
    texts.draw_wrapped(box, failure.brief, icon="ERROR")
    if failure.detail_path is not None:
        box.operator(ONE2345_OT_open_log.bl_idname, icon="TEXT").job_id = job.spec.job_id


def _draw_outcome(layout: bpy.types.UILayout, job: Job) -> None:
    """What the user must know of the last conversion; the rest stands in the result's panel."""
    state, notes = job.state, []
    is_unplaced = session.SESSION.is_unplaced(job)
    if state.failure is not None:
        _draw_failure(layout, job)
    elif is_unplaced:
        notes.append(texts.why_unplaced(has_scene=session.SESSION.has_scene(job)))
    notes += state.warnings
    failed = [job for job in session.SESSION.jobs if job.state.status is JobStatus.FAILED]
    if len(failed) > (state.failure is not None):
        text = iface_("Conversions that failed: {}. The Queue below says why.")
        notes.append(text.format(len(failed)))
    if not notes:
        return
    box = layout.box()
    for text in notes:
        texts.draw_wrapped(box, text, icon="INFO")
    if _is_without_scene(job):
        operator = box.operator(ONE2345_OT_place_result.bl_idname, text="Place Here")
        operator.job_id = job.spec.job_id


def _is_without_scene(job: Job) -> bool:
    """True for a result that does not come into a scene unless the user says in which."""
    return session.SESSION.is_unplaced(job) and not session.SESSION.has_scene(job)
