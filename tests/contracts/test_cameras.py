# SPDX-License-Identifier: GPL-3.0-or-later
"""Camera conventions, pinned by their strongest properties."""

import numpy as np
import pytest

from one2345_blender.contracts.cameras import (
    CAMERA_RADIUS,
    CameraRig,
    PosedImages,
    Viewpoint,
    c2w_from_viewpoints,
    method_intrinsics,
    method_rig,
    px_from_world,
    swap_camera_axes,
)


def viewpoint(azimuth_deg, elevation_deg):
    return Viewpoint(name="v", azimuth_deg=azimuth_deg, elevation_deg=elevation_deg)


@pytest.mark.parametrize(
    ("azimuth_deg", "elevation_deg", "centre"),
    [
        (0, 0, (0, -1.2, 0)),
        (90, 0, (1.2, 0, 0)),
        (180, 0, (0, 1.2, 0)),
        (0, 90, (0, 0, 1.2)),
        (0, -90, (0, 0, -1.2)),
    ],
)
def test_camera_centres(azimuth_deg, elevation_deg, centre):
    c2w = c2w_from_viewpoints([viewpoint(azimuth_deg, elevation_deg)])[0]
    np.testing.assert_allclose(c2w[:3, 3], centre, atol=1e-6)


@pytest.mark.parametrize("elevation_deg", [-90, -30, 0, 45, 90])
@pytest.mark.parametrize("azimuth_deg", [0, 77, 200, 359])
def test_cameras_are_rigid_and_look_at_the_origin(azimuth_deg, elevation_deg):
    c2w = c2w_from_viewpoints([viewpoint(azimuth_deg, elevation_deg)])[0].astype(np.float64)
    rotation = c2w[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(rotation) == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(c2w[:3, 3] + CAMERA_RADIUS * rotation[:, 2], 0, atol=1e-6)


def test_up_in_the_world_is_up_in_the_picture():
    c2w = c2w_from_viewpoints([viewpoint(30, 20)])[0]
    pixels, depths = px_from_world(np.array([[0, 0, 0], [0, 0, 0.3]]), c2w, method_intrinsics(256))
    np.testing.assert_allclose(pixels[0], [128, 128], atol=1e-4)
    assert pixels[1, 1] < 128 and depths[0] == pytest.approx(1.2, abs=1e-6)


def test_camera_on_minus_y_sees_plus_x_on_its_right():
    c2w = c2w_from_viewpoints([viewpoint(0, 0)])[0]
    pixels, _ = px_from_world(np.array([[0.2, 0, 0]]), c2w, method_intrinsics(256))
    assert pixels[0, 0] == pytest.approx(128 + 280 * 0.2 / 1.2, abs=1e-3)


def test_swapping_axes_twice_changes_nothing():
    c2w = c2w_from_viewpoints([viewpoint(12, 34)])
    np.testing.assert_array_equal(swap_camera_axes(swap_camera_axes(c2w)), c2w)
    np.testing.assert_array_equal(swap_camera_axes(c2w)[..., 3], c2w[..., 3])


def test_w2c_inverts_c2w():
    rig = method_rig([viewpoint(a, 10) for a in (0, 90, 180)], 128)
    np.testing.assert_allclose(rig.w2c @ rig.c2w, np.tile(np.eye(4), (3, 1, 1)), atol=1e-6)


def test_rig_refuses_wrong_shapes():
    with pytest.raises(ValueError, match="c2w: expected shape"):
        CameraRig(
            names=("a", "b"),
            c2w=np.eye(4, dtype=np.float32)[None],
            K=method_intrinsics(8),
            height_px=8,
            width_px=8,
        )


def test_chosen_pictures_keep_their_cameras():
    rig = method_rig([viewpoint(azimuth_deg, 20) for azimuth_deg in (0, 90, 180)], 4)
    shades = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1)
    images = PosedImages(
        rgb=np.broadcast_to(shades, (3, 4, 4, 3)), cameras=rig, reference_c2w=rig.c2w[0]
    )
    chosen = images.chosen([2, 0])
    assert chosen.rgb[:, 0, 0, 0].tolist() == [2, 0]
    np.testing.assert_array_equal(chosen.cameras.c2w, rig.c2w[[2, 0]])
    np.testing.assert_array_equal(chosen.reference_c2w, rig.c2w[0])
