# SPDX-License-Identifier: GPL-3.0-or-later
"""Feature pyramid network on the posed images (One-2-3-45, R/models/featurenet.py:40-91)."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .normalization import ConvNormLeaky2d

FINE_CHANNELS = 8
MIDDLE_CHANNELS = 16
COARSE_CHANNELS = 32
FUSED_CHANNELS = COARSE_CHANNELS + MIDDLE_CHANNELS + FINE_CHANNELS


@dataclass(frozen=True, kw_only=True)
class FeaturePyramid:
    """Three levels of features of V views."""

    coarse: Tensor
    """(V,32,H/4,W/4)"""
    middle: Tensor
    """(V,16,H/2,W/2)"""
    fine: Tensor
    """(V,8,H,W)"""

    def fused(self) -> Tensor:
        """(V,56,H,W): coarse, middle and fine features at image resolution."""
        return torch.cat([_enlarge(self.coarse, 4), _enlarge(self.middle, 2), self.fine], dim=1)


class FeatureNet(nn.Module):
    """(V,3,H,W) sRGB 0..1 -> `FeaturePyramid`; H and W divisible by 4.

    All views of one object go in together: the normalisation statistics run over them.
    """

    def __init__(self, *, batch_statistics_at_inference: bool, abs_gamma: bool) -> None:
        super().__init__()
        block = partial(
            ConvNormLeaky2d,
            batch_statistics_at_inference=batch_statistics_at_inference,
            abs_gamma=abs_gamma,
        )
        self.conv0 = nn.Sequential(block(3, 8), block(8, 8))
        self.conv1 = nn.Sequential(block(8, 16, 5, 2), block(16, 16), block(16, 16))
        self.conv2 = nn.Sequential(block(16, 32, 5, 2), block(32, 32), block(32, 32))
        self.toplayer = nn.Conv2d(32, COARSE_CHANNELS, 1)
        self.lat1 = nn.Conv2d(16, 32, 1)
        self.lat0 = nn.Conv2d(8, 32, 1)
        self.smooth1 = nn.Conv2d(32, MIDDLE_CHANNELS, 3, padding=1)
        self.smooth0 = nn.Conv2d(32, FINE_CHANNELS, 3, padding=1)

    def forward(self, rgb: Tensor) -> FeaturePyramid:
        conv0 = self.conv0(rgb)
        conv1 = self.conv1(conv0)
        coarse = self.toplayer(self.conv2(conv1))
        middle = _enlarge(coarse, 2) + self.lat1(conv1)
        fine = _enlarge(middle, 2) + self.lat0(conv0)
        return FeaturePyramid(coarse=coarse, middle=self.smooth1(middle), fine=self.smooth0(fine))


def _enlarge(features: Tensor, factor: int) -> Tensor:
    return F.interpolate(features, scale_factor=factor, mode="bilinear", align_corners=True)
