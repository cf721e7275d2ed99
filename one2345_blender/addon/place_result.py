# SPDX-License-Identifier: GPL-3.0-or-later
"""A finished conversion becomes an object and a camera in the scene, as one undo step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy.app.translations import pgettext_data as data_
from mathutils import Vector

from ..contracts.errors import OutputError
from ..contracts.mesh import ColoredMesh, load_npz
from . import viewport
from .asset import AssetFields, mark_as_asset
from .camera_import import new_camera, photo_camera_matrix, show_photo_behind
from .mesh_import import new_mesh
from .photo_lens import PhotoLens, photo_lens

PROPERTY_PREFIX = "one2345_"
CAMERA_PROPERTY = f"{PROPERTY_PREFIX}camera"
"""Of a mesh object: its camera object."""
MESH_ROLE = "mesh_npz"
PHOTO_ROLE = "photo"
COLLECTION = "One-2-3-45"
"""Name of the collection of results, in each scene."""
_UNDO_MESSAGE = "Image to Mesh"
ROW_SPACING = 1.5
"""World units of the method between the objects of one row, whose diameters are 1.24 at most."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a result goes, noted when the conversion is asked for."""

    scene_uid: int
    """`session_uid` of the scene: it outlives undo and renaming, but not the opening of a file."""
    ground_point: tuple[float, float, float]
    """The object comes to rest on the ground through it."""
    scale: float = 1.0
    """Blender units per world unit of the method, whose cameras stand 1.2 world units away."""

    uses_collection: bool = False
    """Into the collection `COLLECTION`, not the active one."""
    asset: AssetFields | None = None
    """What to say of the asset; None: the object is not marked as one."""

    def moved_to(self, scene: bpy.types.Scene, *, place_in_row: int = 0) -> Placement:
        """The same at another scene's 3D cursor, or in a row that begins there."""
        there = point_in_row(scene.cursor.location, place_in_row, scale=self.scale)
        return replace(self, scene_uid=scene.session_uid, ground_point=there)

    @property
    def scene(self) -> bpy.types.Scene | None:
        """The scene, if it is still there."""
        return next((s for s in bpy.data.scenes if s.session_uid == self.scene_uid), None)


def point_in_row(
    first: Sequence[float], place_in_row: int, *, scale: float = 1.0
) -> tuple[float, float, float]:
    """Where the object with that number stands in a row along +X that begins at `first`."""
    x, y, z = first
    return (x + place_in_row * ROW_SPACING * scale, y, z)


def place_result(
    files: Mapping[str, str],
    report: Mapping[str, Any],
    placement: Placement,
    *,
    cutout_path: Path | None = None,
) -> bpy.types.Object:
    """Put mesh, camera and photo into the scene.

    The object stands upright with the photo's side to the front (-Y). Its origin is the point of
    the ground below the method's world origin; its lowest vertex is on the ground.

    Args:
        files: Paths by role; `mesh_npz` and `photo` are read.
        report: `RunReport.to_dict()`.
        placement: Where to.
        cutout_path: The object cut out of the photo, an asset's preview.

    Returns:
        The mesh object, selected and active unless the user is editing another one.

    Raises:
        OutputError: The mesh cannot be read, or its scene is gone.
    """
    scene = placement.scene
    if scene is None:
        raise OutputError(
            "The scene for which the mesh was made is not open any more.",
            hint="Place the result in this scene with the button beside it.",
        )
    mesh = load_npz(Path(files[MESH_ROLE]))
    scale, ground_point = placement.scale, Vector(placement.ground_point)
    lowest_z = float(mesh.vertices[:, 2].min())
    name = Path(report["image_path"]).stem

    mesh_object = bpy.data.objects.new(name, new_mesh(name, _standing(mesh, lowest_z, scale)))
    mesh_object.location = ground_point

    camera = new_camera(f"{name} Camera", _lens_for(scene, report))
    show_photo_behind(camera, Path(files[PHOTO_ROLE]), name)
    camera_object = bpy.data.objects.new(camera.name, camera)
    camera_object.matrix_world = photo_camera_matrix(
        report["elevation"]["elevation_deg"],
        scale=scale,
        world_origin=ground_point - Vector((0.0, 0.0, scale * lowest_z)),
    )

    for placed in (mesh_object, camera_object):
        _note_origin(placed, report, scale)
    mesh_object[CAMERA_PROPERTY] = camera_object
    own_collection = _own_collection(scene) if placement.uses_collection else None
    _link(scene, mesh_object, camera_object, own_collection)
    if placement.asset is not None:
        mark_as_asset(
            mesh_object,
            placement.asset,
            description=data_("Made from a photo, preset {}, seed {}").format(
                report["preset"], report["seed"]
            ),
            cutout_path=cutout_path,
        )
    viewport.show_vertex_colors()
    bpy.ops.ed.undo_push(message=_UNDO_MESSAGE)
    return mesh_object


