# SPDX-License-Identifier: GPL-3.0-or-later
"""Posed pictures of any shape, scale and place: into the method's rig, and the mesh back."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from one2345_blender.contracts.cameras import (
    PosedImages,
    Viewpoint,
    c2w_from_viewpoints,
    method_rig,
    px_from_world,
)
from one2345_blender.contracts.errors import PosedImagesError
from one2345_blender.contracts.mesh import ColoredMesh
from one2345_blender.contracts.transforms_json import write_transforms
from one2345_blender.pipeline.posed_images import read_posed_images, scene_scale
from one2345_blender.pipeline.view_schedule import stage1_viewpoints


def posed(size_px=32):
    rig = method_rig(stage1_viewpoints(20.0), size_px)
    rgb = np.zeros((len(rig.names), size_px, size_px, 3), dtype=np.uint8)
    return PosedImages(rgb=rgb, cameras=rig, reference_c2w=rig.c2w[0])


def moved(images, offset, factor):
    c2w = images.cameras.c2w.copy()
    c2w[:, :3, 3] = c2w[:, :3, 3] * factor + offset
    return replace(images, cameras=replace(images.cameras, c2w=c2w), reference_c2w=c2w[0])


def test_the_methods_own_rig_stays_as_it_is():
    images = posed()
    same = scene_scale(images.cameras).to_method(images)
    np.testing.assert_array_equal(same.cameras.c2w, images.cameras.c2w)


def test_a_rig_elsewhere_and_larger_comes_to_the_origin_and_the_mesh_goes_back():
    images, offset = posed(), np.array([3.0, -7.0, 2.0])
    far = moved(images, offset, 10.0)
    scale = scene_scale(far.cameras)
    near = scale.to_method(far)
    np.testing.assert_allclose(near.cameras.c2w, images.cameras.c2w, atol=1e-5)
    np.testing.assert_allclose(near.cameras.near_far, np.array(images.cameras.near_far) / 10)
    mesh = ColoredMesh(
        vertices=np.eye(3, dtype=np.float32),
        faces=np.array([[0, 1, 2]], dtype=np.int32),
        vertex_colors=np.zeros((3, 4), dtype=np.uint8),
    )
    np.testing.assert_allclose(scale.to_file(mesh).vertices, np.eye(3) * 10 + offset, atol=1e-4)


def test_cameras_that_look_away_are_refused():
    images = posed()
    c2w = images.cameras.c2w.copy()
    c2w[:, :3, :3] = c2w[:, :3, :3] @ np.diag([1.0, -1.0, -1.0]).astype(np.float32)
    with pytest.raises(PosedImagesError, match="behind camera"):
        scene_scale(replace(images.cameras, c2w=c2w))


def test_cameras_side_by_side_are_refused():
    images = posed()
    view = Viewpoint(name="a", azimuth_deg=0, elevation_deg=0)
    c2w = c2w_from_viewpoints([view] * 8)
    c2w[:, 0, 3] = np.arange(8)
    with pytest.raises(PosedImagesError, match="same direction"):
        scene_scale(replace(images.cameras, c2w=c2w))


def test_wide_pictures_are_padded_on_white_and_points_stay_where_they_were(tmp_path):
    rig = method_rig(stage1_viewpoints(20.0)[:2], 40)
    rig = replace(rig, width_px=80, K=rig.K + np.array([[0, 0, 20], [0, 0, 0], [0, 0, 0]]))
    point = np.array([[0.1, 0.05, 0.2]])
    for name, c2w in zip(rig.names, rig.c2w, strict=True):
        picture = np.full((40, 80, 3), 128, dtype=np.uint8)
        x, y = px_from_world(point, c2w, rig.K)[0][0].round().astype(int)
        picture[y - 1 : y + 2, x - 1 : x + 2] = (255, 0, 0)
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    write_transforms(tmp_path, [f"{n}.png" for n in rig.names], rig, rig.c2w[0])
    images = read_posed_images(tmp_path, 80)
    assert images.rgb.shape == (2, 80, 80, 3)
    assert (images.rgb[:, :20] == 255).all() and (images.rgb[:, 20:60, :20] >= 128).any()
    for view, c2w in zip(images.rgb, images.cameras.c2w, strict=True):
        x, y = px_from_world(point, c2w, images.cameras.K)[0][0].round().astype(int)
        assert tuple(view[y, x]) == (255, 0, 0)


def test_a_picture_of_another_size_than_the_file_says(tmp_path):
    rig = method_rig(stage1_viewpoints(20.0)[:2], 40)
    for name in rig.names:
        Image.new("RGB", (40, 41)).save(tmp_path / f"{name}.png")
    write_transforms(tmp_path, [f"{n}.png" for n in rig.names], rig, rig.c2w[0])
    with pytest.raises(PosedImagesError, match="40 x 41"):
        read_posed_images(tmp_path, 40)
