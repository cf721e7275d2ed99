# SPDX-License-Identifier: GPL-3.0-or-later
"""What turns pictures into meshes; the work is done in `session` and `place_result`."""

import uuid
from pathlib import Path
from typing import Any

import bpy
from bpy.app.translations import pgettext_rpt as rpt_

from ..client.job_queue import Job
from ..client.job_state import JobStatus
from ..contracts.errors import One2345Error, OptionError
from ..contracts.job import MAX_GRID_RESOLUTION, PRESETS, JobSpec
from . import session, texts
from .free_place import free_point, point_in_row
from .options import (
    PRESET_RESOLUTION,
    QUALITIES,
    ConversionOptions,
    asset_fields,
)
from .picture_file import picture_file
from .picture_files import PictureFiles
from .place_result import Placement
from .preferences import memory_limit_gb, preferred_device
from .reports import give_up, without_prefix


class ONE2345_OT_image_to_mesh(PictureFiles, ConversionOptions, bpy.types.Operator):
    """Turn the photo of an object into a colored mesh, with a camera that matches the photo"""

    bl_idname = "one2345.image_to_mesh"
    bl_label = "Image to Mesh"
    bl_options = {"REGISTER"}  # noqa: RUF012 - place_result makes the one undo step

    image: bpy.props.StringProperty(
        name="Image",
        description="Name of an image of this .blend file, in place of a file",
        options={"SKIP_SAVE"},
    )
    preset: bpy.props.StringProperty(
        name="Preset",
        description="Name of a preset, or a folder with weights",
        default=PRESETS[0],
    )
    grid_resolution: bpy.props.IntProperty(
        name="Resolution",
        description="Samples along each axis of the volume, 16 to 512; 0: as the preset says",
        soft_min=PRESET_RESOLUTION,
        soft_max=MAX_GRID_RESOLUTION,
        default=PRESET_RESOLUTION,
    )
    location: bpy.props.FloatVectorProperty(
        name="Location",
        description="Where the object comes to rest; if it is not given, at the 3D cursor or "
        "beside the converted objects there",
        subtype="TRANSLATION",
        options={"HIDDEN", "SKIP_SAVE"},
    )
    output_dir: bpy.props.StringProperty(
        name="Output Folder",
        description="Keep mesh, views and report here; empty: a temporary folder",
        subtype="DIR_PATH",
        options={"SKIP_SAVE"},
    )

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """From the interface: do not block; ask for the photo if there is none yet."""
        if bpy.app.background:
            return self.execute(context)
        self._blocks = False
        if not (self.image or self.picture_paths()):
            context.window_manager.fileselect_add(self)
            return {"RUNNING_MODAL"}
        return self.execute(context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """From a script: return when the objects are there."""
        try:
            jobs = self._queue_jobs(context.scene)
        except One2345Error as error:
            return give_up(self, error)
        session.watch()
        if not getattr(self, "_blocks", True):
            self.report({"INFO"}, texts.queued([job.spec.image_path.stem for job in jobs]))
            return {"FINISHED"}
        session.SESSION.wait(jobs)
        return self._tell(jobs)

    def _queue_jobs(self, scene: bpy.types.Scene) -> list[Job]:
        """One job for each picture; none if any of them cannot be queued."""
        specs = self._job_specs()
        is_placed = self.properties.is_property_set("location")
        first = self.location if is_placed else scene.cursor.location
        jobs: list[Job] = []
        try:
            for place_in_row, spec in enumerate(specs):
                if is_placed:
                    ground_point = point_in_row(first, place_in_row, scale=self.scale)
                else:
                    taken = session.SESSION.places_taken(scene)
                    ground_point = free_point(first, taken, scale=self.scale)
                placement = Placement(
                    scene_uid=scene.session_uid,
                    ground_point=ground_point,
                    scale=self.scale,
                    uses_collection=self.use_collection,
                    asset=asset_fields(self),
                )
                jobs.append(session.SESSION.start(spec, placement))
        except One2345Error:
            for job in jobs:
                session.SESSION.cancel(job)
                session.SESSION.forget(job)
            raise
        return jobs

    def _tell(self, jobs: list[Job]) -> set[str]:
        """Report how the jobs ended."""
        for warning in dict.fromkeys(warning for job in jobs for warning in job.state.warnings):
            self.report({"WARNING"}, warning)
        for job in filter(session.SESSION.is_unplaced, jobs):
            self.report({"WARNING"}, texts.why_unplaced(has_scene=session.SESSION.has_scene(job)))
        failures = [job for job in jobs if job.state.status is JobStatus.FAILED]
        if len(jobs) == 1 and failures:
            return give_up(self, str(failures[0].state.failure))
        if failures:
            reasons = [f"{job.spec.image_path.name}: {job.state.failure}" for job in failures]
            summary = rpt_("{} of {} pictures could not be converted.").format(
                len(failures), len(jobs)
            )
            return give_up(self, "\n".join([summary, *reasons]))
        are_done = all(job.state.status is JobStatus.DONE for job in jobs)
        return {"FINISHED"} if are_done else {"CANCELLED"}

    def _job_specs(self) -> list[JobSpec]:
        paths = self.picture_paths()
        if not (self.image or paths):
            raise OptionError(
                "Expected a picture: filepath, files with their directory, or image; got none.",
                hint="Choose a picture.",
            )
        output_dir = bpy.path.abspath(self.output_dir)
        if self.image:
            folder = Path(output_dir or _temporary_folder())
            return [self._job_spec(picture_file(self.image, folder), folder)]
        if not output_dir:
            return [self._job_spec(path, _temporary_folder()) for path in paths]
        if len(paths) == 1:
            return [self._job_spec(paths[0], Path(output_dir))]
        return [self._job_spec(path, Path(output_dir) / path.name) for path in paths]

    def _job_spec(self, image_path: Path, output_dir: Path) -> JobSpec:
        return JobSpec(
            job_id=uuid.uuid4().hex[:12],
            image_path=image_path,
            output_dir=output_dir.absolute(),
            preset=_preset(self.preset),
            seed=self.seed,
            device=preferred_device(),
            memory_limit_gb=memory_limit_gb(),
            elevation_deg=None if self.estimate_elevation else self.elevation_deg,
            grid_resolution=(
                None if self.grid_resolution == PRESET_RESOLUTION else self.grid_resolution
            ),
            **QUALITIES[self.quality],
        )


def start_conversion(caller: bpy.types.Operator, **options: Any) -> set[str]:
    """Call the operator as its button does: it returns at once, except in a Blender without a
    window. What it reports, the caller does; the caller's answer to Blender."""
    call = "EXEC_DEFAULT" if bpy.app.background else "INVOKE_DEFAULT"
    before = len(session.SESSION.jobs)
    try:
        answer: set[str] = bpy.ops.one2345.image_to_mesh(call, **options)
    except RuntimeError as error:  # what bpy makes of a report
        return give_up(caller, without_prefix(error))
    if not bpy.app.background and (jobs := session.SESSION.jobs[before:]):
        caller.report({"INFO"}, texts.queued([job.spec.image_path.stem for job in jobs]))
    return answer


def _preset(name: str) -> str:
    """A preset's name, or its folder's absolute path: the worker has a working directory of its
    own."""
    if not name or name in PRESETS:
        return name
    folder = Path(bpy.path.abspath(name))
    return str(folder.absolute()) if folder.is_dir() else name


def _temporary_folder() -> Path:
    return Path(bpy.app.tempdir) / "one2345" / uuid.uuid4().hex[:12]
