# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done with a converted object, and the pictures that do not come as files."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest

from one2345_blender.addon import session, texts
from one2345_blender.addon.picture_file import picture_file, srgb_from_linear
from one2345_blender.addon.place_result import CAMERA_PROPERTY
from one2345_blender.contracts.errors import InputImageError
from tests.fake_worker import BOX_SRGB

pytestmark = pytest.mark.usefixtures("registered_addon")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "cup.png"
    path.touch()
    return path


def convert(photo: Path, **options: object) -> bpy.types.Object:
    assert bpy.ops.one2345.image_to_mesh(filepath=str(photo), **options) == {"FINISHED"}
    return bpy.context.view_layer.objects.active


def small_image(name: str, *, is_float: bool = False) -> bpy.types.Image:
    image = bpy.data.images.new(name, 4, 2, alpha=True, float_buffer=is_float)
    image.pixels.foreach_set(np.linspace(0.0, 1.0, 32, dtype=np.float32))
    return image


def file_pixels(path: Path) -> list[float]:
    return list(bpy.data.images.load(str(path)).pixels)


def test_next_steps_need_a_converted_object_in_object_mode(photo: Path) -> None:
    operators = (bpy.ops.one2345.refine, bpy.ops.one2345.another_seed)
    assert not any(operator.poll() for operator in operators)
    bpy.ops.mesh.primitive_cube_add()
    assert not any(operator.poll() for operator in operators)
    convert(photo)
    assert all(operator.poll() for operator in operators)
    bpy.ops.object.mode_set(mode="EDIT")
    assert not any(operator.poll() for operator in operators)


def test_another_seed_stands_beside_and_keeps_the_object_s_own_options(photo: Path) -> None:
    first = convert(
        photo,
        seed=3,
        scale=2.0,
        estimate_elevation=False,
        elevation_deg=40.0,
        location=(5.0, 6.0, 7.0),
    )
    assert tuple(first.location) == (5.0, 6.0, 7.0)
    assert bpy.ops.one2345.another_seed() == {"FINISHED"}
    second = bpy.context.view_layer.objects.active
    assert second != first and second["one2345_seed"] == 4
    assert second["one2345_elevation_deg"] == 40.0 and second["one2345_scale"] == 2.0
    assert tuple(second.location) == (8.0, 6.0, 7.0)
    assert tuple(second.dimensions) == pytest.approx(tuple(first.dimensions))


def test_another_seed_goes_where_the_panel_says(photo: Path) -> None:
    convert(photo)
    chosen = bpy.context.scene.one2345
    chosen.use_collection, chosen.mark_asset, chosen.asset_license = True, True, "CC0"
    assert bpy.ops.one2345.another_seed() == {"FINISHED"}
    second = bpy.context.view_layer.objects.active
    assert second.asset_data.license == "CC0"
    assert second.users_collection[0].name == "One-2-3-45"


def test_another_seed_works_from_the_packed_photo_when_the_file_is_gone(photo: Path) -> None:
    convert(photo)
    photo.unlink()
    assert bpy.ops.one2345.another_seed() == {"FINISHED"}
    assert bpy.context.view_layer.objects.active["one2345_seed"] == 1
    for image in list(bpy.data.images):
        bpy.data.images.remove(image)
    bpy.context.view_layer.objects.active["one2345_image_path"] = str(photo)
    with pytest.raises(RuntimeError, match="photo is gone"):
        bpy.ops.one2345.another_seed()


def test_from_the_packed_photo_the_object_keeps_its_name(photo: Path) -> None:
    convert(photo)
    photo.unlink()
    for expected in ("cup.001", "cup.002"):
        assert bpy.ops.one2345.another_seed() == {"FINISHED"}
        assert bpy.context.view_layer.objects.active.name == expected


def test_another_seed_is_one_that_nothing_of_the_photo_has(photo: Path) -> None:
    first = convert(photo, seed=3)
    convert(photo, seed=5)
    for expected_seed in (4, 6, 7):
        bpy.context.view_layer.objects.active = first
        assert bpy.ops.one2345.another_seed() == {"FINISHED"}
        assert bpy.context.view_layer.objects.active["one2345_seed"] == expected_seed
    xs = {placed.location.x for placed in bpy.data.objects if placed.type == "MESH"}
    assert len(xs) == 5, "each has a place of its own"


