# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's two pictures: what the method imagined, and what came of it."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import bpy
from demo_scene import SAMPLES
from mathutils import Matrix, Vector
from PIL import Image

from one2345_blender.addon.camera_import import new_camera
from one2345_blender.addon.photo_lens import photo_lens
from one2345_blender.contracts.cameras import CAMERA_RADIUS

BACKGROUND_SRGB = (236, 236, 236)
PREVIEW_HEIGHT_PX = 600
ORBIT_AZIMUTHS_DEG = (45.0, 135.0, 225.0, 315.0)
NUM_STAGE1_VIEWS, NUM_NEAR_VIEWS = 8, 4


def write_view_sheet(views_dir: Path, path: Path) -> None:
    """The eight views side by side, under each its four near views."""
    columns = [
        [f"{view}", *(f"{view}_{near}" for near in range(NUM_NEAR_VIEWS))]
        for view in range(NUM_STAGE1_VIEWS)
    ]
    views = [[Image.open(views_dir / f"{name}.png") for name in column] for column in columns]
    size_px = views[0][0].width
    sheet = Image.new("RGB", (size_px * NUM_STAGE1_VIEWS, size_px * (1 + NUM_NEAR_VIEWS)))
    for x, column in enumerate(views):
        for y, view in enumerate(column):
            sheet.paste(view, (x * size_px, y * size_px))
    sheet.save(path)


def write_preview(photo_path: Path, path: Path) -> None:
    """The photo, the render through its camera, and four views around, left to right."""
    photo = Image.open(photo_path).convert("RGB")
    photo = photo.resize((round(photo.width * PREVIEW_HEIGHT_PX / photo.height), PREVIEW_HEIGHT_PX))
    scene = bpy.context.scene
    photo_camera = scene.camera
    matched = _rendered(photo_camera, photo.size)
    half_px = PREVIEW_HEIGHT_PX // 2
    sheet = Image.new("RGB", (2 * photo.width + PREVIEW_HEIGHT_PX, PREVIEW_HEIGHT_PX))
    sheet.paste(photo, (0, 0))
    sheet.paste(matched, (photo.width, 0))
    for index, azimuth_deg in enumerate(ORBIT_AZIMUTHS_DEG):
        camera = _orbit_camera(photo_camera, azimuth_deg)
        corner = (2 * photo.width + index % 2 * half_px, index // 2 * half_px)
        sheet.paste(_rendered(camera, (half_px, half_px)), corner)
        bpy.data.cameras.remove(camera.data)
    sheet.save(path)
    scene.camera = photo_camera
    scene.render.resolution_x, scene.render.resolution_y = photo.size


def _orbit_camera(photo_camera: bpy.types.Object, azimuth_deg: float) -> bpy.types.Object:
    """The photo's camera gone round the object, with the lens of the method's square views."""
    lens = photo_lens((0.0, 0.0, 1.0), (1.0, 1.0), view_size_px=math.inf, frame_aspect=1.0)
    camera = bpy.data.objects.new("orbit", new_camera("orbit", lens))
    bpy.context.scene.collection.objects.link(camera)
    centre = photo_camera.matrix_world @ Vector((0.0, 0.0, -CAMERA_RADIUS))
    turn = Matrix.Rotation(math.radians(azimuth_deg), 4, "Z")
    about_centre = Matrix.Translation(centre) @ turn @ Matrix.Translation(-centre)
    camera.matrix_world = about_centre @ photo_camera.matrix_world
    return camera


def _rendered(camera: bpy.types.Object, size_px: tuple[int, int]) -> Image.Image:
    """A render on a plain background."""
    scene = bpy.context.scene
    scene.camera = camera
    scene.cycles.samples = SAMPLES
    scene.render.resolution_x, scene.render.resolution_y = size_px
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGBA"
    with tempfile.TemporaryDirectory() as folder:
        scene.render.filepath = str(Path(folder) / "render.png")
        bpy.ops.render.render(write_still=True)
        with Image.open(scene.render.filepath) as render:
            plain = Image.new("RGBA", render.size, (*BACKGROUND_SRGB, 255))
            return Image.alpha_composite(plain, render.convert("RGBA")).convert("RGB")
