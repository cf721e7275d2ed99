# SPDX-License-Identifier: GPL-3.0-or-later
"""The imported camera projects as the method does, crop undone, in any render frame."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector
from numpy.typing import NDArray

from one2345_blender.addon.camera_import import new_camera, photo_camera_matrix
from one2345_blender.addon.photo_lens import photo_lens
from one2345_blender.contracts.cameras import (
    Viewpoint,
    c2w_from_viewpoints,
    method_intrinsics,
    px_from_world,
)

POINTS = np.random.default_rng(1).uniform(-0.5, 0.5, (50, 3))
VIEW_SIZE_PX = 128
WORLD_ORIGIN, SCALE = (3.0, -2.0, 1.5), 2.5


def method_photo_px(elevation_deg: float, crop_box_px: tuple[float, ...]) -> NDArray[np.float64]:
    """Photo pixels of `POINTS` as the method sees them."""
    viewpoint = Viewpoint(name="photo", azimuth_deg=0.0, elevation_deg=elevation_deg)
    left_px, top_px, side_px = crop_box_px
    c2w = c2w_from_viewpoints([viewpoint])[0]
    view_px, _depth = px_from_world(POINTS, c2w, method_intrinsics(VIEW_SIZE_PX))
    from_corner_px = view_px + 0.5  # the middle of pixel i lies at coordinate i in `view_px`
    return from_corner_px * side_px / VIEW_SIZE_PX + (left_px, top_px)


def blender_photo_px(
    elevation_deg: float,
    crop_box_px: tuple[float, ...],
    photo_size_px: tuple[int, int],
    frame_size_px: tuple[int, int],
) -> NDArray[np.float64]:
    """Photo pixels of `POINTS` in the scene, the photo fitted into the render frame."""
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = frame_size_px
    frame_width, frame_height = frame_size_px
    lens = photo_lens(
        crop_box_px,
        photo_size_px,
        view_size_px=VIEW_SIZE_PX,
        frame_aspect=frame_width / frame_height,
    )
    camera = bpy.data.objects.new("camera", new_camera("camera", lens))
    scene.collection.objects.link(camera)
    camera.matrix_world = photo_camera_matrix(elevation_deg, scale=SCALE, world_origin=WORLD_ORIGIN)
    bpy.context.view_layer.update()
    in_scene = [Vector(point) * SCALE + Vector(WORLD_ORIGIN) for point in POINTS]
    views = np.array([world_to_camera_view(scene, camera, point) for point in in_scene])
    assert (views[:, 2] > 0).all()
    frame_px = np.stack([views[:, 0], 1 - views[:, 1]], axis=-1) * frame_size_px
    px_per_photo_px = min(np.array(frame_size_px) / photo_size_px)
    photo_corner_px = (np.array(frame_size_px) - np.array(photo_size_px) * px_per_photo_px) / 2
    return (frame_px - photo_corner_px) / px_per_photo_px


@pytest.mark.parametrize("elevation_deg", [-10.0, 0.0, 33.0, 90.0])
@pytest.mark.parametrize(
    ("photo_size_px", "crop_box_px"),
    [
        ((640, 400), (250.0, -20.0, 300.0)),
        ((400, 640), (-37.5, 200.0, 500.0)),
        ((512, 512), (0.0, 0.0, 512.0)),
    ],
)
@pytest.mark.parametrize("frame", ["photo", "wide", "tall"])
def test_mesh_lies_over_the_photo(
    elevation_deg: float,
    photo_size_px: tuple[int, int],
    crop_box_px: tuple[float, float, float],
    frame: str,
) -> None:
    frame_size_px = {"photo": photo_size_px, "wide": (1920, 1080), "tall": (600, 1500)}[frame]
    seen_px = blender_photo_px(elevation_deg, crop_box_px, photo_size_px, frame_size_px)
    expected_px = method_photo_px(elevation_deg, crop_box_px)
    np.testing.assert_allclose(seen_px, expected_px, atol=0.05)


def test_an_uncropped_square_photo_gives_the_method_s_lens() -> None:
    lens = photo_lens((0.0, 0.0, 256.0), (256, 256), view_size_px=256, frame_aspect=1.0)
    field_of_view_deg = 2 * np.degrees(np.arctan(18.0 / lens.focal_mm))
    assert field_of_view_deg == pytest.approx(49.13, abs=0.01)
    assert (lens.shift_x, lens.shift_y) == (-0.5 / 256, 0.5 / 256)
