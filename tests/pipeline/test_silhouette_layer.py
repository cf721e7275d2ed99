# SPDX-License-Identifier: GPL-3.0-or-later
"""A mesh fills the photo's outline: what the signed distance lacks is put where it fits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from one2345_blender.contracts.cameras import (
    CAMERA_RADIUS,
    Viewpoint,
    c2w_from_viewpoints,
    method_intrinsics,
)
from one2345_blender.pipeline.reconstruction.frame import VolumeFrame, sphere_bounds, volume_frame
from one2345_blender.pipeline.silhouette import Silhouette
from one2345_blender.pipeline.silhouette_layer import MAX_HALF_THICKNESS, SilhouetteLayer

SIZE_PX = 64
RESOLUTION = 64
HALF_SIDE = 0.62
RADIUS_PX = 14
NEARER = 0.15
"""The ball stands so far before the middle of the world."""


@pytest.fixture
def c2w() -> np.ndarray:
    (c2w,) = c2w_from_viewpoints([Viewpoint(name="0", azimuth_deg=0, elevation_deg=30)])
    return c2w


@pytest.fixture
def frame(c2w: np.ndarray) -> VolumeFrame:
    camera = torch.from_numpy(c2w)
    centre, radius = sphere_bounds(camera, HALF_SIDE)
    K = torch.from_numpy(method_intrinsics(SIZE_PX))
    return volume_frame(camera[None], K, camera, centre, radius)


def outline(c2w: np.ndarray, mask: np.ndarray) -> Silhouette:
    return Silhouette(mask=mask, c2w=c2w, K=method_intrinsics(SIZE_PX))


def from_middle() -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of all pixels, from the picture's middle."""
    rows, columns = np.mgrid[:SIZE_PX, :SIZE_PX] - SIZE_PX / 2
    return rows, columns


def ball(silhouette: Silhouette, frame: VolumeFrame, radius_px: float) -> torch.Tensor:
    """Signed distance, volume units, of a ball on the camera's axis that looks so large."""
    K = silhouette.K[0, 0]
    distance = CAMERA_RADIUS - NEARER
    radius = distance * np.sin(np.arctan(radius_px / K)) / frame.radius
    axis = torch.linspace(-1, 1, RESOLUTION)
    nodes = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    centre = torch.tensor([0.0, 0.0, -NEARER / frame.radius])
    return (nodes - centre).norm(dim=-1) - radius


def test_an_object_that_fills_its_outline_needs_nothing(
    c2w: np.ndarray, frame: VolumeFrame
) -> None:
    silhouette = outline(c2w, np.hypot(*from_middle()) < RADIUS_PX)
    layer = SilhouetteLayer.of_missing(ball(silhouette, frame, RADIUS_PX + 1), silhouette, frame)
    np.testing.assert_array_equal(layer.half_thickness, 0.0)


def test_every_ray_of_the_outline_meets_the_filled_object(
    c2w: np.ndarray, frame: VolumeFrame
) -> None:
    rows, columns = from_middle()
    handle = (np.abs(rows) < 3) & (columns > 0) & (columns < 26)
    silhouette = outline(c2w, (np.hypot(rows, columns) < RADIUS_PX) | handle)
    layer = SilhouetteLayer.of_missing(ball(silhouette, frame, RADIUS_PX), silhouette, frame)
    bare = silhouette.mask & (np.hypot(rows, columns) > RADIUS_PX + 1)
    middles = [
        points[column, 0]
        for row, points in enumerate(silhouette.ray_points(torch.tensor([1.0])))
        for column in np.flatnonzero(bare[row])
    ]
    eye = torch.from_numpy(c2w[:3, 3])
    on_layer = eye + (torch.stack(middles) - eye) * torch.from_numpy(layer.depth[bare])[:, None]
    distance = layer.distance(on_layer).numpy()
    np.testing.assert_allclose(distance, -layer.half_thickness[bare], atol=1e-6)
    assert (distance < -0.5 * CAMERA_RADIUS / silhouette.K[0, 0]).all()
    assert (layer.half_thickness <= MAX_HALF_THICKNESS).all()


def test_a_handle_joins_the_body_at_its_depth(c2w: np.ndarray, frame: VolumeFrame) -> None:
    rows, columns = from_middle()
    handle = (np.abs(rows) < 3) & (columns > 0) & (columns < 26)
    silhouette = outline(c2w, (np.hypot(rows, columns) < RADIUS_PX) | handle)
    layer = SilhouetteLayer.of_missing(ball(silhouette, frame, RADIUS_PX), silhouette, frame)
    tip = handle & (columns > 20)
    np.testing.assert_allclose(layer.depth[tip], CAMERA_RADIUS - NEARER, atol=0.05)
    slope = np.abs(np.diff(layer.depth, axis=1))[handle[:, 1:] & handle[:, :-1]]
    assert slope.max() < 0.02
