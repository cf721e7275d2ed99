# SPDX-License-Identifier: GPL-3.0-or-later
"""Meshes as files for other programs: `.ply` in the world frame, `.glb` in glTF's."""

from __future__ import annotations

from typing import BinaryIO, cast

import numpy as np
import trimesh
from numpy.typing import NDArray

from ..contracts.mesh import ColoredMesh

_GLTF_FROM_WORLD = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=np.float64)
"""glTF has +Y up and its front towards +Z; the world has +Z up and the photo's side at -Y."""


def write_ply(mesh: ColoredMesh, file: BinaryIO) -> None:
    """Binary PLY: world frame, +Z up, the photo's side facing -Y, sRGB vertex colours."""
    _write(file, "ply", mesh.vertices, mesh.faces, mesh.vertex_colors)


def write_glb(mesh: ColoredMesh, file: BinaryIO) -> None:
    """Binary glTF 2.0: +Y up, linear vertex colours as the standard asks (section 3.9.2)."""
    colors = mesh.vertex_colors.copy()
    colors[:, :3] = np.rint(_linear_from_srgb(colors[:, :3] / 255.0) * 255.0)
    vertices = mesh.vertices @ _GLTF_FROM_WORLD.T
    _write(file, "glb", vertices, mesh.faces, colors)


def _write(
    file: BinaryIO,
    file_type: str,
    vertices: NDArray[np.floating],
    faces: NDArray[np.int32],
    colors: NDArray[np.uint8],
) -> None:
    mesh = trimesh.Trimesh(vertices, faces, vertex_colors=colors, process=False)
    file.write(cast(bytes, mesh.export(file_type=file_type)))


def _linear_from_srgb(srgb: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
