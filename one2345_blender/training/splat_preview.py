# SPDX-License-Identifier: GPL-3.0-or-later
"""A quick look at a coloured mesh from the method's cameras, without OpenGL."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..contracts.cameras import CameraRig, px_from_world
from ..contracts.mesh import ColoredMesh


def splat_views(mesh: ColoredMesh, cameras: CameraRig) -> NDArray[np.uint8]:
    """(V,H,W,3) uint8 on white: the nearest vertex or face centre of each pixel, shaded a little.

    Dense meshes only: each point covers 2 x 2 pixels.
    """
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    shade = 0.75 + 0.25 * normals[:, 2:] / np.maximum(length, 1e-12)
    colors = mesh.vertex_colors[mesh.faces, :3].mean(1) * shade
    points = corners.mean(1)
    views = np.full((len(cameras.c2w), cameras.height_px, cameras.width_px, 3), 255, np.uint8)
    for view, c2w in zip(views, cameras.c2w, strict=True):
        px, depth = px_from_world(points, c2w, cameras.K)
        far_first = np.argsort(-depth)
        column, row = np.floor(px[far_first]).astype(int).T
        for d_row, d_column in ((0, 0), (0, 1), (1, 0), (1, 1)):
            y = (row + d_row).clip(0, cameras.height_px - 1)
            x = (column + d_column).clip(0, cameras.width_px - 1)
            view[y, x] = colors[far_first]
    return views
