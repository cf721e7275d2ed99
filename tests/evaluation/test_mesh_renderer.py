# SPDX-License-Identifier: GPL-3.0-or-later
"""Result meshes through the method's cameras: size, place and colour of what is seen."""

import numpy as np
import pytest
import trimesh

from one2345_blender.contracts.cameras import CAMERA_RADIUS, Viewpoint, method_intrinsics
from one2345_blender.contracts.errors import EnvironmentMissingError
from one2345_blender.contracts.mesh import ColoredMesh
from one2345_blender.evaluation.mesh_renderer import MeshRenderer

SIZE_PX = 128
RADIUS = 0.3


@pytest.fixture
def renderer():
    try:
        with MeshRenderer(SIZE_PX) as renderer:
            yield renderer
    except EnvironmentMissingError as error:
        pytest.skip(error.message)


@pytest.fixture
def sphere():
    """Red where x > 0, blue elsewhere."""
    ball = trimesh.creation.icosphere(4, RADIUS)
    colors = np.where(ball.vertices[:, :1] > 0, [255, 0, 0, 255], [0, 0, 255, 255])
    return ColoredMesh(
        vertices=ball.vertices.astype(np.float32),
        faces=ball.faces.astype(np.int32),
        vertex_colors=colors.astype(np.uint8),
    )


@pytest.mark.parametrize("elevation_deg", [-30, 0, 60])
def test_a_sphere_is_a_disc_of_the_right_size_in_the_middle(renderer, sphere, elevation_deg):
    view = Viewpoint(name="v", azimuth_deg=40, elevation_deg=elevation_deg)
    _, silhouette = renderer.render(sphere, view)
    focal_px = method_intrinsics(SIZE_PX)[0, 0]
    radius_px = focal_px * RADIUS / np.sqrt(CAMERA_RADIUS**2 - RADIUS**2)
    assert np.sqrt(silhouette.sum() / np.pi) == pytest.approx(radius_px, abs=0.3)
    np.testing.assert_allclose(np.argwhere(silhouette).mean(0), SIZE_PX / 2, atol=0.3)


def test_the_front_camera_sees_plus_x_on_the_right_in_the_vertices_colors(renderer, sphere):
    rgb, _ = renderer.render(sphere, Viewpoint(name="v", azimuth_deg=0, elevation_deg=0))
    assert tuple(rgb[64, 80]) == (255, 0, 0) and tuple(rgb[64, 48]) == (0, 0, 255)
    assert tuple(rgb[2, 2]) == (255, 255, 255)


def test_clay_has_no_color(renderer, sphere):
    view = Viewpoint(name="v", azimuth_deg=0, elevation_deg=0)
    rgb, _ = renderer.render(sphere, view, is_clay=True)
    assert (rgb == rgb[..., :1]).all() and (rgb[60:68, 60:68] < 255).all()
