# SPDX-License-Identifier: GPL-3.0-or-later
"""`blender --command one2345 convert` of the installed archive, in a Blender without a window."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from blender_window import ROOT, paths_of_this_python, run_in_gui_blender

pytestmark = pytest.mark.window

PICTURES = [ROOT / "docs" / "demo" / "coffee.jpg", ROOT / "one2345_blender/addon/self_test.png"]
WHAT_IS_IN_IT = """
import bpy, json, sys
objects = {
    o.name: [o.type, o.get("one2345_seed"), len(o.data.vertices) if o.type == "MESH" else 0]
    for o in bpy.data.objects
}
print("OBJECTS", json.dumps(objects))
"""


def test_two_pictures_become_a_blend_file(
    gui_root: Path, home_dir: Path, fake_python: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out" / "crockery.blend"
    output.parent.mkdir()

    def blender(*arguments: object) -> str:
        finished = run_in_gui_blender(
            gui_root,
            ["env", f"BLENDER_USER_RESOURCES={home_dir}", "blender", *arguments],
            read=[ROOT, *paths_of_this_python(), home_dir, fake_python.parent],
            write=[output.parent],
            timeout_s=300,
            environ={"ONE2345_PYTHON": str(fake_python)},
        )
        assert finished.returncode == 0, finished.stdout
        return finished.stdout

    convert = ("--command", "one2345", "convert", *PICTURES, "--output", output)
    said = blender(*convert, "--seed", "7", "--quality", "draft")
    assert said.splitlines()[-1] == str(output), said
    looked = blender("--background", output, "--python-expr", WHAT_IS_IN_IT)
    (line,) = [line for line in looked.splitlines() if line.startswith("OBJECTS ")]
    assert json.loads(line.removeprefix("OBJECTS ")) == {
        "coffee": ["MESH", 7, 8],
        "coffee Camera": ["CAMERA", 7, 0],
        "self_test": ["MESH", 7, 8],
        "self_test Camera": ["CAMERA", 7, 0],
    }
