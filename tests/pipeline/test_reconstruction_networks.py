# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties of the reconstruction's parts: frame, cost volume, U-Net, distance and colour."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from one2345_blender.contracts.cameras import (
    Viewpoint,
    c2w_from_viewpoints,
    method_intrinsics,
    px_from_world,
)
from one2345_blender.contracts.errors import OptionError, PosedImagesError
from one2345_blender.pipeline.lifting.radiance import MAX_DENSITY, RadianceGrid
from one2345_blender.pipeline.reconstruction.color_network import ColorNetwork
from one2345_blender.pipeline.reconstruction.cost_volume import CostVolumeBuilder
from one2345_blender.pipeline.reconstruction.frame import (
    frusta_bounds,
    sphere_bounds,
    volume_frame,
)
from one2345_blender.pipeline.reconstruction.normalization import ObjectNorm
from one2345_blender.pipeline.reconstruction.reconstructor import SparseNeuSReconstructor
from one2345_blender.pipeline.reconstruction.sdf_network import SdfNetwork, sample_latents
from one2345_blender.pipeline.reconstruction.unet3d import UNet3d
from one2345_blender.pipeline.view_schedule import method_viewpoints

K = torch.from_numpy(method_intrinsics(32))


def cameras(*azimuths_deg: float) -> torch.Tensor:
    views = [Viewpoint(name="v", azimuth_deg=a, elevation_deg=15.0) for a in azimuths_deg]
    return torch.from_numpy(c2w_from_viewpoints(views))


def around_object(c2w: torch.Tensor):
    centre, radius = sphere_bounds(c2w[0], 0.62)
    return volume_frame(c2w, K, c2w[0], centre, radius)


def test_frusta_cube_of_the_method() -> None:
    c2w = torch.from_numpy(c2w_from_viewpoints(method_viewpoints(30.0)))
    intrinsics = torch.from_numpy(method_intrinsics(256))
    centre, radius = frusta_bounds(c2w[8:], intrinsics, c2w[0], (0.5, 1.8), 1.1)
    # specification section 5, polar angle 60
    assert radius == pytest.approx(1.42046, abs=1e-5)
    assert centre.numpy() == pytest.approx([0, 0.0156, 1.2], abs=1e-4)


def test_volume_projection_is_the_world_projection() -> None:
    c2w = cameras(0, 50, 190)
    frame = around_object(c2w)
    world = torch.rand(20, 3) - 0.5
    uv, depth = frame.project(frame.to_volume(world))
    for view in range(3):
        px, z = px_from_world(world.numpy(), c2w[view].numpy(), K.numpy())
        assert (uv[view] / depth[view][:, None]).numpy() == pytest.approx(px, abs=1e-3)
        assert (depth[view] * frame.radius).numpy() == pytest.approx(z, abs=1e-5)


def test_world_and_volume_are_inverse() -> None:
    frame = around_object(cameras(30, 120))
    points = torch.rand(20, 3) * 2 - 1
    assert torch.allclose(frame.to_volume(frame.to_world(points)), points, atol=1e-5)
    assert torch.allclose(frame.to_world(torch.zeros(1, 3)), torch.zeros(1, 3), atol=1e-6)


def cost_volume(sum_over_all_views: bool) -> CostVolumeBuilder:
    return CostVolumeBuilder(
        5,
        4,
        volume_size=6,
        voxel_size=0.4,
        min_views=2,
        sum_over_all_views=sum_over_all_views,
        batch_statistics_at_inference=True,
        abs_gamma=True,
    )


def test_voxels_need_two_views() -> None:
    c2w = cameras(0, 45, 180)
    frame = volume_frame(c2w, K, c2w[0], torch.tensor([0.0, 0.0, 1.2]).double(), 1.4)
    with torch.no_grad():
        cost = cost_volume(True)(torch.rand(3, 5, 32, 32), frame)
    assert set(cost.view_count.unique().tolist()) == {0, 1, 2, 3}
    assert torch.equal(cost.active, cost.view_count >= 2)
    assert (cost.features[:, ~cost.active] == 0).all()


def test_equal_views_have_their_mean_and_no_variance() -> None:
    frame = around_object(cameras(0, 90))
    builder = cost_volume(False)
    builder.compress = torch.nn.Identity()
    views = torch.arange(1.0, 6).view(1, 5, 1, 1).expand(2, 5, 32, 32)
    cost = builder(views, frame)
    seen_by_both = cost.view_count == 2
    variance, mean = cost.features[:, seen_by_both].split(5)
    assert mean.numpy() == pytest.approx(
        np.arange(1.0, 6)[:, None].repeat(mean.shape[1], 1), abs=1e-3
    )
    assert variance.abs().max() < 1e-3