def test_another_seed_that_is_refused_is_a_report_and_no_traceback(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(photo)
    monkeypatch.delenv("ONE2345_PYTHON")
    with pytest.raises(RuntimeError, match="runtime of One-2-3-45 is not installed") as refused:
        bpy.ops.one2345.another_seed()
    assert "Traceback" not in str(refused.value)


def test_faces_are_those_that_are_shown(photo: Path) -> None:
    placed = convert(photo)
    view_layer = bpy.context.view_layer
    assert texts.faces(placed, bpy.context.evaluated_depsgraph_get()) == "12"
    modifier = placed.modifiers.new("more", "SUBSURF")
    modifier.subdivision_type, modifier.levels = "SIMPLE", 1
    view_layer.update()
    shown = texts.faces(placed, bpy.context.evaluated_depsgraph_get())
    assert shown == "36 (12 without modifiers)"


def test_a_remesh_is_as_fine_on_a_scaled_object(photo: Path) -> None:
    counts = []
    for scale in (1.0, 5.0):
        placed = convert(photo)
        placed.scale = (scale, scale, scale)
        bpy.context.view_layer.update()
        assert bpy.ops.one2345.refine(kind="REMESH") == {"FINISHED"}
        counts.append(len(placed.data.polygons))
    assert counts[1] == pytest.approx(counts[0], rel=0.01)


@pytest.mark.parametrize("kind", ["SMOOTH", "DECIMATE"])
def test_modifiers_are_added_with_a_visible_effect(photo: Path, kind: str) -> None:
    placed = convert(photo)
    before = _evaluated(placed)
    assert bpy.ops.one2345.refine(kind=kind) == {"FINISHED"}
    (modifier,) = placed.modifiers
    assert modifier.type == kind
    after = _evaluated(placed)
    assert len(after) < len(before) or not np.allclose(after, before, atol=1e-3)


def test_a_remesh_keeps_the_colours(photo: Path) -> None:
    placed = convert(photo)
    assert bpy.ops.one2345.refine(kind="REMESH") == {"FINISHED"}
    assert len(placed.data.polygons) > 1000 and len(placed.modifiers) == 0
    attribute = placed.data.color_attributes.active_color
    assert attribute is not None and attribute.name == "Color"
    colors = np.zeros(4 * len(attribute.data), dtype=np.float32)
    attribute.data.foreach_get("color_srgb", colors)
    np.testing.assert_allclose(
        colors.reshape(-1, 4) * 255, [BOX_SRGB] * len(attribute.data), atol=1
    )


def test_the_object_knows_its_camera_even_after_a_file_was_saved_and_opened(
    photo: Path, tmp_path: Path
) -> None:
    name = convert(photo).name
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "scene.blend"))
    placed = bpy.data.objects[name]
    assert placed[CAMERA_PROPERTY] == bpy.data.objects[f"{name} Camera"]
    assert bpy.ops.one2345.refine.poll()


def test_a_painted_image_goes_through_its_pixels(tmp_path: Path) -> None:
    image = small_image("a/b: painted")
    path = picture_file(image.name, tmp_path / "job")
    assert path.parent == tmp_path / "job"
    np.testing.assert_allclose(file_pixels(path), image.pixels[:], atol=1 / 255)
    assert len(bpy.data.images) == 2, "the image and the one loaded by the test"


def test_a_float_image_is_shown_in_srgb(tmp_path: Path) -> None:
    image = small_image("light", is_float=True)
    path = picture_file(image.name, tmp_path)
    expected = np.array(image.pixels[:], dtype=np.float32).reshape(-1, 4)
    expected[:, :3] = srgb_from_linear(expected[:, :3])
    np.testing.assert_allclose(file_pixels(path), expected.ravel(), atol=1 / 255)


def test_srgb_curve_at_known_points() -> None:
    linear = np.array([-1.0, 0.0, 0.0031308, 0.2140411, 1.0, 9.0], dtype=np.float32)
    expected = [0.0, 0.0, 0.04045, 0.5, 1.0, 1.0]
    np.testing.assert_allclose(srgb_from_linear(linear), expected, atol=1e-5)


def test_an_unchanged_file_is_taken_as_it_is_and_a_packed_one_byte_by_byte(tmp_path: Path) -> None:
    source = small_image("source")
    source.filepath_raw, source.file_format = str(tmp_path / "photo.png"), "PNG"
    source.save()
    content = (tmp_path / "photo.png").read_bytes()
    loaded = bpy.data.images.load(str(tmp_path / "photo.png"))
    assert picture_file(loaded.name, tmp_path / "job") == tmp_path / "photo.png"
    loaded.pack()
    (tmp_path / "photo.png").unlink()
    packed = picture_file(loaded.name, tmp_path / "job")
    assert packed.name == "photo.png" and packed.read_bytes() == content


def test_an_image_of_the_file_becomes_an_object_of_its_name() -> None:
    image = small_image("painted")
    assert bpy.ops.one2345.image_to_mesh(image=image.name) == {"FINISHED"}
    assert "painted" in bpy.data.objects
    with pytest.raises(RuntimeError, match="expected the name of an image"):
        bpy.ops.one2345.image_to_mesh(image="missing")


def test_an_image_without_pixels_is_an_error(tmp_path: Path) -> None:
    missing = bpy.data.images.new("missing", 1, 1)
    missing.source, missing.filepath = "FILE", str(tmp_path / "missing.png")
    missing.reload()
    with pytest.raises(InputImageError, match="no pixels"):
        picture_file("missing", tmp_path)
    assert session.SESSION.jobs == []


def test_the_clipboard_is_offered_only_where_it_holds_a_picture() -> None:
    assert not bpy.ops.one2345.paste_picture.poll()


def _evaluated(placed: bpy.types.Object) -> np.ndarray:
    mesh = placed.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    coordinates = np.zeros(3 * len(mesh.vertices), dtype=np.float32)
    mesh.vertices.foreach_get("co", coordinates)
    return coordinates
