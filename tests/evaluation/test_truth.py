# SPDX-License-Identifier: GPL-3.0-or-later
"""The truth behind stored renders: where its surface is, what of it can be seen."""

from dataclasses import replace

import numpy as np
import pytest
from trimesh.transformations import transform_points

from one2345_blender.contracts.cameras import c2w_from_viewpoints, method_intrinsics, px_from_world
from one2345_blender.evaluation.surface_scores import NUM_POINTS
from one2345_blender.evaluation.truth import TruthError, read_truth
from one2345_blender.pipeline.view_schedule import method_viewpoints
from one2345_blender.training.asset_readers.textured_model import TexturedModel, transform_model
from one2345_blender.training.renders import load_rigs, object_seed_text, survey_viewpoints

SIZE_PX = 64


@pytest.fixture(scope="module")
def rigs(crate_set):
    return load_rigs(crate_set.folder / "renders" / f"{crate_set.asset_id}.npz")


def truth_of(model, rigs, crate_set):
    return read_truth(
        crate_set.asset_id,
        model,
        rigs,
        seed_text=object_seed_text(crate_set.asset_id),
        size_px=SIZE_PX,
    )


@pytest.fixture(scope="module")
def truth(crate_set, rigs):
    return truth_of(crate_set.model, rigs, crate_set)


def in_box(truth):
    """The truth's points in the frame where its box is the cube [-1, 1]^3."""
    return transform_points(truth.points, np.linalg.inv(truth.world_from_box))


def test_points_lie_on_all_six_sides_of_the_box(truth):
    points = in_box(truth)
    assert points.shape == (NUM_POINTS, 3) and truth.is_watertight
    assert truth.seen_share > 0.99
    np.testing.assert_allclose(np.abs(points).max(1), 1.0, atol=1e-3)
    side = np.argmax(np.abs(points), axis=1) * 2 + (points.max(1) > 0.999)
    assert set(side) == set(range(6))


def test_points_fall_on_the_object_in_the_input_view(truth):
    (c2w,) = c2w_from_viewpoints(method_viewpoints(truth.elevation_deg)[:1])
    px, _ = px_from_world(truth.points, c2w, method_intrinsics(SIZE_PX))
    column, row = np.rint(px).astype(int).T
    assert (truth.mask[row, column] > 0).mean() > 0.98
    assert truth.rgb.shape == (40, SIZE_PX, SIZE_PX, 3)
    assert truth.novel_rgb.shape == (24, SIZE_PX, SIZE_PX, 3)


def test_what_is_hidden_inside_is_no_part_of_the_truth(truth, crate_set, rigs):
    inner = transform_model(crate_set.model, 0.5 * np.eye(3))
    offset = crate_set.model.points.mean(0) - inner.points.mean(0)
    moved = tuple(replace(part, positions=part.positions + offset) for part in inner.parts)
    nested = TexturedModel(parts=crate_set.model.parts + moved)
    found = truth_of(nested, rigs, crate_set)
    np.testing.assert_allclose(np.abs(in_box(found)).max(1), 1.0, atol=1e-3)
    assert found.seen_share == pytest.approx(0.8, abs=0.02)


def test_a_render_of_something_else_is_refused(crate_set, rigs):
    stretched = transform_model(crate_set.model, np.diag([1.0, 1.0, 2.0]))
    with pytest.raises(TruthError, match="outlines agree"):
        truth_of(stretched, rigs, crate_set)


def test_survey_cameras_are_spread_over_the_sphere():
    centres = c2w_from_viewpoints(survey_viewpoints(64))[:, :3, 3]
    directions = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    cosines = directions @ directions.T - 2 * np.eye(64)
    nearest_deg = np.degrees(np.arccos(cosines.max(1)))
    assert nearest_deg.min() > 15 and nearest_deg.max() < 30
    np.testing.assert_allclose(directions.mean(0), 0.0, atol=0.01)
