# SPDX-License-Identifier: GPL-3.0-or-later
"""Models from files: upright, coloured, with their textures the right way up."""

import numpy as np
import pytest
import trimesh
from PIL import Image
from trimesh.visual.material import PBRMaterial
from trimesh.visual.texture import TextureVisuals

from one2345_blender.training.asset_readers.model_file import read_model_file
from one2345_blender.training.asset_readers.obj_model import ModelFileError


@pytest.fixture
def painted():
    """A slab 1 wide, 2 along y and 3 along z; the texture red above, blue below."""
    mesh = trimesh.creation.box((1.0, 2.0, 3.0))
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[:2, :, 0] = picture[2:, :, 2] = 255
    uv = mesh.vertices[:, 1:] / [2.0, 3.0] + 0.5
    material = PBRMaterial(baseColorTexture=Image.fromarray(picture))
    mesh.visual = TextureVisuals(uv=uv, material=material)
    return mesh


@pytest.mark.parametrize(("suffix", "extent"), [("glb", (1, 3, 2)), ("obj", (1, 2, 3))])
def test_gltf_is_y_up_and_the_rest_z_up(painted, tmp_path, suffix, extent):
    folder = tmp_path / suffix
    folder.mkdir()
    painted.export(folder / f"slab.{suffix}")
    model = read_model_file(folder / f"slab.{suffix}")
    assert model.extent == pytest.approx(extent) and model.num_triangles == 12
    (part,) = model.parts
    assert part.texture[0, 0].tolist() == [255, 0, 0, 255]
    assert part.texture[-1, 0].tolist() == [0, 0, 255, 255]
    assert part.uv[:, 1].min() == pytest.approx(0.0) and part.uv[:, 1].max() == pytest.approx(1.0)
    height = part.positions[:, 2] if suffix == "obj" else -part.positions[:, 1]
    assert np.corrcoef(height, part.uv[:, 1])[0, 1] > 0.99


def test_textures_are_found_where_google_scanned_objects_keep_them(painted, tmp_path):
    meshes, textures = tmp_path / "meshes", tmp_path / "materials" / "textures"
    meshes.mkdir()
    textures.mkdir(parents=True)
    painted.export(meshes / "model.obj")
    (picture,) = meshes.glob("*.png")
    picture.rename(textures / picture.name)
    (part,) = read_model_file(meshes / "model.obj").parts
    assert part.texture[0, 0].tolist() == [255, 0, 0, 255]


def test_parts_without_texture_keep_their_color(tmp_path):
    box = trimesh.creation.box()
    box.visual.vertex_colors = (0, 255, 51, 255)
    box.export(tmp_path / "box.ply")
    (part,) = read_model_file(tmp_path / "box.ply").parts
    assert part.texture is None
    assert part.base_color == pytest.approx((0.0, 1.0, 0.2), abs=0.01)


@pytest.mark.parametrize("content", ["", "v 0 0 0\n"])
def test_files_without_triangles_are_refused(tmp_path, content):
    path = tmp_path / "nothing.obj"
    path.write_text(content)
    with pytest.raises(ModelFileError, match="nothing"):
        read_model_file(path)
