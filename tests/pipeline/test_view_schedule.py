# SPDX-License-Identifier: GPL-3.0-or-later
"""The view schedule against the original's `pose.json`, and its own properties."""

from pathlib import Path

import numpy as np
import pytest

from one2345_blender.contracts.cameras import c2w_from_viewpoints, swap_camera_axes
from one2345_blender.pipeline.view_schedule import (
    NEAR_OFFSETS,
    method_viewpoints,
    stage1_viewpoints,
    tilted_offsets,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "original_poses.npz"
INPUT_AZIMUTH_IN_ORIGINAL_DEG = 30.0


@pytest.mark.parametrize("polar_deg", [40, 60, 75, 76, 90, 105])
def test_cameras_equal_the_originals_turned_so_that_the_photo_faces_minus_y(polar_deg):
    original = np.load(GOLDEN)[f"c2w_blender_polar{polar_deg}"]
    angle = np.radians(-INPUT_AZIMUTH_IN_ORIGINAL_DEG)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    ours = swap_camera_axes(c2w_from_viewpoints(method_viewpoints(90.0 - polar_deg)))
    np.testing.assert_allclose(ours, turn @ original, atol=2e-6)


def test_counts_and_names():
    viewpoints = method_viewpoints(20.0)
    names = [v.name for v in viewpoints]
    assert len(viewpoints) == 40 and len(set(names)) == 40
    assert names[:8] == [str(i) for i in range(8)]
    assert names[8:12] == ["0_0", "0_1", "0_2", "0_3"] and names[-1] == "7_3"


def test_first_view_is_the_input():
    first = stage1_viewpoints(33.0)[0]
    assert (first.azimuth_deg, first.elevation_deg) == (0.0, 33.0)


@pytest.mark.parametrize(
    ("elevation_deg", "d_polar_deg"), [(50, 30), (15, 30), (14, -30), (-10, -30)]
)
def test_tilted_views_go_down_from_high_cameras_and_up_from_low_ones(elevation_deg, d_polar_deg):
    assert {o.d_polar_deg for o in tilted_offsets(elevation_deg)} == {d_polar_deg}


def test_near_views_lie_within_ten_degrees_of_their_view():
    viewpoints = method_viewpoints(45.0)
    for i, view in enumerate(viewpoints[:8]):
        near = viewpoints[8 + 4 * i : 12 + 4 * i]
        moved = [
            (view.elevation_deg - n.elevation_deg, n.azimuth_deg - view.azimuth_deg) for n in near
        ]
        assert moved == [(o.d_polar_deg, o.d_azimuth_deg) for o in NEAR_OFFSETS]
