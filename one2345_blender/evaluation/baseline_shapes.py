# SPDX-License-Identifier: GPL-3.0-or-later
"""What a result must beat: shapes of the right size, and all that the input's outline allows."""

from __future__ import annotations

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray

from ..contracts.cameras import px_from_world
from ..contracts.mesh import ColoredMesh
from ..pipeline.meshing import zero_level_set
from ..pipeline.silhouette import Silhouette
from ..training.framing import MAX_OBJECT_RADIUS

HULL_RESOLUTION = 96

_BALL_SUBDIVISIONS = 4
_HULL_HALF_SIDE = 1.02 * MAX_OBJECT_RADIUS
"""World units; the margin keeps the surface off the grid's border."""


def ellipsoid(world_from_box: NDArray[np.float64], rgb: NDArray[np.uint8]) -> ColoredMesh:
    """The ellipsoid in the true object's box, in one colour.

    Args:
        world_from_box: `(4, 4)`, takes the cube [-1, 1]^3 to the box.
        rgb: `(3,)` sRGB.
    """
    return _in_box(trimesh.creation.icosphere(_BALL_SUBDIVISIONS), world_from_box, rgb)


def box(world_from_box: NDArray[np.float64], rgb: NDArray[np.uint8]) -> ColoredMesh:
    """The true object's box itself; arguments as of `ellipsoid`."""
    return _in_box(trimesh.creation.box((2.0, 2.0, 2.0)), world_from_box, rgb)


def _in_box(
    shape: trimesh.Trimesh, world_from_box: NDArray[np.float64], rgb: NDArray[np.uint8]
) -> ColoredMesh:
    vertices = trimesh.transformations.transform_points(shape.vertices, world_from_box)
    colors = np.broadcast_to(np.append(rgb, np.uint8(255)), (len(vertices), 4))
    return ColoredMesh(
        vertices=vertices.astype(np.float32),
        faces=shape.faces.astype(np.int32),
        vertex_colors=colors.astype(np.uint8),
    )


def visual_hull(
    silhouette: Silhouette, rgb: NDArray[np.uint8], truth_points: NDArray[np.float64]
) -> ColoredMesh:
    """The cone of the input's outline between the true nearest and farthest depth.

    Its colours are the input's, carried along the view rays.

    Args:
        silhouette: Of the input view.
        rgb: `(S, S, 3)` of the input view.
        truth_points: `(N, 3)` world frame.
    """
    axis = torch.linspace(-_HULL_HALF_SIDE, _HULL_HALF_SIDE, HULL_RESOLUTION)
    nodes = torch.cartesian_prod(axis, axis, axis)
    c2w, K = silhouette.c2w, silhouette.K
    _, depth = px_from_world(nodes.numpy(), c2w, K)
    _, true_depth = px_from_world(truth_points, c2w, K)
    outside_slab = np.maximum(true_depth.min() - depth, depth - true_depth.max())
    distance = np.maximum(silhouette.distance(nodes).numpy(), outside_slab)
    grid, faces = zero_level_set(distance.reshape((HULL_RESOLUTION,) * 3).astype(np.float32))
    vertices = grid * np.float32(_HULL_HALF_SIDE)
    px, _ = px_from_world(vertices, c2w, K)
    column, row = np.rint(px).astype(int).clip(0, len(rgb) - 1).T
    colors = np.insert(rgb[row, column], 3, 255, axis=1)
    return ColoredMesh(vertices=vertices, faces=faces, vertex_colors=colors)
