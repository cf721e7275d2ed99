# SPDX-License-Identifier: GPL-3.0-or-later
"""Actors, meshes and textures of 0 A.D., on a small archive made here."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("moderngl", reason="moderngl is not installed")

from one2345_blender.training.asset_readers.game_actors import (
    PLAYER_COLORS,
    load_model,
    read_entries,
)
from one2345_blender.training.asset_readers.obj_model import ModelFileError
from one2345_blender.training.asset_readers.pmd_mesh import read_pmd

HOUSE = """<?xml version="1.0" encoding="utf-8"?>
<actor version="1">
  <group>
    <variant name="old" frequency="1"><mesh>structural/house.dae</mesh></variant>
    <variant name="new" frequency="2"><mesh>structural/house_b.dae</mesh>
      <textures><texture file="structural/roof.png" name="baseTex"/></textures></variant>
    <variant name="gone"><mesh>structural/nowhere.dae</mesh></variant>
  </group>
  <group>
    <variant name="rare" frequency="1">
      <textures><texture file="structural/roof.png" name="baseTex"/></textures></variant>
    <variant name="usual" frequency="9" file="paint/white.xml"/>
  </group>
  <material>{material}.xml</material>
</actor>"""
WHITE = """<variant><color>255 0 0</color><textures>
<texture file="structural/wall_norm.png" name="normTex"/>
<texture file="structural/wall.png" name="baseTex"/></textures></variant>"""
POSITIONS = ((0, 0, 0), (1, 0, 0), (0, 2, 0), (0, 0, 3))
"""x right, y up, z to the front."""
TRIANGLES = ((0, 1, 2), (0, 2, 3), (0, 3, 1), (1, 3, 2))


def pmd(version: int = 4, uv_sets: int = 2) -> bytes:
    """A tetrahedron whose second set of texture coordinates is rubbish."""
    body = struct.pack("<I", len(POSITIONS))
    if version == 4:
        body += struct.pack("<I", uv_sets)
    for position in POSITIONS:
        uv = (position[0], 0.25) + (99.0, 99.0) * (uv_sets - 1)
        body += struct.pack(f"<6f{len(uv)}f", *position, 0, 0, 1, *uv)
        body += struct.pack("<4B4f", 255, 255, 255, 255, 0, 0, 0, 0)
    body += struct.pack("<I", len(TRIANGLES))
    body += b"".join(struct.pack("<3H", *triangle) for triangle in TRIANGLES)
    body += struct.pack("<II", 0, 0)
    return struct.pack("<4sII", b"PSMD", version, len(body)) + body


def dds(rgba: tuple[int, int, int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGBA", (4, 4), rgba).save(file, "DDS")
    return file.getvalue()


def write_game(path: Path, material: str = "default") -> Path:
    with ZipFile(path, "w") as archive:
        archive.writestr("art/actors/structures/house.xml", HOUSE.format(material=material))
        archive.writestr("art/variants/paint/white.xml", WHITE)
        for name in ("house", "house_b"):
            archive.writestr(f"art/meshes/structural/{name}.dae.cached.pmd", pmd())
        skins = "art/textures/skins/structural"
        archive.writestr(f"{skins}/wall.png.cached.dds", dds((200, 100, 50, 0)))
        archive.writestr(f"{skins}/roof.png.cached.dds", dds((10, 20, 30, 255)))
    return path


@pytest.mark.parametrize(("version", "uv_sets"), [(3, 1), (4, 1), (4, 3)])
def test_meshes_of_both_versions_give_the_first_texture_coordinates(version, uv_sets):
    mesh = read_pmd(pmd(version, uv_sets), "house.pmd")
    np.testing.assert_array_equal(mesh.positions, np.array(POSITIONS, np.float32))
    np.testing.assert_array_equal(mesh.triangles, np.array(TRIANGLES))
    np.testing.assert_array_equal(mesh.uv[:, 0], mesh.positions[:, 0])
    assert (mesh.uv[:, 1] == 0.25).all() and (mesh.normals == [0, 0, 1]).all()


@pytest.mark.parametrize("data", [b"", b"PSMD", b"XXXX" + pmd()[4:], pmd()[:80], pmd()[:-20]])
def test_damaged_meshes_are_named(data):
    with pytest.raises(ModelFileError, match=r"house\.pmd"):
        read_pmd(data, "house.pmd")


def test_each_mesh_of_an_actor_has_its_own_or_the_usual_texture(tmp_path):
    first, second = read_entries(write_game(tmp_path / "game.zip"))
    assert first.texture_path.endswith("wall.png.cached.dds")
    assert second.texture_path.endswith("roof.png.cached.dds")
    assert (first.slug, first.name, first.category) == ("structural-house", "house", "structures")
    assert second.slug == "structural-house-b"


def test_models_stand_upright_with_the_front_towards_minus_y(tmp_path):
    path = write_game(tmp_path / "game.zip")
    model = load_model(path, read_entries(path)[0])
    assert model.extent == pytest.approx([1.0, 3.0, 2.0])
    (part,) = model.parts
    tip = part.positions[np.argmin(part.positions[:, 1])]
    assert tip == pytest.approx([0.0, -3.0, 0.0])
    assert (part.normals == [0.0, -1.0, 0.0]).all()


def test_left_handed_coordinates_are_not_mirrored(tmp_path):
    """What is right of somebody who looks along the file's +z is so in our frame too."""
    path = write_game(tmp_path / "game.zip")
    positions = load_model(path, read_entries(path)[0]).parts[0].positions
    right = positions[np.argmax(np.abs(positions[:, 0]))]
    front = np.array([0.0, -1.0, 0.0])
    assert np.cross(front, [0.0, 0.0, 1.0]) @ right > 0


@pytest.mark.parametrize(
    ("material", "expected"),
    [
        ("default", (200, 100, 50, 255)),
        ("basic_trans_wind", (200, 100, 50, 0)),
        ("objectcolor", (200, 0, 0, 255)),
    ],
)
def test_the_material_says_what_alpha_means(tmp_path, material, expected):
    path = write_game(tmp_path / f"{material}.zip", material)
    texture = load_model(path, read_entries(path)[0]).parts[0].texture
    assert tuple(texture[0, 0]) == expected


def test_players_materials_get_one_of_the_games_colors(tmp_path):
    path = write_game(tmp_path / "game.zip", "player_trans_spec")
    second = read_entries(path)[1]
    assert tuple(load_model(path, second).parts[0].texture[0, 0]) == (10, 20, 30, 255)
    assert len(set(PLAYER_COLORS)) == 8


def test_materials_that_show_nothing_solid_are_left_out(tmp_path):
    with pytest.raises(ModelFileError, match="none"):
        read_entries(write_game(tmp_path / "game.zip", "waterfall"))


def test_a_missing_archive_says_how_to_get_it(tmp_path):
    with pytest.raises(ModelFileError) as caught:
        read_entries(tmp_path / "absent.zip")
    assert "install_training_packages" in caught.value.hint
