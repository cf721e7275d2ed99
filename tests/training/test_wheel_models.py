# SPDX-License-Identifier: GPL-3.0-or-later
"""Models inside Python wheels, on a wheel made here."""

from __future__ import annotations

import io
from zipfile import ZipFile

import pytest
from PIL import Image

pytest.importorskip("moderngl", reason="moderngl is not installed")

from one2345_blender.training.asset_readers.obj_model import ModelFileError
from one2345_blender.training.asset_readers.wheel_models import (
    CATALOGUE,
    load_model,
    read_entries,
)

OBJ = "mtllib elsewhere.mtl\nv 0 0 0\nv 1 0 0\nv 0 2 0\nv 0 0 3\nusemtl paint\nf 1 2 3\nf 1 3 4\n"


@pytest.fixture
def wheel(tmp_path):
    """A cone without materials, a barrel with its own, and a bottle that stands along z."""
    picture = io.BytesIO()
    Image.new("RGB", (2, 2), (250, 120, 10)).save(picture, "PNG")
    path = tmp_path / "models.whl"
    with ZipFile(path, "w") as archive:
        for name in ("cone", "barrel"):
            archive.writestr(f"miniworld/meshes/{name}.obj", OBJ)
        archive.writestr("miniworld/meshes/cone.png", picture.getvalue())
        archive.writestr("miniworld/meshes/barrel.mtl", "newmtl paint\nKd 0.5 0.25 1\n")
        archive.writestr("robosuite/models/assets/objects/meshes/bottle.obj", OBJ)
        archive.writestr("robosuite/models/assets/textures/glass.png", picture.getvalue())
    return path


def test_only_what_the_wheel_holds_is_listed(wheel):
    assert [entry.slug for entry in read_entries(wheel)] == ["barrel", "cone", "bottle"]
    assert len({entry.slug for entry in CATALOGUE}) == len(CATALOGUE) >= 20


def test_models_are_upright_and_carry_the_publishers_texture_or_material(wheel):
    barrel, cone, bottle = (load_model(wheel, entry) for entry in read_entries(wheel))
    assert barrel.extent == pytest.approx([1.0, 3.0, 2.0])
    assert bottle.extent == pytest.approx([1.0, 2.0, 3.0])
    assert barrel.parts[0].base_color == (0.5, 0.25, 1.0) and barrel.parts[0].texture is None
    for model in (cone, bottle):
        assert model.parts[0].texture[0, 0].tolist() == [250, 120, 10, 255]


def test_a_file_without_known_models_is_refused(tmp_path):
    with pytest.raises(ModelFileError, match="known models"):
        read_entries(tmp_path / "absent.whl")
