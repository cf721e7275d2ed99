# SPDX-License-Identifier: GPL-3.0-or-later
"""What the views show at points in the volume, and which of them see the points.

Source: One-2-3-45, R/models/projector.py:231-425, R/ops/back_project.py:89-129 (specification
section 13). There is no occlusion test: the colour network weighs the views.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .geometry_volume import GeometryVolume
from .sdf_network import trilinear

MIN_DEPTH = 1e-3
OUTSIDE_IMAGE = 2.0
"""Normalised image coordinate that certainly samples zeros."""


def sample_views(volume: GeometryVolume, points: Tensor) -> tuple[Tensor, Tensor]:
    """Colours and image features (V,P,3+F) at volume points (P,3), and visibility (V,P) bool.

    Samples outside an image are zero. A point is visible where it projects into the image and lies
    within the valid part of the volume.
    """
    size_px = volume.view_features.shape[-1]
    uv, depth = volume.frame.project(points)
    grid = 2 * uv / depth.clamp_min(MIN_DEPTH)[..., None] / (size_px - 1) - 1
    grid = torch.where(grid.abs() > 1, torch.full_like(grid, OUTSIDE_IMAGE), grid)
    samples = F.grid_sample(
        volume.view_features,
        grid[:, None],
        mode="bilinear",
        padding_mode="zeros",
        align_corners=True,
    )[:, :, 0].transpose(1, 2)
    validity = trilinear(volume.valid[None].float(), points, padding_mode="zeros")[:, 0]
    in_valid_volume = (points.abs() < 1).all(-1) & (validity > 0)
    return samples, (grid.abs() < 1).all(-1) & in_valid_volume
