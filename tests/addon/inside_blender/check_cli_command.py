# SPDX-License-Identifier: GPL-3.0-or-later
"""`blender --command one2345 convert`, collections and assets."""

from __future__ import annotations

from pathlib import Path

import bpy
import pytest

from one2345_blender.addon import session
from one2345_blender.addon.cli_command import run
from one2345_blender.contracts.job import REFERENCE_SAMPLER

pytestmark = pytest.mark.usefixtures("registered_addon")


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    paths = [tmp_path / name for name in ("cup ö.png", "pot.jpg")]
    for path in paths:
        path.touch()
    return [str(path) for path in paths]


def test_photos_become_objects_in_a_file_of_their_own(photos: list[str], tmp_path: Path) -> None:
    bpy.ops.mesh.primitive_cube_add()
    output, kept = tmp_path / "out.blend", tmp_path / "kept"
    arguments = ["convert", *photos, "--output", str(output), "--seed", "5", "--keep", str(kept)]
    assert run([*arguments, "--elevation-deg=-7.5"]) == 0
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=str(output))
    meshes = [placed for placed in bpy.data.objects if placed.type == "MESH"]
    assert [placed.name for placed in meshes] == ["cup ö", "pot"]
    assert [placed["one2345_seed"] for placed in meshes] == [5, 5]
    assert [placed["one2345_elevation_deg"] for placed in meshes] == [-7.5, -7.5]
    assert (kept / "cup ö.png" / "mesh.npz").is_file() and (kept / "pot.jpg").is_dir()


@pytest.mark.parametrize(
    ("quality", "steps_scale", "sampler"),
    [
        ("draft", 0.5, None),
        ("standard", None, None),
        ("fine", 2.0, None),
        ("reference", None, REFERENCE_SAMPLER),
    ],
)
def test_quality_is_a_share_of_the_preset_s_steps_or_the_reference_sampler(
    photos: list[str],
    tmp_path: Path,
    quality: str,
    steps_scale: float | None,
    sampler: str | None,
) -> None:
    output = tmp_path / "out.blend"
    assert run(["convert", photos[0], "--output", str(output), "--quality", quality]) == 0
    spec = session.SESSION.jobs[-1].spec
    assert (spec.steps_scale, spec.sampler) == (steps_scale, sampler)


@pytest.mark.parametrize(
    "wrong", [[], ["paint"], ["convert"], ["convert", "a.png"], ["convert", "--seed", "x"]]
)
def test_wrong_use_is_status_2(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(wrong) == 2
    assert "usage: blender --command one2345" in capsys.readouterr().err


def test_help_is_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["convert", "--help"]) == 0
    assert "--elevation-deg" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("--resolution=9999", "expected a whole number from 16 to 512, got 9999"),
        ("--seed=-1", "seed: expected a whole number from 0"),
        ("--elevation-deg=91", "elevation_deg: expected a number from -90 to 90, got 91"),
    ],
)
def test_values_out_of_range_are_status_2_and_write_nothing(
    photos: list[str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    option: str,
    reason: str,
) -> None:
    output = tmp_path / "out.blend"
    assert run(["convert", photos[0], "--output", str(output), option]) == 2
    assert reason in capfd.readouterr().err and not output.exists()


def test_a_conversion_that_fails_is_status_2_and_writes_nothing(
    photos: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ONE2345_FAKE_MODE", "fails")
    output = tmp_path / "out.blend"
    assert run(["convert", photos[0], "--output", str(output)]) == 2
    assert "No object was found." in capfd.readouterr().err and not output.exists()


def test_results_gather_in_a_collection_of_their_own(photos: list[str]) -> None:
    for photo in photos:
        bpy.ops.one2345.image_to_mesh(filepath=photo, use_collection=True)
    collection = bpy.context.scene.collection.children["One-2-3-45"]
    assert len(collection.objects) == 4 and len(bpy.context.scene.collection.objects) == 0
    assert bpy.context.view_layer.objects.active.name == "pot"
    hidden = bpy.context.view_layer.layer_collection.children["One-2-3-45"]
    hidden.exclude = True
    assert bpy.ops.one2345.image_to_mesh(filepath=photos[0], use_collection=True) == {"FINISHED"}
    assert len(collection.objects) == 6


def test_each_scene_has_one_collection_of_results(photos: list[str]) -> None:
    bpy.ops.one2345.image_to_mesh(filepath=photos[0], use_collection=True)
    second = bpy.data.scenes.new("second")
    bpy.context.window.scene = second
    for photo in photos:
        bpy.ops.one2345.image_to_mesh(filepath=photo, use_collection=True)
    (own,) = second.collection.children
    assert len(own.objects) == 4
    own.name = "my crockery"
    bpy.ops.one2345.image_to_mesh(filepath=photos[0], use_collection=True)
    assert len(own.objects) == 6 and len(bpy.data.collections) == 2


def test_an_asset_carries_what_the_user_says_of_it(photos: list[str]) -> None:
    assert bpy.ops.one2345.image_to_mesh(
        filepath=photos[0],
        seed=3,
        mark_asset=True,
        asset_author="A. Artist",
        asset_license="CC0",
        asset_tags=" crockery, red,,",
    ) == {"FINISHED"}
    placed = bpy.data.objects["cup ö"]
    metadata = placed.asset_data
    assert (metadata.author, metadata.license) == ("A. Artist", "CC0")
    assert [tag.name for tag in metadata.tags] == ["One-2-3-45", "crockery", "red"]
    assert "seed 3" in metadata.description
    assert tuple(placed.preview.image_size) == (8, 8), "the fake worker's cut-out"
    assert tuple(placed.preview.image_pixels_float[:4]) == pytest.approx((*[200 / 255] * 3, 1.0))
    images = [image.name for image in bpy.data.images]
    assert images == ["cup ö"], "only the photo behind the camera"
    bpy.ops.one2345.image_to_mesh(filepath=photos[1])
    assert bpy.data.objects["pot"].asset_data is None
