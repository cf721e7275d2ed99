# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the files of a finished job, each whole or not at all; returns their paths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..contracts.cameras import PosedImages
from ..contracts.job_folder import (
    MESH_GLB,
    MESH_NPZ,
    MESH_PLY,
    VIEWS_DIR,
    atomic_write,
    folder_within,
)
from ..contracts.mesh import ColoredMesh, save_npz
from ..contracts.transforms_json import write_transforms
from .mesh_files import write_glb, write_ply

PHOTO_MAX_SIDE_PX = 2048


def write_mesh(folder: Path, mesh: ColoredMesh) -> dict[str, str]:
    """The mesh in its three forms, by name."""
    files = {}
    for key, name, write in (
        ("mesh_npz", MESH_NPZ, save_npz),
        ("mesh_ply", MESH_PLY, write_ply),
        ("mesh_glb", MESH_GLB, write_glb),
    ):
        with atomic_write(folder / name) as file:
            write(mesh, file)
        files[key] = str(folder / name)
    return files


def write_png(path: Path, rgb: NDArray[np.uint8]) -> str:
    """`(H, W, 3)` uint8 sRGB."""
    with atomic_write(path) as file:
        Image.fromarray(rgb).save(file, format="PNG")
    return str(path)


def write_photo(path: Path, image: NDArray[np.uint8]) -> str:
    """The picture as it was read, upright `(H, W, 3 or 4)`, for Blender to show behind the mesh.

    It is scaled down to `PHOTO_MAX_SIDE_PX` on its longer side.
    """
    photo = Image.fromarray(image)
    photo.thumbnail((PHOTO_MAX_SIDE_PX, PHOTO_MAX_SIDE_PX))
    with atomic_write(path) as file:
        photo.save(file, format="PNG")
    return str(path)


def write_views(folder: Path, views: PosedImages) -> None:
    """The views' pictures, in `folder/views`."""
    views_dir = folder_within(folder, VIEWS_DIR)
    for name, rgb in zip(views.cameras.names, views.rgb, strict=True):
        write_png(views_dir / f"{name}.png", rgb)


def write_cameras(folder: Path, views: PosedImages) -> str:
    """`transforms.json` of views that `write_views` wrote."""
    names = [f"{VIEWS_DIR}/{name}.png" for name in views.cameras.names]
    return str(write_transforms(folder, names, views.cameras, views.reference_c2w))


def write_json(path: Path, values: dict[str, Any]) -> str:
    """Indented, finite numbers only."""
    with atomic_write(path) as file:
        file.write(json.dumps(values, indent=1, allow_nan=False).encode())
    return str(path)
