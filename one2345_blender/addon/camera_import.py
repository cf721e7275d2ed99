# SPDX-License-Identifier: GPL-3.0-or-later
"""The photo's camera: looking through it, the mesh lies over the photo."""

from __future__ import annotations

from collections.abc import Sequence

import bpy
from mathutils import Matrix, Vector

from ..contracts.cameras import Viewpoint, c2w_from_viewpoints, swap_camera_axes
from .photo_lens import SENSOR_MM, PhotoLens

_PHOTO_ALPHA = 0.7


def new_camera(name: str, lens: PhotoLens) -> bpy.types.Camera:
    """Create a camera datablock with the photo's lens."""
    camera = bpy.data.cameras.new(name)
    camera.type = "PERSP"
    camera.sensor_fit = lens.sensor_fit
    camera.sensor_width = SENSOR_MM
    camera.sensor_height = SENSOR_MM
    camera.lens = lens.focal_mm
    camera.shift_x = lens.shift_x
    camera.shift_y = lens.shift_y
    camera.clip_start = 0.01
    return camera


def show_photo_behind(camera: bpy.types.Camera, photo: bytes, name: str) -> None:
    """Show the photo behind the scene, filling the frame as `photo_lens` assumes.

    Args:
        camera: The camera that `photo_lens` describes.
        photo: A PNG file of the photo as the method read it, upright; packed into the .blend, since
            the job's folder may be temporary.
        name: What the image is called in Blender, and would be if it were unpacked.
    """
    image = bpy.data.images.new(name, 1, 1)
    image.source, image.filepath_raw = "FILE", f"//{name}.png"
    image.pack(data=photo, data_len=len(photo))  # unread until somebody looks at it
    background = camera.background_images.new()
    background.image = image
    background.alpha = _PHOTO_ALPHA
    background.frame_method = "FIT"
    background.display_depth = "BACK"
    camera.show_background_images = True


def photo_camera_matrix(
    elevation_deg: float, *, scale: float, world_origin: Sequence[float]
) -> Matrix:
    """Where the photo's camera stands in the scene: its `matrix_world`.

    Args:
        elevation_deg: Of the photo above the horizon; its azimuth is 0, the scene's front (-Y).
        scale: Blender units per world unit of the method.
        world_origin: `(3,)`, where the method's world origin lies in the scene.
    """
    viewpoint = Viewpoint(name="photo", azimuth_deg=0.0, elevation_deg=elevation_deg)
    matrix = Matrix(swap_camera_axes(c2w_from_viewpoints([viewpoint]))[0].tolist())
    matrix.translation = Vector(world_origin) + scale * matrix.translation
    return matrix
