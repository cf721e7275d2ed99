# SPDX-License-Identifier: GPL-3.0-or-later
"""Pyrogenesis model data (`.pmd`), the meshes of the game 0 A.D.

Format: https://gitea.wildfiregames.com/0ad/0ad/wiki/PMD_File_Format
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .obj_model import ModelFileError

_MAGIC = b"PSMD"


@dataclass(frozen=True, kw_only=True)
class PmdMesh:
    """Vertices and triangles; bones and places for props are left out.

    The file's axes are left-handed: x right, y up, z forward.
    """

    positions: NDArray[np.float32]
    """`(N, 3)`, file's axes."""
    normals: NDArray[np.float32]
    """`(N, 3)`, file's axes."""
    uv: NDArray[np.float32]
    """`(N, 2)`, the first of the mesh's sets."""
    triangles: NDArray[np.int64]
    """`(F, 3)`."""


def read_pmd(data: bytes, name: str) -> PmdMesh:
    """Read a mesh of version 3 or 4.

    Args:
        data: The file.
        name: Of the file, for errors.

    Raises:
        ModelFileError: It is no such file, or cut off.
    """
    try:
        magic, version = struct.unpack_from("<4sI", data)
        if magic != _MAGIC or version not in (3, 4):
            raise ValueError(f"magic {magic!r}, version {version}")
        offset = 12  # the length of what follows is not needed
        (num_vertices,) = struct.unpack_from("<I", data, offset)
        offset += 4
        num_uv_sets = 1
        if version == 4:
            (num_uv_sets,) = struct.unpack_from("<I", data, offset)
            offset += 4
        vertex = np.dtype(
            [
                ("position", "<f4", 3),
                ("normal", "<f4", 3),
                ("uv", "<f4", (num_uv_sets, 2)),
                ("bones", "u1", 4),
                ("weights", "<f4", 4),
            ]
        )
        vertices = np.frombuffer(data, vertex, num_vertices, offset)
        offset += vertices.nbytes
        (num_triangles,) = struct.unpack_from("<I", data, offset)
        corners = np.frombuffer(data, "<u2", 3 * num_triangles, offset + 4)
    except (struct.error, ValueError) as error:
        raise ModelFileError(
            f"Expected a PSMD mesh of version 3 or 4 in {name}: {error}.",
            hint="Install the package again.",
        ) from error
    return PmdMesh(
        positions=vertices["position"].astype(np.float32),
        normals=vertices["normal"].astype(np.float32),
        uv=vertices["uv"][:, 0].astype(np.float32),
        triangles=corners.reshape(-1, 3).astype(np.int64),
    )
