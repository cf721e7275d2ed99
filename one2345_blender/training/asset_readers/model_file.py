# SPDX-License-Identifier: GPL-3.0-or-later
"""Models from the user's own files: glTF, OBJ and whatever else trimesh reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image
from trimesh.resolvers import FilePathResolver
from trimesh.visual.material import PBRMaterial, SimpleMaterial
from trimesh.visual.texture import TextureVisuals

from .archive_folder import MAX_TEXTURE_SIDE_PX
from .obj_model import ModelFileError
from .textured_model import UP_FROM_Y_UP, MeshPart, TexturedModel, transform_model

MODEL_SUFFIXES = (".glb", ".gltf", ".obj", ".ply")
Y_UP_SUFFIXES = (".glb", ".gltf")
"""glTF says which way is up; other files are taken as +Z up."""
TEXTURES_FOLDER = Path("materials", "textures")
"""Beside the folder of the model: Google Scanned Objects keeps its textures there."""

_DISPLAY_GAMMA = 2.2


def read_model_file(path: Path) -> TexturedModel:
    """A model with its textures, or the mean colour of each part that has none.

    Raises:
        ModelFileError: The file cannot be read or holds no triangles.
    """
    try:
        scene = trimesh.load_scene(path, resolver=_FilesOfModel(str(path)))
        meshes = [m for m in scene.dump() if isinstance(m, trimesh.Trimesh) and len(m.faces)]
    except Exception as error:  # trimesh raises whatever a damaged file makes it stumble over
        raise ModelFileError(
            f"Expected a 3D model in {path}: {error}.", hint=f"Use {', '.join(MODEL_SUFFIXES)}."
        ) from error
    if not meshes:
        raise ModelFileError(
            f"Expected triangles in {path}, but there are none.", hint="Leave this file out."
        )
    model = TexturedModel(parts=tuple(_part(mesh) for mesh in meshes))
    return transform_model(model, UP_FROM_Y_UP) if path.suffix in Y_UP_SUFFIXES else model


class _FilesOfModel(FilePathResolver):
    """The files that a model names: beside it, or in `TEXTURES_FOLDER`."""

    def get(self, name: str) -> bytes:
        try:
            found: bytes = super().get(name)
        except FileNotFoundError:
            return (Path(self.parent).parent / TEXTURES_FOLDER / Path(name).name).read_bytes()
        return found


def _part(mesh: trimesh.Trimesh) -> MeshPart:
    corners = mesh.faces.reshape(-1)
    visual = mesh.visual
    uv = np.zeros((len(mesh.vertices), 2))
    color, texture = (1.0, 1.0, 1.0), None
    if isinstance(visual, TextureVisuals):
        image, color = _material(visual.material)
        if image is not None and visual.uv is not None:
            uv, color, texture = visual.uv, (1.0, 1.0, 1.0), _texture(image)
    elif visual is not None:
        color = _color(visual.main_color / 255.0)
    return MeshPart(
        positions=np.asarray(mesh.vertices[corners], np.float32),
        normals=np.asarray(mesh.vertex_normals[corners], np.float32),
        uv=np.asarray(uv[corners], np.float32),
        base_color=color,
        opacity=1.0,
        texture=texture,
    )


def _material(
    material: PBRMaterial | SimpleMaterial,
) -> tuple[Image.Image | None, tuple[float, float, float]]:
    """The colour texture, if any, and the sRGB colour 0..1."""
    if isinstance(material, PBRMaterial):
        factor = material.baseColorFactor  # linear, as glTF has it
        linear = np.ones(4) if factor is None else np.asarray(factor) / 255.0
        return material.baseColorTexture, _color(linear ** (1.0 / _DISPLAY_GAMMA))
    return material.image, _color(material.main_color / 255.0)


def _texture(image: Image.Image) -> NDArray[np.uint8]:
    shrunk = image.convert("RGBA")
    shrunk.thumbnail((MAX_TEXTURE_SIDE_PX, MAX_TEXTURE_SIDE_PX), Image.Resampling.BILINEAR)
    return np.asarray(shrunk)


def _color(rgba: NDArray[np.floating]) -> tuple[float, float, float]:
    return float(rgba[0]), float(rgba[1]), float(rgba[2])
