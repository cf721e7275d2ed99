# SPDX-License-Identifier: GPL-3.0-or-later
"""The vertex colours come out of a render as they went in."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest

from one2345_blender.addon.mesh_import import new_mesh
from tests.fake_worker import BOX_SRGB, box_mesh


@pytest.fixture
def scene() -> bpy.types.Scene:
    """The fake worker's box, filling the view of an orthographic camera, view transform off."""
    scene = bpy.context.scene
    box = new_mesh("box", box_mesh())
    box.shade_flat()  # a box's smooth normals would lean over its edges and darken it
    scene.collection.objects.link(bpy.data.objects.new("box", box))
    camera = bpy.data.cameras.new("camera")
    camera.type, camera.ortho_scale = "ORTHO", 0.1
    scene.camera = bpy.data.objects.new("camera", camera)
    scene.camera.location = (0.0, 0.0, 3.0)
    scene.collection.objects.link(scene.camera)
    scene.render.resolution_x = scene.render.resolution_y = 8
    scene.render.image_settings.file_format = "PNG"
    scene.view_settings.view_transform = "Standard"
    return scene


def rendered_srgb(scene: bpy.types.Scene, path: Path) -> list[int]:
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(path))
    pixels = np.array(image.pixels[:]).reshape(-1, 4)  # of an 8-bit PNG: its sRGB values
    return [round(channel * 255) for channel in pixels.mean(axis=0)[:3]]


def test_workbench_shows_the_colour_attribute(scene: bpy.types.Scene, tmp_path: Path) -> None:
    scene.render.engine = "BLENDER_WORKBENCH"
    scene.display.shading.light = "FLAT"
    scene.display.shading.color_type = "VERTEX"
    scene.display.render_aa = "OFF"
    assert rendered_srgb(scene, tmp_path / "workbench.png") == pytest.approx(BOX_SRGB[:3], abs=1)


def test_cycles_shows_the_material(scene: bpy.types.Scene, tmp_path: Path) -> None:
    """Under a uniform white sky a matt surface has exactly its own colour."""
    world = scene.world = bpy.data.worlds.new("white")
    if world.node_tree is None:
        world.use_nodes = True
    background = next(node for node in world.node_tree.nodes if node.type == "BACKGROUND")
    background.inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    principled = bpy.data.materials["box"].node_tree.nodes["Principled BSDF"]
    principled.inputs["Specular IOR Level"].default_value = 0.0
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 4
    scene.cycles.use_denoising = False
    assert rendered_srgb(scene, tmp_path / "cycles.png") == pytest.approx(BOX_SRGB[:3], abs=1)
