# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive installs, works and leaves nothing behind, in a clean user folder."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import addon_utils
import bpy
import pytest

ROOT = Path(__file__).parents[3]
MODULE = "bl_ext.user_default.one2345"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output_dir = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "scripts/build_extension.py", "--output-dir", str(output_dir)]
    subprocess.run(command, cwd=ROOT, check=True)
    (path,) = output_dir.glob("*.zip")
    return path


def traces() -> dict[str, set[str]]:
    """Everything of ours that Blender knows of."""
    return {
        "types": {name for name in dir(bpy.types) if "ONE2345" in name},
        "operators": set(dir(bpy.ops.one2345)),
        "scene": {name for name in dir(bpy.types.Scene) if "one2345" in name},
        "handlers": {
            str(handler)
            for name in dir(bpy.app.handlers)
            if isinstance(handlers := getattr(bpy.app.handlers, name), list)
            for handler in handlers
            if "one2345" in str(getattr(handler, "__module__", ""))
        },
    }


def children() -> list[str]:
    listed = subprocess.run(
        ["ps", "--ppid", str(subprocess.os.getpid()), "-o", "args="],
        capture_output=True,
        text=True,
        check=False,
    )
    return [line for line in listed.stdout.splitlines() if "fake_worker" in line]


@pytest.fixture
def disabled_at_the_end() -> Iterator[None]:
    yield
    addon_utils.disable(MODULE)


@pytest.mark.usefixtures("disabled_at_the_end")
def test_install_convert_and_disable(archive: Path, tmp_path: Path) -> None:
    nothing = traces()
    addon_utils.enable("bl_pkg")
    bpy.ops.extensions.package_install_files(
        filepath=str(archive), repo="user_default", enable_on_install=True
    )
    assert MODULE in bpy.context.preferences.addons
    preferences = bpy.context.preferences.addons[MODULE].preferences
    assert preferences.device == "auto" and preferences.python_path == ""

    photo = str(tmp_path / "photo.png")
    assert bpy.ops.one2345.image_to_mesh(filepath=photo) == {"FINISHED"}
    session = sys.modules[f"{MODULE}.one2345_blender.addon.session"]
    preferences.memory_limit_gb = 12.5
    assert bpy.ops.one2345.image_to_mesh(filepath=photo) == {"FINISHED"}
    assert [job.spec.memory_limit_gb for job in session.SESSION.jobs] == [None, 12.5]
    assert bpy.context.object.type == "MESH"
    preferences.python_path = str(tmp_path / "missing")
    with pytest.raises(RuntimeError, match="preferences names"):
        bpy.ops.one2345.image_to_mesh(filepath=str(tmp_path / "photo.png"))
    assert len(children()) == 1
    assert not {"torch", "diffusers", "PIL"} & set(sys.modules)

    addon_utils.disable(MODULE, default_set=True)
    gc.collect()
    assert traces() == nothing
    assert children() == []
    addon_utils.enable(MODULE)
