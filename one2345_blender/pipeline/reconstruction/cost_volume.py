# SPDX-License-Identifier: GPL-3.0-or-later
"""Back-projection of the 2D features into a volume of their mean and variance over the views.

Sources: One-2-3-45, R/models/sparse_sdf_network.py:221-250 and 286-401, R/ops/back_project.py:5-86.
Voxels are gathered chunk by chunk, so that memory does not grow with voxels x views.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .frame import VolumeFrame
from .normalization import ConvNormLeaky2d

MIN_DEPTH = 1e-6
COUNT_EPS = 1e-5
CHUNK_VOXELS = 2**11
"""Voxels gathered at once; with 32 views of 16 channels they take 4 MiB, a core's cache."""
TRAINING_CHUNK_VOXELS = 2**15
"""More, where each chunk's backward pass costs a gradient as large as all features."""


@dataclass(frozen=True, kw_only=True)
class CostVolume:
    """Variance and mean of the compressed features over the views."""

    features: Tensor
    """(2C,X,Y,Z): variance (C), then mean (C); zero at inactive voxels."""
    view_count: Tensor
    """(X,Y,Z) int64: number of views that see the voxel's centre."""
    active: Tensor
    """(X,Y,Z) bool: seen by enough views."""


class CostVolumeBuilder(nn.Module):
    """Compresses the fused features of V views and gathers them at the voxel centres."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        volume_size: int,
        voxel_size: float,
        min_views: int,
        sum_over_all_views: bool,
        batch_statistics_at_inference: bool,
        abs_gamma: bool,
    ) -> None:
        super().__init__()
        self.compress = ConvNormLeaky2d(
            in_channels,
            out_channels,
            batch_statistics_at_inference=batch_statistics_at_inference,
            abs_gamma=abs_gamma,
        )
        self.volume_size = volume_size
        self.voxel_size = voxel_size
        self.min_views = min_views
        self.sum_over_all_views = sum_over_all_views

    def voxel_centres(self, device: torch.device) -> Tensor:
        """(X*Y*Z,3) volume coordinates, z fastest."""
        axis = torch.arange(self.volume_size, device=device, dtype=torch.float32)
        grid = torch.cartesian_prod(axis, axis, axis)
        return grid * self.voxel_size - 1

    def forward(self, fused: Tensor, frame: VolumeFrame) -> CostVolume:
        """`fused` (V,C,H,W) -> `CostVolume`."""
        # samples read all channels of a pixel: they are fastest side by side
        compressed = self.compress(fused).contiguous(memory_format=torch.channels_last)
        chunk_voxels = TRAINING_CHUNK_VOXELS if torch.is_grad_enabled() else CHUNK_VOXELS
        chunks = self.voxel_centres(fused.device).split(chunk_voxels)
        shape = (self.volume_size,) * 3
        if torch.is_grad_enabled():
            parts = [self._gather(compressed, frame, chunk) for chunk in chunks]
            features = torch.cat([variance_mean for variance_mean, _ in parts], dim=1)
            view_count = torch.cat([count for _, count in parts]).view(shape)
        else:
            # parts that stay between samples that go leave holes of a gigabyte in the heap
            num_voxels = self.volume_size**3
            features = compressed.new_empty(2 * compressed.shape[1], num_voxels)
            view_count = torch.empty(num_voxels, dtype=torch.int64, device=fused.device)
            targets = zip(
                chunks,
                features.split(chunk_voxels, dim=1),
                view_count.split(chunk_voxels),
                strict=True,
            )
            for chunk, variance_mean, count in targets:
                gathered = self._gather(compressed, frame, chunk)
                variance_mean.copy_(gathered[0])
                count.copy_(gathered[1])
            view_count = view_count.view(shape)
        active = view_count >= self.min_views
        return CostVolume(
            features=features.view(-1, *shape) * active, view_count=view_count, active=active
        )

    def _gather(
        self, compressed: Tensor, frame: VolumeFrame, points: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Variance and mean (2C,P) and view count (P,) at `points` (P,3)."""
        grid, visible = _image_grid(frame, points, size_px=compressed.shape[-1])
        samples = F.grid_sample(
            compressed, grid[:, None], mode="bilinear", padding_mode="zeros", align_corners=True
        )[:, :, 0]  # (V,C,P)
        if not self.sum_over_all_views:
            samples = samples * visible[:, None]
        count = visible.sum(0)
        mean = samples.sum(0) / (count + COUNT_EPS)
        variance = samples.square().sum(0) / (count + COUNT_EPS) - mean.square()
        return torch.cat([variance, mean]), count


def _image_grid(frame: VolumeFrame, points: Tensor, size_px: int) -> tuple[Tensor, Tensor]:
    """Normalised image coordinates (V,P,2) and visibility (V,P) of `points`.

    Points behind a camera keep the mirrored position that the division gives them.
    """
    uv, depth = frame.project(points)
    depth = torch.where(depth >= 0, depth.clamp_min(MIN_DEPTH), depth)
    grid = 2 * uv / depth[..., None] / (size_px - 1) - 1
    visible = (grid.abs() <= 1).all(-1) & (depth > 0)
    return grid, visible
