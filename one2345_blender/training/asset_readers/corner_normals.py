# SPDX-License-Identifier: GPL-3.0-or-later
"""Normals for models that come without: smooth on curved surfaces, flat at sharp edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CREASE_DEG = 40.0
"""Corners without a normal are smoothed across edges flatter than this."""
MIN_COMMON_NORMAL = 0.9
"""Length of the mean normal around a corner (1: all faces agree) from which it is smoothed."""

FloatArray = NDArray[np.float32]


def smooth_normals(positions: FloatArray, triangles: NDArray[np.int64]) -> FloatArray:
    """`(N, 3)` unit normals of the positions, weighted by the area of the `(F, 3)` triangles.

    Null where the triangles around a position differ too much to have a common normal.
    """
    used = triangles[(triangles >= 0).all(axis=1)]
    corners = positions[used]
    area_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.linalg.norm(area_normals, axis=1)
    around = np.stack(
        [
            np.bincount(used.ravel(), np.repeat(values, 3), len(positions))
            for values in (*area_normals.T, areas)
        ],
        axis=-1,
    )
    sums, total = around[:, :3], around[:, 3:]
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    is_common = length > MIN_COMMON_NORMAL * total
    return np.where(is_common, sums / np.maximum(length, 1e-20), 0.0).astype(np.float32)


def creased_normals(corners: FloatArray, smooth: FloatArray) -> FloatArray:
    """`(F, 3, 3)`: the smooth normal where there is one close to the face's, else the face's."""
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    face /= np.maximum(np.linalg.norm(face, axis=1, keepdims=True), 1e-20)
    face = np.broadcast_to(face[:, None], corners.shape)
    is_flat = (face * smooth).sum(-1, keepdims=True) > np.cos(np.radians(CREASE_DEG))
    return np.where(is_flat, smooth, face)
