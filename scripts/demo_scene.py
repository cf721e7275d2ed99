# SPDX-License-Identifier: GPL-3.0-or-later
"""Light, render settings and viewport of the demo's scene."""

from __future__ import annotations

from pathlib import Path

import bpy

SAMPLES = 32


def light_scene() -> None:
    """An even white sky, colours as they are stored, the background left transparent."""
    scene = bpy.context.scene
    world = scene.world = bpy.data.worlds.new("Even Sky")
    if world.node_tree is None:  # before Blender 5.0
        world.use_nodes = True
    background = next(node for node in world.node_tree.nodes if node.type == "BACKGROUND")
    background.inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    scene.view_settings.view_transform = "Standard"
    scene.render.engine = "CYCLES"
    scene.render.film_transparent = True
    scene.cycles.device = "CPU"
    scene.cycles.samples = SAMPLES
    scene.cycles.use_denoising = False


def save_scene(path: Path) -> None:
    """Save; the file opens looking through the photo's camera."""
    for screen in bpy.data.screens:
        for area in screen.areas:
            if area.type == "VIEW_3D":
                area.spaces.active.region_3d.view_perspective = "CAMERA"
    bpy.context.preferences.filepaths.save_version = 0
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
