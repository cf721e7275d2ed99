# SPDX-License-Identifier: GPL-3.0-or-later
"""Wavefront OBJ out of a zip archive, with its materials and textures."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from ...contracts.errors import One2345Error
from .archive_folder import ArchiveFolder
from .corner_normals import creased_normals, smooth_normals
from .mtl_materials import Material, parse_mtl
from .textured_model import MeshPart, TexturedModel

INVISIBLE_BELOW_OPACITY = 0.08
"""Fainter materials are helpers (pick boxes, light cones) and are left out."""
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]


class ModelFileError(One2345Error):
    """A 3D model cannot be read."""

    code = "model_file"


@dataclass
class _ObjText:
    """The statements of an OBJ file, corners as (position, uv, normal) 1-based or negative."""

    positions: list[list[str]] = field(default_factory=list)
    uv: list[list[str]] = field(default_factory=list)
    normals: list[list[str]] = field(default_factory=list)
    triangles: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)
    libraries: list[str] = field(default_factory=list)


def read_obj(
    archive: ZipFile,
    member: str,
    builtin_materials: Mapping[str, Material] | None = None,
    *,
    fallback: Material | None = None,
) -> TexturedModel:
    """Read one OBJ model and what it refers to. The model keeps the file's own axes.

    Args:
        archive: Archive that holds the model, its MTL files and its textures.
        member: Path of the OBJ file in the archive.
        builtin_materials: Materials the publisher's program knows without an MTL file.
        fallback: For triangles whose material nobody defines; None: a plain one.

    Raises:
        ModelFileError: The file is missing or holds no visible triangle.
    """
    try:
        text = archive.read(member).decode("utf-8", errors="replace")
    except KeyError as error:
        raise ModelFileError(
            f"Expected a model {member} in {archive.filename}, but it is not there.",
            hint="Install the package again.",
        ) from error
    obj = _scan(text)
    folder = ArchiveFolder(archive, posixpath.dirname(member))
    materials = dict(builtin_materials or {})
    for library in obj.libraries:
        if (data := folder.read(library)) is not None:
            materials.update(parse_mtl(data.decode("utf-8", errors="replace")))
    parts = _build_parts(obj, materials, fallback or Material(), folder)
    if not parts:
        raise ModelFileError(
            f"Expected triangles in {member}, but none is visible.", hint="Leave this model out."
        )
    return TexturedModel(parts=tuple(parts))


def _scan(text: str) -> _ObjText:
    obj = _ObjText()
    group = obj.triangles.setdefault("", [])
    for line in text.splitlines():
        keyword, _, rest = line.partition(" ")
        if keyword == "v":
            obj.positions.append(rest.split()[:3])
        elif keyword == "vt":
            obj.uv.append(rest.split()[:2])
        elif keyword == "vn":
            obj.normals.append(rest.split()[:3])
        elif keyword == "f":
            corners = rest.split()
            for second, third in pairwise(corners[1:]):
                group.append((corners[0], second, third))
        elif keyword == "usemtl":
            group = obj.triangles.setdefault(rest.strip(), [])
        elif keyword == "mtllib":
            obj.libraries.append(rest.strip())
    return obj


def _build_parts(
    obj: _ObjText, materials: Mapping[str, Material], fallback: Material, folder: ArchiveFolder
) -> list[MeshPart]:
    positions = np.array(obj.positions, np.float32).reshape(-1, 3)
    uv = np.array(obj.uv, np.float32).reshape(-1, 2)
    normals = np.array(obj.normals, np.float32).reshape(-1, 3)
    groups = {name: _corner_indices(t) for name, t in obj.triangles.items() if t}
    if not groups:
        return []
    resolved = {
        name: (
            _absolute(corners[..., 0], len(positions)),
            _absolute(corners[..., 1], len(uv)),
            _absolute(corners[..., 2], len(normals)),
        )
        for name, corners in groups.items()
    }
    smooth = smooth_normals(positions, np.concatenate([r[0] for r in resolved.values()]))
    parts = []
    for name, (position_index, uv_index, normal_index) in resolved.items():
        material = materials.get(name, fallback)
        valid = (position_index >= 0).all(axis=1)
        if material.opacity < INVISIBLE_BELOW_OPACITY or not valid.any():
            continue
        corners = positions[position_index[valid]]  # (F, 3 corners, 3)
        texture = folder.texture(material.texture_name) if material.texture_name else None
        corner_normals = creased_normals(corners, smooth[position_index[valid]])
        parts.append(
            MeshPart(
                positions=corners.reshape(-1, 3),
                normals=_prefer(normals, normal_index[valid], corner_normals).reshape(-1, 3),
                uv=_prefer(
                    uv, uv_index[valid], np.zeros((*corners.shape[:2], 2), np.float32)
                ).reshape(-1, 2),
                base_color=material.diffuse if texture is None else (1.0, 1.0, 1.0),
                opacity=material.opacity,
                texture=texture,
            )
        )
    return parts


def _corner_indices(triangles: list[tuple[str, str, str]]) -> IntArray:
    """`(F, 3 corners, 3)` raw position, uv and normal numbers; 0 where one is not given."""
    words: dict[str, tuple[int, int, int]] = {}
    for triangle in triangles:
        for word in triangle:
            if word not in words:
                numbers = [int(part) if part else 0 for part in word.split("/")] + [0, 0]
                words[word] = (numbers[0], numbers[1], numbers[2])
    return np.array([[words[word] for word in triangle] for triangle in triangles], np.int64)


def _absolute(numbers: IntArray, count: int) -> IntArray:
    """OBJ numbers (from 1, or negative from the end) to indices; -1 where there is none."""
    index = np.where(numbers > 0, numbers - 1, np.where(numbers < 0, numbers + count, -1))
    return np.where((index >= 0) & (index < count), index, -1)


def _prefer(values: FloatArray, index: IntArray, otherwise: FloatArray) -> FloatArray:
    """`values[index]` where the index is given and the value is not null, else `otherwise`."""
    if not len(values):
        return otherwise
    chosen = values[np.maximum(index, 0)]
    usable = (index >= 0)[..., None]
    if values.shape[1] == 3:
        usable = usable & (np.abs(chosen).sum(-1, keepdims=True) > 1e-6)
    return np.where(usable, chosen, otherwise).astype(np.float32)
