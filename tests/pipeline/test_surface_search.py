# SPDX-License-Identifier: GPL-3.0-or-later
"""The signed distance on the mesh's grid: fast and searched, yet that of every single point."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from one2345_blender.contracts.progress import StepDone
from one2345_blender.pipeline.meshing import zero_level_set
from one2345_blender.pipeline.reconstruction.frame import VolumeFrame, volume_frame
from one2345_blender.pipeline.reconstruction.geometry_volume import GeometryVolume
from one2345_blender.pipeline.reconstruction.reconstructor import SparseNeuSReconstructor
from one2345_blender.pipeline.surface_search import sdf_grid, searched_sdf_grid

VOLUME_SIZE = 16


@pytest.fixture(scope="module")
def frame() -> VolumeFrame:
    pose = torch.eye(4)[None]
    return volume_frame(pose, torch.eye(3), pose[0], torch.zeros(3, dtype=torch.float64), 1.0)


def make_reconstructor(**switches: object) -> SparseNeuSReconstructor:
    torch.manual_seed(0)
    return SparseNeuSReconstructor(volume_size=VOLUME_SIZE, voxel_size=None, **switches)


def make_volume(frame: VolumeFrame, roughness: float) -> GeometryVolume:
    """Random latents; the rougher, the more the untrained network's sphere breaks up."""
    generator = torch.Generator().manual_seed(1)
    shape = (VOLUME_SIZE,) * 3
    return GeometryVolume(
        features=torch.randn((16, *shape), generator=generator) * roughness,
        valid=torch.ones(shape, dtype=torch.bool),
        frame=frame,
        view_features=torch.zeros(1, 59, 4, 4),
    )


def listen_to_latents(reconstructor: SparseNeuSReconstructor) -> None:
    """An untrained network ignores its latents: give them weight."""
    network = reconstructor.sdf_network
    for layer in (network.lin1, network.lin2):
        weight = layer.weight().detach().clone()
        weight[:, network.lin0.bias.numel() :] = torch.randn(weight[:, :16].shape) * 0.1
        layer.weight_v.data.copy_(weight)
        layer.weight_g.data.copy_(weight.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("strict_bounds", [True, False])
def test_grid_has_the_distance_of_every_point(frame: VolumeFrame, strict_bounds: bool) -> None:
    reconstructor = make_reconstructor(strict_latent_bounds=strict_bounds, iso_level=0.125)
    listen_to_latents(reconstructor)
    volume = make_volume(frame, 1.0)
    axis = torch.linspace(-1, 1, 20)
    points = torch.cartesian_prod(axis, axis, axis)
    with torch.no_grad():
        expected = reconstructor.sdf(volume, points).view(20, 20, 20) - 0.125
    assert torch.allclose(sdf_grid(reconstructor, volume, 20), expected, atol=1e-5)


def surfaces_agree(searched: Tensor, full: Tensor) -> bool:
    pairs = zip(zero_level_set(searched.numpy()), zero_level_set(full.numpy()), strict=True)
    return all(
        ours.shape == theirs.shape and np.allclose(ours, theirs, atol=1e-4)
        for ours, theirs in pairs
    )


@pytest.mark.parametrize("stride", [2, 3, 4, 7])
@pytest.mark.parametrize("resolution", [25, 30])
def test_searched_surface_is_the_surface_of_the_full_grid(
    frame: VolumeFrame, stride: int, resolution: int
) -> None:
    reconstructor, volume = make_reconstructor(), make_volume(frame, 0.0)
    full = sdf_grid(reconstructor, volume, resolution)
    assert surfaces_agree(searched_sdf_grid(reconstructor, volume, resolution, stride), full)


@pytest.mark.parametrize("roughness", [0.1, 0.3])
def test_crumbs_of_a_rough_field_are_found(frame: VolumeFrame, roughness: float) -> None:
    """Slopes many times those of a distance, and parts that lie between the first nodes."""
    reconstructor, volume = make_reconstructor(), make_volume(frame, roughness)
    listen_to_latents(reconstructor)
    full = sdf_grid(reconstructor, volume, 48)
    assert trimesh.Trimesh(*zero_level_set(full.numpy()), process=False).body_count > 1
    assert surfaces_agree(searched_sdf_grid(reconstructor, volume, 48, 4), full)


def test_far_from_the_surface_nothing_is_evaluated(frame: VolumeFrame) -> None:
    reconstructor, volume = make_reconstructor(), make_volume(frame, 0.0)
    evaluated = []

    def listen(event: object) -> None:
        if isinstance(event, StepDone) and event.step == event.steps:
            evaluated.append(event.steps)

    searched_sdf_grid(reconstructor, volume, 96, 4, listen)
    assert 0 < evaluated[-1] < 96**3 / 3
