# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator with the real worker and tiny untrained networks: from the photo to the scene."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import bpy
import numpy as np
import pytest
from conftest import REAL_PYTHON

pytestmark = pytest.mark.usefixtures("registered_addon")
TESTS = Path(__file__).parents[2]
PHOTO_SIZE_PX = (96, 64)


@pytest.fixture(autouse=True)
def real_worker(empty_blender: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's Python, if it has what the pipeline needs."""
    found = subprocess.run([REAL_PYTHON, "-c", "import torch, diffusers"], capture_output=True)
    if found.returncode != 0:
        pytest.skip(f"{REAL_PYTHON} lacks the pipeline's packages (make setup, ONE2345_PYTHON)")
    monkeypatch.setenv("ONE2345_PYTHON", REAL_PYTHON)


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("preset") / "tiny"
    code = (
        "import sys, pathlib; sys.path[:0] = sys.argv[1:3];"
        "from tiny_preset import save_tiny_preset;"
        "save_tiny_preset(pathlib.Path(sys.argv[3]))"
    )
    arguments = [str(TESTS), str(TESTS.parent), str(folder)]
    subprocess.run([REAL_PYTHON, "-c", code, *arguments], check=True)
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """An orange disc on nothing."""
    width, height = PHOTO_SIZE_PX
    y, x = np.mgrid[:height, :width]
    is_inside = (x - 40) ** 2 + (y - 32) ** 2 < 24**2
    rgba = np.where(is_inside[..., None], (0.8, 0.4, 0.1, 1.0), 0.0)
    image = bpy.data.images.new("disc", width, height, alpha=True)
    image.pixels.foreach_set(rgba.astype(np.float32).ravel())
    image.filepath_raw = str(tmp_path / "scheibe ö.png")
    image.file_format = "PNG"
    image.save()
    return Path(image.filepath_raw)


def test_a_photo_becomes_an_object(photo: Path, preset: Path, tmp_path: Path) -> None:
    result = bpy.ops.one2345.image_to_mesh(
        filepath=str(photo),
        preset=str(preset),
        seed=7,
        estimate_elevation=False,
        elevation_deg=20.0,
        output_dir=str(tmp_path / "job"),
    )
    assert result == {"FINISHED"}
    placed = bpy.context.object
    report = json.loads((tmp_path / "job" / "report.json").read_text(encoding="utf-8"))
    assert len(placed.data.vertices) == report["num_vertices"]
    assert len(placed.data.polygons) == report["num_faces"]
    assert placed["one2345_elevation_deg"] == report["elevation"]["elevation_deg"] == 20.0
    lowest = min(vertex.co.z for vertex in placed.data.vertices)
    assert lowest == pytest.approx(0.0, abs=1e-6)
    camera = bpy.data.objects[f"{photo.stem} Camera"]
    assert tuple(camera.data.background_images[0].image.size) == PHOTO_SIZE_PX
    assert "torch" not in sys.modules


def test_bad_input_is_one_clear_error_and_leaves_nothing(
    photo: Path, preset: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.png"
    text.write_text("no picture")
    for file, weights, expected in (
        (tmp_path / "missing.png", str(preset), "There is no file"),
        (text, str(preset), "not a picture in a known format"),
        (photo, "imbedded", "preset: expected one of embedded"),
    ):
        with pytest.raises(RuntimeError, match=expected):
            bpy.ops.one2345.image_to_mesh(filepath=str(file), preset=weights)
    assert len(bpy.data.objects) == len(bpy.data.meshes) == 0
