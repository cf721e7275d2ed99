# SPDX-License-Identifier: GPL-3.0-or-later
"""Mesh files as another program reads them."""

import io

import numpy as np
import pytest
import trimesh

from one2345_blender.contracts.mesh import ColoredMesh
from one2345_blender.pipeline.mesh_files import write_glb, write_ply


@pytest.fixture
def mesh():
    """A tetrahedron whose tip is up and whose vertex 1 is in front (-Y)."""
    return ColoredMesh(
        vertices=np.array([[0, 0, 1], [0, -1, 0], [1, 1, 0], [-1, 1, 0]], dtype=np.float32),
        faces=np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]], dtype=np.int32),
        vertex_colors=np.array(
            [[128, 128, 128, 255], [255, 0, 0, 255], [0, 10, 0, 255], [0, 0, 255, 255]],
            dtype=np.uint8,
        ),
    )


def written(write, mesh, file_type):
    file = io.BytesIO()
    write(mesh, file)
    file.seek(0)
    return trimesh.load(file, file_type=file_type, force="mesh", process=False)


def test_ply_keeps_frame_faces_and_srgb_colors(mesh):
    read = written(write_ply, mesh, "ply")
    np.testing.assert_allclose(read.vertices, mesh.vertices)
    np.testing.assert_array_equal(read.faces, mesh.faces)
    np.testing.assert_array_equal(read.visual.vertex_colors, mesh.vertex_colors)
    assert read.volume > 0


def test_glb_has_y_up_the_front_at_plus_z_and_linear_colors(mesh):
    read = written(write_glb, mesh, "glb")
    np.testing.assert_allclose(read.vertices[0], [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(read.vertices[1], [0, 0, 1], atol=1e-6)
    assert read.volume > 0
    assert read.visual.vertex_colors[0, 0] == round(255 * ((128 / 255 + 0.055) / 1.055) ** 2.4)
    np.testing.assert_array_equal(read.visual.vertex_colors[1], [255, 0, 0, 255])
