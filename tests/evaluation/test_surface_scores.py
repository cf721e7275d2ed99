# SPDX-License-Identifier: GPL-3.0-or-later
"""Distances between surfaces whose answer is known, and alignment that undoes a similarity."""

import numpy as np
import pytest
import trimesh
from trimesh.transformations import rotation_matrix, transform_points

from one2345_blender.contracts.mesh import ColoredMesh
from one2345_blender.evaluation.surface_scores import (
    NUM_POINTS,
    normalisation,
    sample_points,
    score_surface,
)


def colored(mesh: trimesh.Trimesh) -> ColoredMesh:
    return ColoredMesh(
        vertices=mesh.vertices.astype(np.float32),
        faces=mesh.faces.astype(np.int32),
        vertex_colors=np.full((len(mesh.vertices), 4), 255, np.uint8),
    )


@pytest.fixture(scope="module")
def chair():
    """A seat, a back and one arm: no rotation takes it to itself."""
    seat = trimesh.creation.box((1.0, 1.0, 0.2))
    back = trimesh.creation.box((1.0, 0.2, 1.2)).apply_translation((0, 0.4, 0.5))
    arm = trimesh.creation.box((0.2, 0.6, 0.4)).apply_translation((0.4, -0.1, 0.3))
    return trimesh.util.concatenate([seat, back, arm])


@pytest.mark.parametrize(("yaw_deg", "tilt_deg"), [(0, 0), (100, 0), (200, 25), (315, -35)])
def test_a_turned_tilted_scaled_and_shifted_copy_is_the_same_surface(chair, yaw_deg, tilt_deg):
    truth = sample_points(chair, NUM_POINTS, seed=1)
    moved = chair.copy()
    moved.apply_transform(rotation_matrix(np.radians(yaw_deg), (0, 0, 1)))
    moved.apply_transform(rotation_matrix(np.radians(tilt_deg), (1, 0, 0)))
    moved.apply_scale(0.4)
    moved.apply_translation((0.3, -0.2, 0.1))
    scores = score_surface(colored(moved), truth)
    assert scores.f_05 > 0.999 and scores.chamfer < 0.02
    assert scores.f_05_in_place < 0.7
    undone = transform_points(moved.vertices, scores.aligned_from_world)
    expected = transform_points(chair.vertices, normalisation(truth))
    np.testing.assert_allclose(undone, expected, atol=0.02)


def test_distances_are_counted_where_the_longest_side_is_two():
    """Spheres of radius 1 and 0.93, concentric: every point is 0.07 away, unless they are scaled
    to each other."""
    truth = sample_points(trimesh.creation.icosphere(5, 3.0), NUM_POINTS, seed=1)
    scores = score_surface(colored(trimesh.creation.icosphere(5, 0.93 * 3.0)), truth)
    assert scores.f_05_in_place == 0.0
    assert scores.f_05 > 0.999 and scores.chamfer < 0.03


def test_a_missing_part_costs_recall_and_not_precision():
    """Of two equal boxes far apart one is there: precision 1, recall a half."""
    pair = [trimesh.creation.box((1, 1, 1)).apply_translation((x, 0, 0)) for x in (-2, 2)]
    truth = sample_points(trimesh.util.concatenate(pair), NUM_POINTS, seed=1)
    assert score_surface(colored(pair[0]), truth).f_05_in_place == pytest.approx(2 / 3, abs=0.02)


def test_a_missing_part_does_not_pull_the_others_out_of_place(chair):
    """A slab below the chair that the mesh does not have: with the smallest squares in place of
    the smallest distances the mesh grows until nothing else fits (F@.05 0.47)."""
    slab = trimesh.creation.box((0.5, 0.5, 0.05)).apply_translation((0, 0, -1.2))
    truth = sample_points(trimesh.util.concatenate([chair, slab]), NUM_POINTS, seed=1)
    scores = score_surface(colored(chair), truth)
    assert scores.f_05 == pytest.approx(scores.f_05_in_place, abs=0.01)


def test_no_alignment_is_further_away_than_none(chair):
    """A larger slab makes iterated matching end where the chamfer distance is larger than without
    (0.063)."""
    slab = trimesh.creation.box((1.0, 1.0, 0.05)).apply_translation((0, 0, -0.4))
    truth = sample_points(trimesh.util.concatenate([chair, slab]), NUM_POINTS, seed=1)
    scores = score_surface(colored(chair), truth)
    assert scores.chamfer < 0.0605
