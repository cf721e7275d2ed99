# SPDX-License-Identifier: GPL-3.0-or-later
"""The elevation estimate: on exact, noisy and wrong matches, and on pictures."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from one2345_blender.contracts.cameras import (
    Viewpoint,
    c2w_from_viewpoints,
    method_intrinsics,
    px_from_world,
)
from one2345_blender.contracts.progress import ignore_events
from one2345_blender.pipeline.elevation import (
    PRIOR_ELEVATION_DEG,
    Matches,
    estimate_elevation,
)
from one2345_blender.pipeline.matching import match_views
from one2345_blender.pipeline.view_schedule import near_viewpoints

GOLDEN = Path(__file__).parents[1] / "golden" / "original_elevation_matches.npz"


def near_cameras(elevation_deg):
    view = Viewpoint(name="0", azimuth_deg=0.0, elevation_deg=elevation_deg)
    return c2w_from_viewpoints(near_viewpoints(view))


def synthetic_matches(elevation_deg, *, size_px=256, noise_px=0.0, outliers=0.0, seed=0):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(150, 3))
    points *= 0.35 / np.linalg.norm(points, axis=1, keepdims=True)
    K = method_intrinsics(size_px)
    px = [px_from_world(points, c2w, K)[0] for c2w in near_cameras(elevation_deg)]
    matches = {}
    for i, j in combinations(range(4), 2):
        px_j = px[j] + rng.normal(scale=noise_px, size=px[j].shape)
        wrong = rng.random(len(px_j)) < outliers
        px_j[wrong] = rng.uniform(0, size_px, size=(wrong.sum(), 2))
        matches[i, j] = Matches(px_i=px[i], px_j=px_j, confidence=np.ones(len(px_j)))
    return matches


@pytest.mark.parametrize("polar_deg", [45, 60, 88, 100])
def test_the_originals_matches_give_the_truth_where_its_mean_was_led_astray(polar_deg):
    golden = np.load(GOLDEN)
    truth_deg, originals_answer_deg = golden[f"e{polar_deg}_true_result"]
    matches = {}
    for i, j in combinations(range(4), 2):
        x_i, y_i, x_j, y_j, confidence = golden[f"e{polar_deg}_match_{i}_{j}"].T
        matches[i, j] = Matches(
            px_i=np.stack([x_i, y_i], 1), px_j=np.stack([x_j, y_j], 1), confidence=confidence
        )
    estimate = estimate_elevation(matches, 256)
    ours_off_deg = abs(90 - estimate.elevation_deg - truth_deg)
    assert estimate.is_estimated
    assert ours_off_deg <= 1 and ours_off_deg <= abs(originals_answer_deg - truth_deg)


@pytest.mark.parametrize("elevation_deg", [-30, 0, 20, 55])
@pytest.mark.parametrize("size_px", [128, 256])
def test_exact_matches_give_the_exact_elevation(elevation_deg, size_px):
    estimate = estimate_elevation(synthetic_matches(elevation_deg, size_px=size_px), size_px)
    assert estimate.elevation_deg == elevation_deg and estimate.confidence > 0.8


@pytest.mark.parametrize("elevation_deg", [-20, 10, 40])
def test_noise_and_a_quarter_of_wrong_matches_move_it_little(elevation_deg):
    matches = synthetic_matches(elevation_deg, noise_px=0.7, outliers=0.25)
    estimate = estimate_elevation(matches, 256)
    assert estimate.elevation_deg == pytest.approx(elevation_deg, abs=4)


def test_confidence_falls_as_matches_get_worse():
    clean, noisy, wild = (
        estimate_elevation(synthetic_matches(25, noise_px=n, outliers=o), 256).confidence
        for n, o in ((0, 0), (0.7, 0.1), (0.7, 0.5))
    )
    assert clean > noisy > wild


def test_without_matches_the_prior_stands_in_and_says_so():
    none = np.zeros((0, 2))
    empty = Matches(px_i=none, px_j=none, confidence=np.zeros(0))
    estimate = estimate_elevation({pair: empty for pair in combinations(range(4), 2)}, 256)
    assert not estimate.is_estimated and estimate.confidence == 0
    assert estimate.elevation_deg == PRIOR_ELEVATION_DEG


def test_an_estimate_below_the_asked_confidence_is_not_believed():
    matches = synthetic_matches(30, noise_px=0.7, outliers=0.5)
    believed = estimate_elevation(matches, 256)
    assert believed.is_estimated
    doubted = estimate_elevation(matches, 256, min_confidence=believed.confidence + 0.01)
    assert not doubted.is_estimated and doubted.elevation_deg == PRIOR_ELEVATION_DEG


def test_matches_of_noise_are_not_believed():
    rng = np.random.default_rng(5)
    matches = {
        pair: Matches(
            px_i=rng.uniform(60, 190, (60, 2)),
            px_j=rng.uniform(60, 190, (60, 2)),
            confidence=np.ones(60),
        )
        for pair in combinations(range(4), 2)
    }
    assert estimate_elevation(matches, 256).confidence < 0.1


def picture_of_a_marbled_ellipsoid(c2w, size_px):
    """Ray-cast: no renderer between the test and the truth."""
    K = method_intrinsics(size_px)
    rows, columns = np.mgrid[:size_px, :size_px]
    rays = np.stack([columns, rows, np.ones_like(rows)], -1) @ np.linalg.inv(K).T
    directions = rays @ c2w[:3, :3].T
    radii = np.array([0.4, 0.3, 0.35])
    d, o = directions / radii, c2w[:3, 3] / radii
    a, b, c = (d * d).sum(-1), d @ o, o @ o - 1
    discriminant = b * b - a * c
    hit = discriminant > 0
    depth = (-b - np.sqrt(np.where(hit, discriminant, 0))) / a
    point = c2w[:3, 3] + depth[..., None] * directions
    waves = np.stack([np.sin(point @ f) for f in np.random.default_rng(1).normal(0, 16, (9, 3))])
    color = 0.5 + 0.4 * np.tanh(waves.reshape(3, 3, size_px, size_px).sum(1).transpose(1, 2, 0))
    return np.where(hit[..., None], color * 255, 255).astype(np.uint8)


@pytest.mark.parametrize("elevation_deg", [5, 35])
def test_from_pictures_of_a_textured_object(elevation_deg):
    rgb = np.stack(
        [picture_of_a_marbled_ellipsoid(c2w, 128) for c2w in near_cameras(elevation_deg)]
    )
    estimate = estimate_elevation(match_views(rgb, ignore_events), 128)
    assert estimate.is_estimated and estimate.num_matches > 500
    assert estimate.elevation_deg == pytest.approx(elevation_deg, abs=4)


def test_white_pictures_match_nowhere():
    white = np.full((4, 64, 64, 3), 255, dtype=np.uint8)
    assert all(len(m.confidence) == 0 for m in match_views(white, ignore_events).values())
