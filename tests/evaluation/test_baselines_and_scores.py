# SPDX-License-Identifier: GPL-3.0-or-later
"""Baselines made from the truth, and what all scores say of them and of nothing at all."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from trimesh import Trimesh

from one2345_blender.contracts.errors import EmptySurfaceError
from one2345_blender.evaluation.attempts import (
    guessed_surface,
    outline_hull,
    true_box,
    true_ellipsoid,
)
from one2345_blender.evaluation.mesh_renderer import MeshRenderer
from one2345_blender.evaluation.mesh_scores import (
    MeshScores,
    score_attempt,
    score_repeated_input,
)
from one2345_blender.evaluation.score_table import COLUMNS, markdown_table, summarise
from one2345_blender.evaluation.truth import read_truth
from one2345_blender.pipeline.lifting.guessed_surface import SURFACE_LOGIT
from one2345_blender.pipeline.lifting.radiance import VOLUME_HALF_SIDE, RadianceGrid, density
from one2345_blender.training.picture_scores import psnr_db, silhouette_iou, ssim
from one2345_blender.training.renders import load_rigs, object_seed_text

SIZE_PX = 64


@pytest.fixture(scope="module")
def truth(crate_set):
    rigs = load_rigs(crate_set.folder / "renders" / f"{crate_set.asset_id}.npz")
    seed_text = object_seed_text(crate_set.asset_id)
    return read_truth(
        crate_set.asset_id, crate_set.model, rigs, seed_text=seed_text, size_px=SIZE_PX
    )


@pytest.fixture(scope="module")
def scores(truth):
    with MeshRenderer(SIZE_PX) as renderer:
        return {
            method.__name__: score_attempt(method(truth), truth, renderer)
            for method in (true_box, true_ellipsoid, outline_hull)
        }


def test_the_true_box_of_a_box_is_the_truth(scores):
    box = scores["true_box"]
    assert box.f_05 > 0.999 and box.f_05_in_place > 0.999
    assert box.volume_iou > 0.97 and box.silhouette_iou > 0.95
    assert box.elevation_error_deg is None and box.seconds is None


def test_the_ellipsoid_of_a_box_is_smaller(scores):
    """Its volume is pi / 6 of the box's."""
    ellipsoid = scores["true_ellipsoid"]
    assert ellipsoid.f_05 < ellipsoid.f_10 < 0.95
    assert 0.4 < ellipsoid.volume_iou < 0.8
    assert ellipsoid.silhouette_iou < scores["true_box"].silhouette_iou


def test_the_hull_looks_like_the_input_from_the_inputs_side(scores):
    hull = scores["outline_hull"]
    assert hull.silhouette_iou > 0.95 and hull.input_ssim > scores["true_box"].input_ssim
    assert hull.input_psnr_db > scores["true_box"].input_psnr_db + 3
    assert hull.novel_psnr_db < hull.input_psnr_db


def test_a_lifted_ball_has_its_surface():
    axis = torch.linspace(-VOLUME_HALF_SIDE, VOLUME_HALF_SIDE, 64)
    points = torch.cartesian_prod(axis, axis, axis)
    red = torch.tensor([0.8, 0.1, 0.2])[:, None, None, None].expand(3, 64, 64, 64)
    centre = torch.tensor([0.1, -0.2, 0.05])
    logit = 8.0 * (0.3 - (points - centre).norm(dim=-1)) + SURFACE_LOGIT
    ball = RadianceGrid(density=density(logit, points).view(64, 64, 64), rgb=red)
    mesh = guessed_surface(ball)
    radii = np.linalg.norm(mesh.vertices - centre.numpy(), axis=1)
    np.testing.assert_allclose(radii, 0.3, atol=0.002)
    solid = Trimesh(mesh.vertices, mesh.faces)
    assert solid.is_watertight and solid.volume > 0
    colors = mesh.vertex_colors.astype(int)
    np.testing.assert_allclose(colors, np.tile([204, 25, 51, 255], (len(colors), 1)), atol=1)
    with pytest.raises(EmptySurfaceError):
        guessed_surface(replace(ball, density=torch.zeros_like(ball.density)))


def test_no_mesh_scores_nothing(truth):
    with MeshRenderer(SIZE_PX) as renderer:
        nothing = score_attempt(replace(true_box(truth), mesh=None), truth, renderer)
    assert nothing.chamfer is None
    assert nothing.f_05 == nothing.f_10 == nothing.volume_iou == nothing.silhouette_iou == 0.0
    assert nothing.novel_psnr_db < score_repeated_input(truth).novel_psnr_db


def test_pictures_are_compared_by_known_amounts():
    grey = np.full((32, 32, 3), 100, np.uint8)
    assert psnr_db(grey, grey) == pytest.approx(60.0) and ssim(grey, grey) == pytest.approx(1.0)
    assert psnr_db(grey, grey + np.uint8(51)) == pytest.approx(20 * np.log10(5))
    left, top = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    left[:, :2] = top[:2] = True
    assert silhouette_iou(left, top) == pytest.approx(4 / 12)
    assert silhouette_iou(left & False, top & False) == 1.0
    outlines = silhouette_iou(np.array([left, left]), np.array([top, left]))
    np.testing.assert_allclose(outlines, [4 / 12, 1.0])


def test_means_leave_out_what_does_not_apply():
    rows = [
        MeshScores(chamfer=0.1, f_05=0.8, volume_iou=0.6, elevation_error_deg=4.0),
        MeshScores(f_05=0.0, elevation_error_deg=30.0),
    ]
    summary = summarise(rows)
    assert summary["f_05"] == pytest.approx(0.4) and summary["chamfer"] == pytest.approx(0.1)
    assert (summary["objects"], summary["without_mesh"], summary["watertight"]) == (2, 1, 1)
    assert summary["elevation_within_10_deg"] == 0.5
    assert summary["elevation_median_error_deg"] == 17.0 and summary["seconds"] is None
    header, _, row = markdown_table({"ours": summary}).splitlines()
    assert header.count("|") == row.count("|") == len(COLUMNS) + 3
    assert row.startswith("| ours | 0.100 | 0.400 | - |")