def unet(unbounded_far_sites: bool) -> UNet3d:
    return UNet3d(
        3,
        (4, 4, 6, 8),
        unbounded_far_sites=unbounded_far_sites,
        batch_statistics_at_inference=True,
    )


@pytest.mark.parametrize("size", [16, 17])
def test_far_sites_change_the_result_of_even_sizes_only(size: int) -> None:
    torch.manual_seed(1)
    with_sites, without = unet(True), unet(False)
    without.load_state_dict(with_sites.state_dict())
    x, active = torch.rand(3, size, size, size), torch.ones(size, size, size, dtype=torch.bool)
    difference = (with_sites(x, active) - without(x, active)).abs().max()
    assert (difference > 1e-3) == (size % 2 == 0)


def test_inactive_voxels_stay_zero() -> None:
    net = unet(True)
    active = torch.rand(10, 10, 10) > 0.4
    output = net(torch.rand(3, 10, 10, 10) * active, active)
    assert (output[:, ~active] == 0).all()
    assert (output[:, active] > 0).any(1).all()


def test_running_statistics_serve_when_asked_for() -> None:
    batch = ObjectNorm(2, batch_statistics_at_inference=True, abs_gamma=False).eval()
    running = ObjectNorm(2, batch_statistics_at_inference=False, abs_gamma=False).eval()
    x = torch.randn(50, 2) * 3 + 5
    assert batch(x).mean().abs() < 1e-5
    assert torch.allclose(running(x), x, atol=1e-3)
    assert batch.num_batches_tracked == 0


def test_gamma_sign_is_dropped_as_in_inplace_abn() -> None:
    norm = ObjectNorm(1, batch_statistics_at_inference=True, abs_gamma=True)
    x = torch.randn(30, 1)
    positive = norm(x)
    with torch.no_grad():
        norm.weight.neg_()
    assert torch.equal(norm(x), positive)


def test_latents_at_the_faces_of_the_cube() -> None:
    features = torch.rand(2, 5, 5, 5) + 1
    points = torch.tensor([[-1.0, 0, 0], [1.0, 0, 0], [1.4, 0, 0], [1.6, 0, 0], [0.5, 0, 0]])
    strict = sample_latents(features, points, strict_bounds=True)
    closed = sample_latents(features, points, strict_bounds=False)
    assert (strict != 0).all(1).tolist() == [False, True, True, False, True]
    assert (closed != 0).all(1).tolist() == [True, True, False, False, True]
    assert torch.equal(strict[1], features[:, 4, 2, 2])
    assert torch.equal(strict[2], features[:, 4, 2, 2])
    assert torch.equal(strict[4], features[:, 3, 2, 2])


def test_untrained_distance_is_a_sphere() -> None:
    network = SdfNetwork(latent_channels=4, hidden_channels=128, num_frequencies=6)
    points = F.normalize(torch.randn(200, 3), dim=1) * torch.linspace(0.1, 1, 200)[:, None]
    sdf = network.sdf(points, torch.zeros(200, 4))
    assert (sdf - (points.norm(dim=1) - 0.5)).abs().max() < 0.35
    full = network(points, torch.zeros(200, 4))
    assert torch.allclose(full[:, 0], sdf, atol=1e-5)


def tiny_reconstructor(**options: object) -> SparseNeuSReconstructor:
    return SparseNeuSReconstructor(
        **{"image_size_px": 32, "volume_size": 8, "voxel_size": None, "volume_bounds": "sphere"}
        | options
    )


def test_gradient_is_the_slope_of_the_distance() -> None:
    reconstructor = tiny_reconstructor()
    c2w = cameras(0, 90, 180, 270)
    with torch.no_grad():
        volume = reconstructor.encode(torch.rand(4, 3, 32, 32), c2w, K, c2w[0])
    points = torch.rand(10, 3) - 0.5
    sdf, gradient = reconstructor.sdf_and_gradient(volume, points)
    step = 1e-3 * F.normalize(gradient, dim=1)
    slope = (reconstructor.sdf(volume, points + step) - sdf) / 1e-3
    assert slope.detach().numpy() == pytest.approx(gradient.norm(dim=1).numpy(), abs=0.02)