def _standing(mesh: ColoredMesh, lowest_z: float, scale: float) -> ColoredMesh:
    """The mesh in Blender units, its lowest vertex at z = 0."""
    vertices = (mesh.vertices - np.array([0.0, 0.0, lowest_z])) * scale
    return replace(mesh, vertices=vertices.astype(np.float32))


def _lens_for(scene: bpy.types.Scene, report: Mapping[str, Any]) -> PhotoLens:
    """The photo's lens for the scene's render frame."""
    render = scene.render
    frame_width = render.resolution_x * render.pixel_aspect_x
    frame_height = render.resolution_y * render.pixel_aspect_y
    return photo_lens(
        report["crop_box_px"],
        report["source_size_px"],
        view_size_px=report["view_size_px"],
        frame_aspect=frame_width / frame_height,
    )


def _note_origin(placed: bpy.types.Object, report: Mapping[str, Any], scale: float) -> None:
    """Custom properties that say how the object came to be."""
    elevation = report["elevation"]
    origin = {
        "preset": report["preset"],
        "seed": report["seed"],
        "elevation_deg": elevation["elevation_deg"],
        "elevation_estimated": elevation["is_estimated"],
        "elevation_confidence": elevation["confidence"],
        "image_path": report["image_path"],
        "total_seconds": report["total_seconds"],
        "scale": scale,
    }
    for name, value in origin.items():
        placed[PROPERTY_PREFIX + name] = value


def _own_collection(scene: bpy.types.Scene) -> bpy.types.Collection:
    """The scene's collection of results, made if it is not there."""
    found: bpy.types.Collection | None = scene.collection.children.get(COLLECTION)
    if found is None:
        found = bpy.data.collections.new(COLLECTION)
        scene.collection.children.link(found)
    return found


def _link(
    scene: bpy.types.Scene,
    mesh_object: bpy.types.Object,
    camera_object: bpy.types.Object,
    own_collection: bpy.types.Collection | None,
) -> None:
    """Link both; select the mesh object unless that would take the user out of a mode."""
    current = bpy.context.view_layer
    view_layer = current if current.id_data == scene else scene.view_layers[0]
    layer_collection = view_layer.active_layer_collection
    is_shown = layer_collection.is_visible and not layer_collection.exclude
    active_or_root = layer_collection.collection if is_shown else scene.collection
    collection = own_collection or active_or_root
    for placed in (mesh_object, camera_object):
        collection.objects.link(placed)
    if scene.camera is None:
        scene.camera = camera_object
    active = view_layer.objects.active
    if active is None or active.mode == "OBJECT":
        for selected in list(view_layer.objects.selected):
            selected.select_set(False, view_layer=view_layer)
        if mesh_object.visible_get(view_layer=view_layer):
            mesh_object.select_set(True, view_layer=view_layer)
            view_layer.objects.active = mesh_object
