# SPDX-License-Identifier: GPL-3.0-or-later
"""The photo's outline as a cone in space, and the parts of a mesh that are kept."""

import numpy as np
import pytest
import torch

from one2345_blender.contracts.cameras import (
    CAMERA_RADIUS,
    Viewpoint,
    c2w_from_viewpoints,
    method_intrinsics,
    px_from_world,
)
from one2345_blender.pipeline.meshing import keep_large_parts
from one2345_blender.pipeline.silhouette import Silhouette

SIZE_PX = 128
DISC_PX = 30


@pytest.fixture
def disc():
    """A disc in the middle of a view from the front, 20 degrees up."""
    rows, columns = np.mgrid[:SIZE_PX, :SIZE_PX]
    (c2w,) = c2w_from_viewpoints([Viewpoint(name="0", azimuth_deg=0, elevation_deg=20)])
    mask = np.hypot(rows - SIZE_PX / 2, columns - SIZE_PX / 2) < DISC_PX
    return Silhouette(mask=mask, c2w=c2w, K=method_intrinsics(SIZE_PX))


def test_points_are_inside_exactly_where_their_pixels_are(disc):
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (2000, 3))
    px, _ = px_from_world(points, disc.c2w, disc.K)
    off_px = np.hypot(*(px - SIZE_PX / 2).T) - DISC_PX
    distance = disc.distance(torch.from_numpy(points)).numpy()
    clear = np.abs(off_px) > 1.5
    np.testing.assert_array_equal(distance[clear] > 0, off_px[clear] > 0)


def test_the_distance_is_metric_at_the_depth_of_the_point(disc):
    aside = torch.tensor([[0.35, 0.0, 0.0]], dtype=torch.float64)
    radius_at_origin = DISC_PX * CAMERA_RADIUS / float(disc.K[0, 0])
    assert disc.distance(aside).item() == pytest.approx(0.35 - radius_at_origin, abs=0.01)


def test_small_parts_go_and_large_ones_stay_whole():
    strip = np.array([[0, 1, 2], [1, 3, 2], [2, 3, 4], [3, 5, 4]], dtype=np.int32)
    crumb = np.array([[6, 7, 8]], dtype=np.int32)
    vertices = np.arange(27, dtype=np.float32).reshape(9, 3)
    faces = np.concatenate([crumb, strip])
    kept_vertices, kept_faces = keep_large_parts(vertices, faces, 0.5)
    np.testing.assert_array_equal(kept_vertices, vertices[:6])
    np.testing.assert_array_equal(kept_faces, strip)
    all_vertices, all_faces = keep_large_parts(vertices, faces, 0.0)
    np.testing.assert_array_equal(all_vertices, vertices)
    np.testing.assert_array_equal(all_faces, faces)
