# SPDX-License-Identifier: GPL-3.0-or-later
"""A first guess as a signed distance, and how the reconstruction trusts it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from one2345_blender.contracts.cameras import Viewpoint, c2w_from_viewpoints, method_intrinsics
from one2345_blender.pipeline.lifting.radiance import VOLUME_HALF_SIDE, RadianceGrid, density
from one2345_blender.pipeline.reconstruction.frame import (
    VolumeFrame,
    frusta_bounds,
    sphere_bounds,
    volume_frame,
)
from one2345_blender.pipeline.reconstruction.guess_distance import (
    NUM_NODES,
    TRUNCATION,
    guess_distance,
)
from one2345_blender.pipeline.reconstruction.reconstructor import SparseNeuSReconstructor

CENTRE = torch.tensor([0.1, -0.05, 0.15])
RADIUS = 0.25
K = torch.from_numpy(method_intrinsics(32))
C2W = torch.from_numpy(
    c2w_from_viewpoints(
        [Viewpoint(name="", azimuth_deg=a, elevation_deg=25.0) for a in (40.0, 160.0, 280.0)]
    )
)


def ball() -> RadianceGrid:
    """A grey ball beside the world's origin."""
    axis = torch.linspace(-VOLUME_HALF_SIDE, VOLUME_HALF_SIDE, 64)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    odds = 60.0 * (RADIUS - (points - CENTRE).norm(dim=-1))
    return RadianceGrid(density=density(odds, points), rgb=torch.full((3, 64, 64, 64), 0.5))


def frame(bounds: str) -> VolumeFrame:
    if bounds == "sphere":
        return volume_frame(C2W, K, C2W[0], *sphere_bounds(C2W[0], VOLUME_HALF_SIDE))
    return volume_frame(C2W, K, C2W[0], *frusta_bounds(C2W, K, C2W[0], (0.5, 1.8), 1.1))


@pytest.mark.parametrize("bounds", ["sphere", "frusta"])
def test_distance_to_a_ball(bounds: str) -> None:
    """Wherever the cube stands and however large it is, beyond the guess's grid too."""
    place = frame(bounds)
    found = place.radius * guess_distance(ball(), place)
    axis = torch.linspace(-1, 1, NUM_NODES)
    world = place.to_world(torch.cartesian_prod(axis, axis, axis))
    distance = ((world - CENTRE).norm(dim=1) - RADIUS).clamp(-TRUNCATION, TRUNCATION)
    node = 2 * place.radius / (NUM_NODES - 1)
    assert (found.flatten() - distance).abs().max() < 1.6 * node


def test_nothing_is_far_away() -> None:
    nothing = replace(ball(), density=torch.zeros(64, 64, 64))
    place = frame("sphere")
    torch.testing.assert_close(
        guess_distance(nothing, place), torch.full((NUM_NODES,) * 3, TRUNCATION / place.radius)
    )


@pytest.mark.parametrize(("trust", "guess_share"), [(-30.0, 0.0), (0.0, 0.5), (30.0, 1.0)])
def test_guess_counts_as_far_as_it_is_trusted(trust: float, guess_share: float) -> None:
    torch.manual_seed(0)
    network = SparseNeuSReconstructor(
        image_size_px=32, volume_size=16, voxel_size=None, volume_bounds="sphere", takes_guess=True
    ).eval()
    last = network.sdf_network.lin2
    with torch.no_grad():
        last.weight_v[1] = 1e-6 * torch.randn_like(last.weight_v[1])
        last.weight_g[1] = 1e-6
        last.bias[1] = trust
        volume = network.encode(torch.rand(3, 3, 32, 32), C2W, K, C2W[0], guess=ball())
        points = torch.rand(200, 3) * 1.6 - 0.8
        guessed = volume.guessed_at(points)
        own = network.sdf(replace(volume, guess_distance=None), points)
        mixed = network.sdf(volume, points)
    assert guessed is not None
    torch.testing.assert_close(mixed, torch.lerp(own, guessed, guess_share), atol=1e-4, rtol=0.0)


def test_trust_is_learnt() -> None:
    torch.manual_seed(0)
    network = SparseNeuSReconstructor(
        image_size_px=32, volume_size=16, voxel_size=None, volume_bounds="sphere", takes_guess=True
    )
    volume = network.encode(torch.rand(3, 3, 32, 32), C2W, K, C2W[0], guess=ball())
    points = torch.rand(200, 3) * 1.6 - 0.8
    world = volume.frame.to_world(points)
    true_distance = ((world - CENTRE).norm(dim=1) - RADIUS).clamp(-TRUNCATION, TRUNCATION)
    error = (network.sdf(volume, points) - true_distance / volume.frame.radius).abs().mean()
    error.backward()
    gradient = network.sdf_network.lin2.bias.grad
    assert gradient is not None
    assert gradient[1] < 0  # more trust, a smaller error
    assert not gradient[2:].any()