def test_every_weight_learns() -> None:
    reconstructor = tiny_reconstructor().train()
    for linear in (reconstructor.sdf_network.lin1, reconstructor.sdf_network.lin2):
        torch.nn.init.normal_(linear.weight_v)
    c2w = cameras(0, 90, 180, 270)
    volume = reconstructor.encode(torch.rand(4, 3, 32, 32), c2w, K, c2w[0])
    points = torch.rand(64, 3) - 0.5
    sdf, gradient = reconstructor.sdf_and_gradient(volume, points)
    colors = reconstructor.color(volume, points, F.normalize(gradient, dim=1))
    (sdf.sum() + colors.square().sum()).backward()
    idle = [n for n, p in reconstructor.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_a_guess_is_seen_where_it_is() -> None:
    """One dense corner of the guess's grid changes the features there more than far away."""
    torch.manual_seed(0)
    reconstructor = tiny_reconstructor(volume_size=16, takes_guess=True)
    c2w = cameras(0, 90, 180, 270)
    rgb = torch.rand(4, 3, 32, 32)
    density = torch.zeros(16, 16, 16)
    density[10:, 10:, 10:] = MAX_DENSITY
    guess = RadianceGrid(density=density, rgb=torch.full((3, 16, 16, 16), 0.5))
    frame = reconstructor.place_volume(c2w, K, c2w[0])
    cost = torch.zeros(32, 16, 16, 16)
    seen = reconstructor._with_guess(cost, frame, guess)[32:]
    dense = frame.to_world(reconstructor.cost_volume.voxel_centres(torch.device("cpu")))
    in_corner = ((dense > 0.35 * 0.62) & (dense < 0.62)).all(1).reshape(16, 16, 16)
    far_away = (dense < 0.0).any(1).reshape(16, 16, 16)
    assert torch.allclose(seen[0][in_corner], torch.ones(()), atol=1e-3)
    assert torch.allclose(seen[1:4][:, in_corner], torch.full((), 0.5), atol=1e-3)
    assert not seen[:4, far_away].any()
    assert (seen[4][in_corner] > 0.95).all() and (seen[4][far_away] < 0.05).all()
    with torch.no_grad():
        volumes = [reconstructor.encode(rgb, c2w, K, c2w[0], guess=g) for g in (guess, None)]
    assert not torch.equal(volumes[0].features, volumes[1].features)


def test_a_guess_is_refused_by_the_original_network() -> None:
    c2w = cameras(0, 90, 180, 270)
    guess = RadianceGrid(density=torch.zeros(4, 4, 4), rgb=torch.zeros(3, 4, 4, 4))
    with pytest.raises(OptionError, match="takes no guess"):
        tiny_reconstructor().encode(torch.rand(4, 3, 32, 32), c2w, K, c2w[0], guess=guess)


def test_colour_is_a_blend_of_the_views_that_see_the_point() -> None:
    network = ColorNetwork(geometry_channels=2, feature_channels=3)
    views = torch.rand(5, 7, 6)
    seen = torch.rand(5, 7) > 0.4
    seen[:, 0], seen[0, 1:] = False, True
    directions = torch.randn(5, 7, 4)
    colors = network(torch.rand(7, 2), views, directions, seen)
    visible = torch.where(seen[..., None], views[..., :3], torch.nan)
    for point in range(1, 7):
        shown = visible[seen[:, point], point]
        assert (colors[point] >= shown.amin(0) - 1e-5).all()
        assert (colors[point] <= shown.amax(0) + 1e-5).all()
    assert torch.allclose(colors[0], views[:, 0, :3].mean(0), atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 3, 16, 16), (3, 3, 32, 32), (1, 3, 32, 32)])
def test_wrong_images_are_refused(shape: tuple[int, ...]) -> None:
    c2w = cameras(0) if shape[0] == 1 else cameras(0, 90, 180, 270)
    with pytest.raises(PosedImagesError, match="Expected"):
        tiny_reconstructor().encode(torch.rand(shape), c2w, K, c2w[0])


def test_rounded_voxel_size_belongs_to_one_volume_size() -> None:
    with pytest.raises(OptionError, match="voxel_size"):
        SparseNeuSReconstructor(volume_size=64)
    with pytest.raises(OptionError, match="volume_bounds"):
        tiny_reconstructor(volume_bounds="cube")
