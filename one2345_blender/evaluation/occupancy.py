# SPDX-License-Identifier: GPL-3.0-or-later
"""Which points lie inside a closed mesh, and how much two meshes' insides have in common."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from trimesh import Trimesh

GRID_RESOLUTION = 64

_NUDGE = 1e-4
"""Of a step: no grid line runs through an edge of a mesh that is aligned with the axes."""


def volume_iou(first: Trimesh, second: Trimesh, resolution: int = GRID_RESOLUTION) -> float:
    """Intersection over union of the insides, on a grid over both meshes' bounding box.

    Args:
        first, second: Closed, faces wound consistently, in one frame.
        resolution: Points along each axis.
    """
    low = np.minimum(first.bounds[0], second.bounds[0])
    high = np.maximum(first.bounds[1], second.bounds[1])
    step = (high - low) / resolution
    axes = [
        low[axis] + (np.arange(resolution) + 0.5 + _NUDGE * (axis + 1)) * step[axis]
        for axis in range(3)
    ]
    inside_first, inside_second = occupancy(first, axes), occupancy(second, axes)
    union = (inside_first | inside_second).sum()
    return float((inside_first & inside_second).sum() / max(union, 1))


def occupancy(mesh: Trimesh, axes: list[NDArray[np.float64]]) -> NDArray[np.bool_]:
    """`(X, Y, Z)`: whether the winding number at each point of the grid is not zero.

    Faces are counted along lines parallel to z. A line that enters and never leaves, through a hole
    in the mesh, holds nothing.

    Args:
        axes: Evenly spaced coordinates along x, y and z, the mesh's frame.
    """
    x, y, z = axes
    corners = np.asarray(mesh.triangles, np.float64)
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    doubled_area = _cross(b - a, c - a)
    first_x, count_x = _covered(x, corners[..., 0])
    first_y, count_y = _covered(y, corners[..., 1])
    count = np.where(doubled_area != 0.0, count_x * count_y, 0)
    face = np.repeat(np.arange(len(corners)), count)
    place = np.arange(len(face)) - np.repeat(np.cumsum(count) - count, count)
    column_x = first_x[face] + place // np.maximum(count_y[face], 1)
    column_y = first_y[face] + place % np.maximum(count_y[face], 1)
    at = np.stack([x[column_x], y[column_y]], axis=1)
    share_a = _cross(b[face, :2] - at, c[face, :2] - at) / doubled_area[face]
    share_b = _cross(c[face, :2] - at, a[face, :2] - at) / doubled_area[face]
    share_c = 1.0 - share_a - share_b
    hit = (share_a >= 0.0) & (share_b >= 0.0) & (share_c >= 0.0)
    face, column_x, column_y = face[hit], column_x[hit], column_y[hit]
    height = share_a[hit] * a[face, 2] + share_b[hit] * b[face, 2] + share_c[hit] * c[face, 2]
    first_above = np.searchsorted(z, height)
    winding = np.zeros((len(x), len(y), len(z) + 1), np.int64)
    np.add.at(winding, (column_x, column_y, first_above), -np.sign(doubled_area[face]).astype(int))
    winding = np.cumsum(winding, axis=2)
    is_closed = winding[..., -1:] == 0
    return ((winding != 0) & is_closed)[..., :-1]


def _cross(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """z component of the cross product of vectors `(F, 2 or 3)`."""
    return first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]


def _covered(
    axis: NDArray[np.float64], corners: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First index and number of the coordinates within each triangle `(F, 3)`."""
    first = np.searchsorted(axis, corners.min(1))
    return first, np.searchsorted(axis, corners.max(1), side="right") - first
