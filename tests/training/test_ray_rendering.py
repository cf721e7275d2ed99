# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendered rays of the reconstruction's training, on a ball whose distance is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from one2345_blender.training.ray_rendering import (
    IMPORTANCE_ROUNDS,
    NUM_UNIFORM,
    SAMPLES_PER_ROUND,
    central_differences,
    sampled_distances,
    section_weights,
    unit_sphere,
)
from one2345_blender.training.reconstruction_recipes import ReconstructionRecipe

RADIUS = 0.4
ORIGIN = torch.tensor([[0.0, 0.0, -2.0]]).expand(3, 3)
ASIDE = torch.tensor([0.0, 0.2, 0.6])
"""How far from the centre the rays pass: the last one misses the ball."""
DIRECTION = torch.nn.functional.normalize(
    torch.stack([torch.zeros(3), ASIDE / 2.0, torch.ones(3)], dim=1), dim=-1
)


def ball(points: Tensor) -> Tensor:
    return points.norm(dim=-1) - RADIUS


def on_rays(distance: Tensor) -> Tensor:
    return ORIGIN[:, None] + distance[..., None] * DIRECTION[:, None]


def test_rays_cross_the_volumes_sphere() -> None:
    near, far = unit_sphere(ORIGIN, DIRECTION)
    for distance in (near, far):
        ends = ORIGIN + distance[:, None] * DIRECTION
        torch.testing.assert_close(ends.norm(dim=-1), torch.ones(3))
    assert (far > near).all()
    away = torch.tensor([[0.0, 1.0, 0.0]])
    near, far = unit_sphere(ORIGIN[:1], away)
    assert (far == near).all()


def test_light_comes_from_the_surface_alone() -> None:
    distance = sampled_distances(
        lambda t: ball(on_rays(t)),
        *unit_sphere(ORIGIN, DIRECTION),
        torch.Generator().manual_seed(0),
    )
    assert distance.shape == (3, NUM_UNIFORM + SAMPLES_PER_ROUND * len(IMPORTANCE_ROUNDS))
    assert (distance[:, 1:] >= distance[:, :-1]).all()
    weight = section_weights(ball(on_rays(distance)), torch.tensor(200.0))
    covered = weight.sum(1)
    assert covered[:2].numpy() == pytest.approx(1.0, abs=0.02)
    assert float(covered[2]) < 1e-3
    middle = (distance[:, 1:] + distance[:, :-1]) / 2.0
    seen_at = (weight * middle).sum(1)[:2] / covered[:2]
    along = (ORIGIN * DIRECTION).sum(-1)[:2]
    hit = -along - (along.square() - 4.0 + RADIUS**2).sqrt()
    torch.testing.assert_close(seen_at, hit, atol=0.01, rtol=0.0)


def test_a_generator_says_where_is_looked() -> None:
    ends = unit_sphere(ORIGIN, DIRECTION)
    first, again, other = (
        sampled_distances(lambda t: ball(on_rays(t)), *ends, torch.Generator().manual_seed(seed))
        for seed in (3, 3, 4)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_most_samples_are_drawn_near_the_surface() -> None:
    distance = sampled_distances(
        lambda t: ball(on_rays(t)),
        *unit_sphere(ORIGIN, DIRECTION),
        torch.Generator().manual_seed(0),
    )
    is_near = ball(on_rays(distance))[:2].abs() < 0.1
    evenly = 0.2 / 2.0 * NUM_UNIFORM  # of the stretch near the surface, front side
    assert (is_near.sum(1) > 2.0 * evenly).all()


def test_a_blurred_surface_lets_light_through() -> None:
    distance = torch.linspace(1.0, 3.0, 200).expand(3, 200)
    sdf = ball(on_rays(distance))
    sharp, blurred = (section_weights(sdf, torch.tensor(s)) for s in (400.0, 8.0))
    entropy = [float(-(w[0] * (w[0] + 1e-9).log()).sum()) for w in (sharp, blurred)]
    assert entropy[0] < entropy[1]


def test_central_differences_are_the_gradient() -> None:
    points = torch.rand(20, 3) + 0.2
    gradient = central_differences(ball, points, 1e-2)
    torch.testing.assert_close(
        gradient, points / points.norm(dim=-1, keepdim=True), atol=1e-3, rtol=0
    )
    assert float(gradient.norm(dim=-1).mean()) == pytest.approx(1.0, abs=1e-3)
    assert math.isfinite(float(central_differences(ball, torch.zeros(1, 3), 1e-2).sum()))


def test_predicted_views_are_not_of_stage_1() -> None:
    with pytest.raises(ValueError, match="stage 2"):
        ReconstructionRecipe(source_stage=1)
