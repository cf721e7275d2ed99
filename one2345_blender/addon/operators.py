# SPDX-License-Identifier: GPL-3.0-or-later
"""What users, scripts and the panel call; the work is done in `session` and `place_result`."""

import uuid
from pathlib import Path

import bpy

from ..client.job_state import JobStatus
from ..contracts.errors import One2345Error
from ..contracts.job import MAX_SEED, PRESETS, JobSpec
from . import session
from .place_result import Placement
from .preferences import preferred_device
from .properties import PRESET_RESOLUTION

_IMAGE_GLOB = "*.png;*.jpg;*.jpeg;*.webp;*.tif;*.tiff;*.bmp;*.gif;*.avif"


class ONE2345_OT_image_to_mesh(bpy.types.Operator):
    """Turn the photo of an object into a coloured mesh, with a camera that matches the photo"""

    bl_idname = "one2345.image_to_mesh"
    bl_label = "Image to Mesh"
    bl_options = {"REGISTER"}  # noqa: RUF012 - place_result makes the one undo step

    filepath: bpy.props.StringProperty(
        name="Photo", description="The picture of one object", subtype="FILE_PATH"
    )
    preset: bpy.props.StringProperty(
        name="Preset",
        description=f"{', '.join(PRESETS)}, or a folder with weights",
        default=PRESETS[0],
    )
    seed: bpy.props.IntProperty(
        name="Seed", description="The same seed gives the same mesh", min=0, max=MAX_SEED
    )
    estimate_elevation: bpy.props.BoolProperty(
        name="Estimate Elevation",
        description="Find out the elevation of the photo's camera; off: take it as given",
        default=True,
    )
    elevation_deg: bpy.props.FloatProperty(
        name="Elevation",
        description="How far above the horizon the photo's camera stood, degrees",
        min=-90.0,
        max=90.0,
    )
    grid_resolution: bpy.props.IntProperty(
        name="Mesh Resolution",
        description="Samples along each axis of the volume; 0: as the preset says",
        min=PRESET_RESOLUTION,
    )
    scale: bpy.props.FloatProperty(
        name="Scale",
        description="Blender units per unit of the method, whose camera stands 1.2 units away",
        default=1.0,
        min=1e-4,
    )
    output_dir: bpy.props.StringProperty(
        name="Output Folder",
        description="Keep mesh, views and report here; empty: a temporary folder",
        subtype="DIR_PATH",
    )
    filter_glob: bpy.props.StringProperty(default=_IMAGE_GLOB, options={"HIDDEN"})

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """One conversion at a time."""
        if session.SESSION.is_busy:
            cls.poll_message_set("A conversion is under way")
            return False
        return True

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """From the interface: do not block; ask for the photo if there is none yet."""
        if bpy.app.background:
            return self.execute(context)
        self._blocks = False
        if not self.filepath:
            context.window_manager.fileselect_add(self)
            return {"RUNNING_MODAL"}
        return self.execute(context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """From a script: return when the object is there."""
        try:
            placement = Placement.at_cursor(context.scene, scale=self.scale)
            session.SESSION.start(self._job_spec(), placement)
        except One2345Error as error:
            return self._give_up(f"{error.message}\n{error.hint}")
        if not getattr(self, "_blocks", True):
            session.watch()
            return {"FINISHED"}
        state = session.SESSION.wait()
        for warning in state.warnings:
            self.report({"WARNING"}, warning)
        if state.status is JobStatus.FAILED:
            return self._give_up(str(state.failure))
        return {"FINISHED"} if state.status is JobStatus.DONE else {"CANCELLED"}

    def _give_up(self, reason: str) -> set[str]:
        self.report({"ERROR"}, reason.strip())
        return {"CANCELLED"}

    def _job_spec(self) -> JobSpec:
        job_id = uuid.uuid4().hex[:12]
        output_dir = bpy.path.abspath(self.output_dir) or f"{bpy.app.tempdir}/one2345/{job_id}"
        return JobSpec(
            job_id=job_id,
            image_path=Path(bpy.path.abspath(self.filepath)).absolute(),
            output_dir=Path(output_dir).absolute(),
            preset=self.preset,
            seed=self.seed,
            device=preferred_device(),
            elevation_deg=None if self.estimate_elevation else self.elevation_deg,
            grid_resolution=(
                None if self.grid_resolution == PRESET_RESOLUTION else self.grid_resolution
            ),
        )


class ONE2345_OT_cancel(bpy.types.Operator):
    """Stop the conversion that is under way"""

    bl_idname = "one2345.cancel"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}  # noqa: RUF012 - Blender's convention

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Only while there is something to cancel."""
        return session.SESSION.is_busy

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Ask the worker; it stops at its next step or is ended."""
        session.SESSION.cancel()
        return {"FINISHED"}
