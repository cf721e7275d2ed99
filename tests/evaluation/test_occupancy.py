# SPDX-License-Identifier: GPL-3.0-or-later
"""Insides of meshes whose volume is known."""

import numpy as np
import pytest
import trimesh

from one2345_blender.evaluation.occupancy import occupancy, volume_iou


def box(side: float = 1.0, at: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> trimesh.Trimesh:
    return trimesh.creation.box((side, side, side)).apply_translation(at)


def filled_share(mesh: trimesh.Trimesh) -> float:
    """Of the cube [-1, 1]^3."""
    axis = np.linspace(-1, 1, 80, endpoint=False) + 1 / 80 + 1e-5
    return float(occupancy(mesh, [axis, axis, axis]).mean())


def test_boxes_that_share_half_of_each_have_an_iou_of_a_third():
    assert volume_iou(box(), box(at=(0.0, 0.5, 0.0))) == pytest.approx(1 / 3, abs=0.02)
    assert volume_iou(box(), box()) == 1.0
    assert volume_iou(box(), box(at=(3.0, 0.0, 0.0))) == 0.0


def test_a_turned_sphere_holds_its_volume():
    ball = trimesh.creation.icosphere(4, 0.8)
    assert filled_share(ball) == pytest.approx(ball.volume / 8, rel=0.01)


def test_overlapping_bodies_are_joined_and_inside_out_ones_count():
    pair = trimesh.util.concatenate([box(1.0, (-0.25, 0, 0)), box(1.0, (0.25, 0, 0))])
    assert filled_share(pair) == pytest.approx(1.5 / 8, abs=0.005)
    pair.invert()
    assert filled_share(pair) == pytest.approx(1.5 / 8, abs=0.005)


def test_a_cavity_is_empty():
    cavity = box(0.5)
    cavity.invert()
    assert filled_share(trimesh.util.concatenate([box(), cavity])) == pytest.approx(
        (1 - 0.125) / 8, abs=0.005
    )


def test_a_line_that_enters_through_a_hole_holds_nothing():
    open_box = box()
    is_top = open_box.face_normals[:, 2] > 0.5
    open_box.update_faces(~is_top)
    assert filled_share(open_box) == 0.0
