# SPDX-License-Identifier: GPL-3.0-or-later
"""A triangle model as the rasterizer wants it: one part per material, +Z up, front towards -Y."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_HASH_STEPS_PER_SIDE = 1000

UP_FROM_Y_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""`(3, 3)` for `transform_model`: from +Y up, front towards +Z."""


@dataclass(frozen=True, kw_only=True)
class MeshPart:
    """The triangles of one material; every triangle has its own three corners."""

    positions: NDArray[np.float32]
    """`(3F, 3)`, model frame (+Z up)."""
    normals: NDArray[np.float32]
    """`(3F, 3)`, unit length, not always outward: the models are not consistently wound."""
    uv: NDArray[np.float32]
    """`(3F, 2)`, v counted upwards."""
    base_color: tuple[float, float, float]
    """sRGB, 0..1; white where a texture replaces it."""
    opacity: float
    """0..1."""
    texture: NDArray[np.uint8] | None
    """`(H, W, 4)` sRGB + alpha, first row on top, or None."""


@dataclass(frozen=True, kw_only=True)
class TexturedModel:
    """A whole object."""

    parts: tuple[MeshPart, ...]

    @property
    def points(self) -> NDArray[np.float32]:
        """`(N, 3)` distinct corner positions, model frame."""
        return np.unique(np.concatenate([part.positions for part in self.parts]), axis=0)

    @property
    def extent(self) -> NDArray[np.float32]:
        """`(3,)` sides of the bounding box, model frame."""
        low = np.min([part.positions.min(0) for part in self.parts], axis=0)
        return np.max([part.positions.max(0) for part in self.parts], axis=0) - low

    @property
    def num_triangles(self) -> int:
        """Over all parts."""
        return sum(len(part.positions) for part in self.parts) // 3


def shape_hash(points: NDArray[np.floating]) -> str:
    """Hexadecimal digest of a point set `(N, 3)`, blind to its scale, position and order."""
    low, high = points.min(0), points.max(0)
    side = max(float((high - low).max()), np.finfo(np.float32).tiny)
    steps = np.rint((points - low) / side * _HASH_STEPS_PER_SIDE).astype(np.int32)
    return hashlib.sha256(np.unique(steps, axis=0).tobytes()).hexdigest()


def transform_model(model: TexturedModel, linear: NDArray[np.floating]) -> TexturedModel:
    """The model under an invertible linear map `(3, 3)`; normals stay perpendicular."""
    normal_map = np.linalg.inv(linear).T
    parts = []
    for part in model.parts:
        normals = part.normals @ normal_map.T
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        parts.append(
            MeshPart(
                positions=(part.positions @ linear.T).astype(np.float32),
                normals=normals.astype(np.float32),
                uv=part.uv,
                base_color=part.base_color,
                opacity=part.opacity,
                texture=part.texture,
            )
        )
    return TexturedModel(parts=tuple(parts))
