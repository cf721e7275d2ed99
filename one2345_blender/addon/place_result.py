# SPDX-License-Identifier: GPL-3.0-or-later
"""A finished conversion becomes an object and a camera in the scene, as one undo step."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy.app.translations import pgettext_data as data_
from mathutils import Matrix, Vector

from ..contracts.errors import OutputError
from ..contracts.mesh import ColoredMesh, load_npz
from . import viewport
from .all_or_nothing import all_or_nothing
from .asset import AssetFields, mark_as_asset
from .camera_import import new_camera, photo_camera_matrix, show_photo_behind
from .free_place import Taken, free_point
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
_OWN_COLLECTION_MARK = f"{PROPERTY_PREFIX}results"
"""Of a collection: results go into it. Names are taken once in a file, whose scenes are many."""


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

    def moved_to(self, scene: bpy.types.Scene, taken: Iterable[Taken]) -> Placement:
        """The same at another scene's 3D cursor, or beside what is there."""
        there = free_point(scene.cursor.location, taken, scale=self.scale)
        return replace(self, scene_uid=scene.session_uid, ground_point=there)

    @property
    def taken(self) -> Taken:
        """The place that it keeps."""
        return Taken(ground_point=self.ground_point, scale=self.scale)

    @property
    def scene(self) -> bpy.types.Scene | None:
        """The scene, if it is still there."""
        return next((s for s in bpy.data.scenes if s.session_uid == self.scene_uid), None)


def places_taken(scene: bpy.types.Scene) -> list[Taken]:
    """Those of the scene's converted objects, where and as large as they are now."""
    return [
        Taken(
            ground_point=tuple(placed.matrix_world.translation),
            scale=placed.get(f"{PROPERTY_PREFIX}scale", 1.0)
            * max(map(abs, placed.matrix_world.to_scale())),
        )
        for placed in scene.objects
        if CAMERA_PROPERTY in placed
    ]


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
        OutputError: The mesh or the photo cannot be read, or its scene is gone.

    Whatever is raised, the file is as it was.
    """
    scene = placement.scene
    if scene is None:
        raise OutputError(
            "The scene for which the mesh was made is not open any more.",
            hint="Place the result in this scene with the button beside it.",
        )
    mesh = load_npz(Path(files[MESH_ROLE]))
    photo = _read_photo(Path(files[PHOTO_ROLE]))
    lens = _lens_for(scene, report)
    with all_or_nothing():
        mesh_object, camera_object = _new_objects(mesh, photo, lens, report, placement)
        if placement.asset is not None:
            mark_as_asset(
                mesh_object,
                placement.asset,
                description=data_("Made from a photo, preset {}, seed {}").format(
                    report["preset"], report["seed"]
                ),
                cutout_path=cutout_path,
            )
        own_collection = _own_collection(scene) if placement.uses_collection else None
        _link(scene, mesh_object, camera_object, own_collection)
    viewport.show_vertex_colors()
    bpy.ops.ed.undo_push(message=_UNDO_MESSAGE)
    return mesh_object


def _read_photo(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OutputError(
            f"The photo {path} cannot be read: {error.strerror or error}.",
            hint="Convert the picture again.",
        ) from error


def _new_objects(
    mesh: ColoredMesh,
    photo: bytes,
    lens: PhotoLens,
    report: Mapping[str, Any],
    placement: Placement,
) -> tuple[bpy.types.Object, bpy.types.Object]:
    """Mesh and camera, in no scene yet."""
    scale, ground_point = placement.scale, Vector(placement.ground_point)
    lowest_z = float(mesh.vertices[:, 2].min())
    name = Path(report["image_path"]).stem

    mesh_object = bpy.data.objects.new(name, new_mesh(name, _standing(mesh, lowest_z, scale)))
    mesh_object.matrix_world = Matrix.Translation(ground_point)

    camera = new_camera(f"{name} Camera", lens)
    show_photo_behind(camera, photo, name)
    camera_object = bpy.data.objects.new(camera.name, camera)
    camera_object.matrix_world = photo_camera_matrix(
        report["elevation"]["elevation_deg"],
        scale=scale,
        world_origin=ground_point - Vector((0.0, 0.0, scale * lowest_z)),
    )

    for placed in (mesh_object, camera_object):
        _note_origin(placed, report, scale)
    mesh_object[CAMERA_PROPERTY] = camera_object
    return mesh_object, camera_object


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
    """The scene's collection of results, also renamed or moved; made if it is not there."""
    ours = [found for found in scene.collection.children_recursive if found.library is None]
    marked = (found for found in ours if _OWN_COLLECTION_MARK in found)
    named = (found for found in ours if found.name == COLLECTION)
    found = next(itertools.chain(marked, named), None)
    if found is None:
        found = bpy.data.collections.new(COLLECTION)
        scene.collection.children.link(found)
    found[_OWN_COLLECTION_MARK] = True
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
