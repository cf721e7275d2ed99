# SPDX-License-Identifier: GPL-3.0-or-later
"""A triangle mesh with vertex colours, and its `.npz` file between the two processes."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from .errors import OutputError

MAX_UNPACKED_BYTES = 1_000_000_000
"""Of a mesh file: some 15 million vertices with their faces."""
ARRAY_DAMAGE = (
    *(OSError, KeyError, ValueError, TypeError, EOFError, MemoryError, RuntimeError),
    *(BadZipFile, zlib.error, struct.error, SyntaxError, IndexError, AttributeError, TokenError),
)
"""What a damaged zip file or array header can lead to when NumPy reads it."""


@dataclass(frozen=True, kw_only=True)
class ColoredMesh:
    """Invariants: at least one vertex and face, finite vertices, indices in range."""

    vertices: NDArray[np.float32]
    """`(N, 3)` float32, world frame, +Z up."""
    faces: NDArray[np.int32]
    """`(M, 3)` int32, counter-clockwise seen from outside."""
    vertex_colors: NDArray[np.uint8]
    """`(N, 4)` uint8 RGBA, sRGB."""

    def __post_init__(self) -> None:
        num_vertices = len(self.vertices)
        if self.vertices.shape != (num_vertices, 3) or num_vertices == 0:
            raise ValueError(f"vertices: expected (N > 0, 3), got {self.vertices.shape}")
        if self.faces.ndim != 2 or self.faces.shape[1] != 3 or len(self.faces) == 0:
            raise ValueError(f"faces: expected (M > 0, 3), got {self.faces.shape}")
        if self.vertex_colors.shape != (num_vertices, 4):
            raise ValueError(
                f"vertex_colors: expected {(num_vertices, 4)}, got {self.vertex_colors.shape}"
            )
        if not np.isfinite(self.vertices).all():
            raise ValueError("vertices: expected finite coordinates, got NaN or infinity")
        if self.faces.min() < 0 or self.faces.max() >= num_vertices:
            raise ValueError(
                f"faces: expected indices in 0..{num_vertices - 1}, "
                f"got {self.faces.min()}..{self.faces.max()}"
            )

    def scaled(self, factor: float) -> ColoredMesh:
        """The same mesh, so many times as large about the world's origin."""
        return replace(self, vertices=self.vertices * np.float32(factor))


def save_npz(mesh: ColoredMesh, file: BinaryIO) -> None:
    """Write the mesh's three arrays."""
    np.savez(file, vertices=mesh.vertices, faces=mesh.faces, vertex_colors=mesh.vertex_colors)


def load_npz(path: Path) -> ColoredMesh:
    """Read a mesh that `save_npz` wrote.

    Raises:
        OutputError: The file is missing, damaged or breaks the invariants.
    """
    try:
        _check_unpacked_size(path)
        with np.load(path, allow_pickle=False) as arrays:
            return ColoredMesh(
                vertices=of_type(arrays["vertices"], np.float32),
                faces=of_type(arrays["faces"], np.int32),
                vertex_colors=of_type(arrays["vertex_colors"], np.uint8),
            )
    except ARRAY_DAMAGE as error:
        raise OutputError(
            f"The mesh file {path} is not usable: {error}", hint="Convert the picture again."
        ) from error


def _check_unpacked_size(path: Path) -> None:
    """A small file can unpack to more than there is memory."""
    with ZipFile(path) as archive:
        size_bytes = sum(entry.file_size for entry in archive.infolist())
    if size_bytes > MAX_UNPACKED_BYTES:
        raise ValueError(f"expected at most {MAX_UNPACKED_BYTES} bytes, got {size_bytes}")


def of_type(array: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """The array.

    Raises:
        ValueError: It holds something else than `dtype`.
    """
    if array.dtype != dtype:
        raise ValueError(f"expected {np.dtype(dtype)}, got {array.dtype}")
    return array
