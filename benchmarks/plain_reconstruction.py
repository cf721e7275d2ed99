# SPDX-License-Identifier: GPL-3.0-or-later
"""The reconstruction as its formulas read: the baseline that the package's is measured against.

The same weights and the same dense U-Net (the original's sparse library is another factor that is
not counted here), but: all views at many voxels at once, the signed distance at every node of the
grid, the colour network on inputs joined before its first layer, thousands of vertices at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from one2345_blender.contracts.mesh import ColoredMesh
from one2345_blender.pipeline.meshing import GRADIENT_EPS, zero_level_set
from one2345_blender.pipeline.reconstruction.color_network import ColorNetwork
from one2345_blender.pipeline.reconstruction.feature_net import FUSED_CHANNELS
from one2345_blender.pipeline.reconstruction.frame import VolumeFrame
from one2345_blender.pipeline.reconstruction.geometry_volume import GeometryVolume
from one2345_blender.pipeline.reconstruction.reconstructor import SparseNeuSReconstructor

VOXELS_AT_ONCE = 2**17
"""The original takes all 885 thousand, more memory than a test machine has to spare."""
NODES_AT_ONCE = 64**3
VERTICES_AT_ONCE = 2**14


class JoinedColorNetwork(ColorNetwork):
    """Its first layer sees, for every view, what all views share as well."""

    def _base(self, shared: Tensor, features: Tensor) -> Tensor:
        repeated = shared.expand(len(features), *shared.shape)
        return self.base_fc(torch.cat([repeated, features], dim=-1))


@torch.no_grad()
def plain_mesh(
    reconstructor: SparseNeuSReconstructor,
    rgb: Tensor,
    frame: VolumeFrame,
    resolution: int,
    on_stage: Callable[[str], Any],
) -> ColoredMesh:
    """Images (V,3,S,S) -> the mesh that `extract_mesh` makes; `on_stage` hears each stage begin."""
    on_stage("features")
    fused = reconstructor.feature_net(rgb).fused()
    on_stage("cost_volume")
    features, active = _cost_volume(reconstructor, fused, frame)
    volume = GeometryVolume(
        features=reconstructor.unet3d(features, active),
        valid=active,
        frame=frame,
        view_features=torch.cat([rgb, fused], dim=1),
    )
    on_stage("sdf")
    axis = torch.linspace(-1, 1, resolution)
    nodes = torch.cartesian_prod(axis, axis, axis)
    sdf = torch.cat([reconstructor.sdf(volume, chunk) for chunk in nodes.split(NODES_AT_ONCE)])
    sdf = sdf.view(resolution, resolution, resolution) - reconstructor.config["iso_level"]
    on_stage("meshing")
    vertices, faces = zero_level_set(sdf.numpy())
    points = torch.from_numpy(vertices)
    rgba = torch.full((len(points), 4), 255, dtype=torch.uint8)
    rgba[:, :3] = (_colors(reconstructor, volume, points).clamp(0, 1) * 255).to(torch.uint8)
    return ColoredMesh(
        vertices=frame.to_world(points).numpy(), faces=faces, vertex_colors=rgba.numpy()
    )


def _cost_volume(
    reconstructor: SparseNeuSReconstructor, fused: Tensor, frame: VolumeFrame
) -> tuple[Tensor, Tensor]:
    """Variance and mean (2C,X,Y,Z) at the active voxels (X,Y,Z), found in a pass of their own."""
    builder = reconstructor.cost_volume
    compressed = builder.compress(fused)
    size = builder.volume_size
    centres = builder.voxel_centres(fused.device)
    chunks = centres.split(VOXELS_AT_ONCE)
    count = torch.cat([_image_grid(frame, chunk, fused.shape[-1])[1].sum(0) for chunk in chunks])
    active = count >= builder.min_views
    features = torch.zeros(2 * compressed.shape[1], len(centres))
    for index in active.nonzero()[:, 0].split(VOXELS_AT_ONCE):
        grid, _ = _image_grid(frame, centres[index], fused.shape[-1])
        samples = F.grid_sample(compressed, grid[:, None], align_corners=True)[:, :, 0]
        num_views = count[index] + 1e-5
        mean = samples.sum(0) / num_views
        variance = samples.square().sum(0) / num_views - mean.square()
        features[:, index] = torch.cat([variance, mean])
    return features.view(-1, size, size, size), active.view(size, size, size)


def _image_grid(frame: VolumeFrame, points: Tensor, size_px: int) -> tuple[Tensor, Tensor]:
    """Normalised image coordinates (V,P,2) and whether the views see the points (V,P)."""
    uv, depth = frame.project(points)
    depth = torch.where(depth >= 0, depth.clamp_min(1e-6), depth)
    grid = 2 * uv / depth[..., None] / (size_px - 1) - 1
    return grid, (grid.abs() <= 1).all(-1) & (depth > 0)


def _colors(
    reconstructor: SparseNeuSReconstructor, volume: GeometryVolume, points: Tensor
) -> Tensor:
    """sRGB (N,3) at surface points (N,3)."""
    joined = JoinedColorNetwork(len(volume.features), FUSED_CHANNELS)
    joined.load_state_dict(reconstructor.color_network.state_dict())
    reconstructor.color_network = joined
    colors = []
    for chunk in points.split(VERTICES_AT_ONCE):
        _, gradient = reconstructor.sdf_and_gradient(volume, chunk)
        normals = F.normalize(gradient.detach(), dim=-1, eps=GRADIENT_EPS)
        colors.append(reconstructor.color(volume, chunk, normals))
    return torch.cat(colors)
