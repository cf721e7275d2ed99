# SPDX-License-Identifier: GPL-3.0-or-later
"""What a conversion leaves in the scene."""

from __future__ import annotations

import sys
from pathlib import Path

import bpy
import numpy as np
import pytest
from numpy.typing import NDArray

from one2345_blender.addon.properties import operator_options, settings
from tests.fake_worker import BOX_HIGH, BOX_LOW, BOX_SRGB, ELEVATION_DEG

pytestmark = pytest.mark.usefixtures("registered_addon")
CURSOR = (1.0, 2.0, 0.5)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """The fake worker does not read it, but it has a name that could make trouble."""
    path = tmp_path / "Tässchen mit Henkel.png"
    path.touch()
    return path


def convert(photo: Path, **options: object) -> bpy.types.Object:
    bpy.context.scene.cursor.location = CURSOR
    assert bpy.ops.one2345.image_to_mesh(filepath=str(photo), **options) == {"FINISHED"}
    return bpy.context.view_layer.objects.active


def world_corners(placed: bpy.types.Object) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    bpy.context.view_layer.update()
    corners = np.array([placed.matrix_world @ vertex.co for vertex in placed.data.vertices])
    return corners.min(axis=0), corners.max(axis=0)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_the_object_stands_upright_at_the_cursor(photo: Path, scale: float) -> None:
    low, high = world_corners(convert(photo, scale=scale))
    np.testing.assert_allclose(high - low, scale * (np.array(BOX_HIGH) - BOX_LOW), atol=1e-5)
    assert low[2] == pytest.approx(CURSOR[2], abs=1e-5)
    np.testing.assert_allclose(low[:2], CURSOR[:2] + scale * np.array(BOX_LOW[:2]), atol=1e-5)


def test_the_object_is_selected_active_and_says_how_it_was_made(photo: Path) -> None:
    bpy.ops.object.empty_add()
    placed = convert(photo, seed=7)
    assert bpy.context.selected_objects == [placed] and placed.type == "MESH"
    assert placed.name == photo.stem
    assert placed["one2345_seed"] == 7
    assert placed["one2345_preset"] == "embedded"
    assert placed["one2345_elevation_deg"] == ELEVATION_DEG
    assert placed["one2345_elevation_estimated"] is True
    assert placed["one2345_image_path"] == str(photo)


def test_the_panel_takes_a_folder_of_weights(photo: Path, tmp_path: Path) -> None:
    chosen = settings(bpy.context)
    assert operator_options(chosen)["preset"] == "embedded"
    chosen.preset, chosen.preset_folder = "FOLDER", str(tmp_path)
    placed = convert(photo, **operator_options(chosen))
    assert placed["one2345_preset"] == str(tmp_path)
    chosen.preset_folder = ""
    with pytest.raises(RuntimeError, match="preset"):
        convert(photo, **operator_options(chosen))


def test_a_given_elevation_is_used_and_not_called_an_estimate(photo: Path) -> None:
    placed = convert(photo, estimate_elevation=False, elevation_deg=40.0)
    assert placed["one2345_elevation_deg"] == 40.0
    assert placed["one2345_elevation_estimated"] is False
    camera = bpy.data.objects[f"{photo.stem} Camera"]
    looks_down_deg = np.degrees(np.arcsin(camera.matrix_world.col[2][2]))
    assert looks_down_deg == pytest.approx(40.0, abs=1e-3)


def test_the_camera_stands_in_front_and_shows_the_photo(photo: Path) -> None:
    placed = convert(photo, scale=2.0)
    camera = bpy.data.objects[f"{photo.stem} Camera"]
    world_origin = np.array(placed.location) - [0.0, 0.0, 2.0 * BOX_LOW[2]]
    offset = np.array(camera.location) - world_origin
    assert np.linalg.norm(offset) == pytest.approx(2.0 * 1.2, abs=1e-5)
    assert offset[0] == pytest.approx(0.0, abs=1e-5) and offset[1] < 0.0
    (background,) = camera.data.background_images
    assert camera.data.show_background_images and background.frame_method == "FIT"
    assert background.image.packed_file is not None
    assert background.image.pixels[:] == pytest.approx([128 / 255] * 3 + [1.0]), "the grey photo"
    assert bpy.context.scene.camera == camera


def test_the_scene_s_own_camera_is_left_alone(photo: Path) -> None:
    bpy.ops.object.camera_add()
    own = bpy.context.scene.camera = bpy.context.object
    convert(photo)
    assert bpy.context.scene.camera == own


def test_colours_are_the_same_after_a_round_trip_through_a_file(
    photo: Path, tmp_path: Path
) -> None:
    name = convert(photo).name
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "scene.blend"))
    mesh = bpy.data.objects[name].data
    attribute = mesh.color_attributes.active_color
    assert (attribute.data_type, attribute.domain) == ("BYTE_COLOR", "POINT")
    assert mesh.color_attributes[mesh.color_attributes.render_color_index] == attribute
    srgb = np.zeros(4 * len(mesh.vertices), dtype=np.float32)
    attribute.data.foreach_get("color_srgb", srgb)
    np.testing.assert_array_equal(np.round(srgb.reshape(-1, 4) * 255), [BOX_SRGB] * 8)


def test_solid_views_show_the_colours_unless_the_user_chose_otherwise(photo: Path) -> None:
    (window,) = bpy.context.window_manager.windows
    views = [area.spaces.active for area in window.screen.areas if area.type == "VIEW_3D"]
    assert [view.shading.color_type for view in views] == ["MATERIAL"]
    convert(photo)
    assert [view.shading.color_type for view in views] == ["VERTEX"]
    views[0].shading.color_type = "RANDOM"
    convert(photo)
    assert [view.shading.color_type for view in views] == ["RANDOM"]


def test_faces_look_outwards(photo: Path) -> None:
    placed = convert(photo)
    centre = (np.array(BOX_LOW) + BOX_HIGH) / 2 - [0.0, 0.0, BOX_LOW[2]]
    outward = [np.dot(face.normal, np.array(face.center) - centre) for face in placed.data.polygons]
    assert len(outward) == 12 and min(outward) > 0.0
    assert placed.data.validate() is False, "Blender had to repair the mesh"


def test_a_conversion_is_one_undo_step(photo: Path) -> None:
    bpy.ops.ed.undo_push(message="before")
    convert(photo)
    assert len(bpy.data.objects) == 2
    bpy.ops.ed.undo()
    assert len(bpy.data.objects) == 0
    bpy.ops.ed.redo()
    assert len(bpy.data.objects) == 2


def test_someone_s_edit_mode_is_left_alone(photo: Path) -> None:
    bpy.ops.mesh.primitive_cube_add()
    cube = bpy.context.object
    bpy.ops.object.mode_set(mode="EDIT")
    convert(photo)
    assert bpy.context.view_layer.objects.active == cube and cube.mode == "EDIT"


def test_an_excluded_collection_does_not_swallow_the_object(photo: Path) -> None:
    hidden = bpy.data.collections.new("hidden")
    bpy.context.scene.collection.children.link(hidden)
    layer_collection = bpy.context.view_layer.layer_collection.children["hidden"]
    bpy.context.view_layer.active_layer_collection = layer_collection
    layer_collection.exclude = True
    assert convert(photo).visible_get()


def test_blender_s_process_stays_light(photo: Path) -> None:
    convert(photo)
    assert not {"torch", "diffusers", "transformers", "PIL"} & set(sys.modules)
