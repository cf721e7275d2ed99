# SPDX-License-Identifier: GPL-3.0-or-later
"""Model files with a list of their licences, as somebody brings them, inspected and rendered."""

from __future__ import annotations

from pathlib import Path

import pytest
import trimesh

from one2345_blender.contracts.errors import EnvironmentMissingError
from one2345_blender.training import assets_command, renders_command
from one2345_blender.training.rasterizer import open_context

LIST = """file,name,author,licence
glbs/a/crate.glb,Crate,Ada,CC-BY-4.0
glbs/b/crate.glb,"Ball, red",Bob,CC0-1.0
glbs/b/tin.glb,Tin,Bob,CC-BY-4.0
glbs/b/broken.glb,Broken,Bob,CC-BY-4.0
glbs/b/sold.glb,Sold,Cyd,CC-BY-NC-4.0
"""


def _write_models(folder: Path) -> None:
    """Write `models.csv` and the files that it lists; one of them is damaged, one not free."""
    shapes = {
        "a/crate": trimesh.creation.box((1.0, 2.0, 0.5)),
        "b/crate": trimesh.creation.icosphere(subdivisions=2),
        "b/tin": trimesh.creation.cylinder(0.4, 1.0, sections=16),
        "b/sold": trimesh.creation.capsule(1.0, 0.3),
    }
    for number, (name, mesh) in enumerate(shapes.items()):
        mesh.visual.face_colors = (60 * number + 40, 200 - 50 * number, 90, 255)
        path = folder / "glbs" / f"{name}.glb"
        path.parent.mkdir(parents=True, exist_ok=True)
        mesh.export(path)
    (folder / "glbs" / "b" / "broken.glb").write_bytes(b"glTF\x02\x00\x00\x00")
    (folder / "models.csv").write_text(LIST, encoding="utf-8")


def render_own_models(folder: Path, size_px: int) -> Path:
    """Write, inspect and render the models; returns the folder of the training data. Skips where no
    OpenGL answers."""
    try:
        open_context().release()
    except EnvironmentMissingError as error:
        pytest.skip(error.message)
    _write_models(folder)
    data_dir = folder / "data"
    common = ["--packages", str(folder), "--manifest", str(folder / "manifest.json")]
    assets_command.main(
        [
            *(*common, "--models", "models.csv", "--workers", "1"),
            *("--attribution", str(folder / "ATTRIBUTION.md")),
            *("--inspections", str(folder / "inspections.jsonl")),
        ]
    )
    renders_command.main(
        [
            *(*common, "--size", str(size_px), "--workers", "1", "--train-rigs", "1"),
            *("--output", str(data_dir / "renders")),
        ]
    )
    return data_dir
