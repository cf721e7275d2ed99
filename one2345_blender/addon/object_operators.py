# SPDX-License-Identifier: GPL-3.0-or-later
"""What people do next with a converted object."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import bpy
import numpy as np
from bpy.app.translations import pgettext_rpt as rpt_

from ..client.job_state import JobStatus
from ..contracts.job import MAX_SEED
from . import session
from .free_place import free_point
from .operators import start_conversion
from .place_result import CAMERA_PROPERTY
from .properties import operator_options, settings
from .reports import give_up

_WITHOUT_RESULT = (JobStatus.CANCELLED, JobStatus.FAILED)
_SMOOTH_ITERATIONS = 5
_DECIMATE_RATIO = 0.25
_REMESH_VOXELS = 150
"""Along the longest side: about as many as the embedded preset's mesh has, since the colors are on
the vertices."""


def is_on_converted_object(context: bpy.types.Context) -> bool:
    """True if a conversion made the active object, and it is a mesh still."""
    active = context.active_object
    return active is not None and active.type == "MESH" and CAMERA_PROPERTY in active


class OnConvertedObject:
    """Mix-in: an operator on the active object, in object mode."""

    poll_message_set: ClassVar[Callable[[str], None]]
    """Blender's."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only where such an object is active."""
        if not is_on_converted_object(context):
            cls.poll_message_set("The active object is not one that Image to Mesh made")
            return False
        if context.mode != "OBJECT":
            cls.poll_message_set("Only in Object Mode")
            return False
        return True


class ONE2345_OT_frame(OnConvertedObject, bpy.types.Operator):
    """Move the view so that it shows the whole object"""

    bl_idname = "one2345.frame"
    bl_label = "Frame Object"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only in a 3D view."""
        return super().poll(context) and _is_in_3d_view(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Select it alone and frame the selection."""
        placed = context.active_object
        for selected in context.selected_objects:
            selected.select_set(selected == placed)
        placed.select_set(True)
        with _main_region(context):
            bpy.ops.view3d.view_selected()
        return {"FINISHED"}


class ONE2345_OT_look_through_camera(OnConvertedObject, bpy.types.Operator):
    """Look through the camera that matches the photo, with the photo behind the object"""

    bl_idname = "one2345.look_through_camera"
    bl_label = "Look Through Camera"
    bl_options = {"UNDO"}  # noqa: RUF012 - Blender's convention

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only in a 3D view, and while the camera is in the scene."""
        if not (super().poll(context) and _is_in_3d_view(cls, context)):
            return False
        camera = context.active_object[CAMERA_PROPERTY]
        if camera is None or camera.name not in context.scene.objects:
            cls.poll_message_set("The object's camera is not in this scene")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Make it the scene's camera and the view's."""
        context.scene.camera = context.active_object[CAMERA_PROPERTY]
        context.space_data.region_3d.view_perspective = "CAMERA"
        return {"FINISHED"}


class ONE2345_OT_another_seed(OnConvertedObject, bpy.types.Operator):
    """Convert the object's photo again with the next seed that it was not converted with yet, and
    put the result beside it"""

    bl_idname = "one2345.another_seed"
    bl_label = "Another Seed"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Queue it: what made the object is as it was, all else as the panel says."""
        placed = context.active_object
        scale = placed["one2345_scale"]
        is_given = (
            not placed["one2345_elevation_estimated"]
            and placed["one2345_elevation_confidence"] == 1.0
        )
        photo_path = placed["one2345_image_path"]
        photo = {"filepath": photo_path} if Path(photo_path).is_file() else _photo_image(placed)
        if not photo:
            return give_up(self, rpt_("The photo is gone: {}").format(photo_path))
        own_options = {
            "preset": placed["one2345_preset"],
            "seed": _unused_seed(placed),
            "estimate_elevation": not is_given,
            "elevation_deg": placed["one2345_elevation_deg"],
            "scale": scale,
        }
        return start_conversion(
            self,
            **photo,
            **(operator_options(settings(context)) | own_options),
            location=free_point(
                placed.matrix_world.translation,
                session.SESSION.places_taken(context.scene),
                scale=scale,
                place_in_row=1,
            ),
        )


class ONE2345_OT_refine(OnConvertedObject, bpy.types.Operator):
    """Work on the mesh with Blender's own tools"""

    bl_idname = "one2345.refine"
    bl_label = "Refine Mesh"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012 - Blender's convention

    kind: bpy.props.EnumProperty(
        name="Kind",
        description="Which tool",
        items=[
            ("SMOOTH", "Smooth", "Add a Smooth modifier, which evens out the surface"),
            ("REMESH", "Remesh", "Rebuild the mesh from even quads with Voxel Remesh"),
            (
                "DECIMATE",
                "Decimate",
                "Add a Decimate modifier, which leaves a quarter of the faces",
            ),
        ],
    )

    @classmethod
    def description(
        cls, _context: bpy.types.Context, properties: bpy.types.OperatorProperties
    ) -> str:
        """That of the tool."""
        items = properties.bl_rna.properties["kind"].enum_items
        text: str = items[properties.kind].description
        return text

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Modifiers stay editable; the remesh is applied."""
        placed = context.active_object
        if self.kind == "REMESH":
            placed.data.remesh_voxel_size = _longest_side(placed.data) / _REMESH_VOXELS
            placed.data.use_remesh_preserve_attributes = True
            return bpy.ops.object.voxel_remesh()
        bpy.ops.object.modifier_add(type=self.kind)
        modifier = placed.modifiers.active
        if self.kind == "SMOOTH":
            modifier.iterations = _SMOOTH_ITERATIONS
        else:
            modifier.ratio = _DECIMATE_RATIO
        return {"FINISHED"}


def _longest_side(mesh: bpy.types.Mesh) -> float:
    """Of its bounds in the mesh's own units, as a voxel's size is: the object may be scaled."""
    vertices = np.zeros((len(mesh.vertices), 3), dtype=np.float32)
    mesh.vertices.foreach_get("co", vertices.ravel())
    return float(np.ptp(vertices, axis=0).max())


def _unused_seed(placed: bpy.types.Object) -> int:
    """The first after the object's own that no object and no conversion of its photo has."""
    photo = Path(placed["one2345_image_path"]).stem
    used = {
        found.get("one2345_seed")
        for found in bpy.data.objects
        if CAMERA_PROPERTY in found and Path(found.get("one2345_image_path", "")).stem == photo
    }
    used |= {
        job.spec.seed
        for job in session.SESSION.jobs
        if job.spec.image_path.stem == photo and job.state.status not in _WITHOUT_RESULT
    }
    seed: int = placed["one2345_seed"]
    while seed in used | {placed["one2345_seed"]}:
        seed = (seed + 1) % (MAX_SEED + 1)
    return seed


def _photo_image(placed: bpy.types.Object) -> dict[str, str]:
    """The photo that is packed behind the object's camera, as an option of the operator."""
    camera = placed[CAMERA_PROPERTY]
    backgrounds = camera.data.background_images if camera is not None else []
    images = [background.image for background in backgrounds if background.image is not None]
    return {"image": images[0].name} if images else {}


def _is_in_3d_view(cls: Any, context: bpy.types.Context) -> bool:
    if context.area is None or context.area.type != "VIEW_3D":
        cls.poll_message_set("Only in a 3D view")
        return False
    return True


def _main_region(context: bpy.types.Context) -> AbstractContextManager[object]:
    """Blender's view operators work in the view itself, not in its sidebar."""
    region = next(region for region in context.area.regions if region.type == "WINDOW")
    return context.temp_override(area=context.area, region=region)
