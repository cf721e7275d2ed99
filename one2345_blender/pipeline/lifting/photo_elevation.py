# SPDX-License-Identifier: GPL-3.0-or-later
"""A small network that guesses the camera's elevation from the photo alone.

The lifter has to know where the photo was taken from before there are near views to measure it by.
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

ELEVATION_BINS_DEG = torch.arange(-30.0, 86.0, 5.0)
SURE_WITHIN_DEG = 10.0
NUM_GROUPS = 8


class PhotoElevation(ModelMixin, ConfigMixin):
    """Photo to elevation, as a distribution over bins of 5 degrees.

    Args:
        image_size_px: To which photos are shrunk; a multiple of 8.
        width: Channels at each halving.
        hidden: Width of the layer before the bins.
    """

    @register_to_config
    def __init__(
        self,
        image_size_px: int = 64,
        width: tuple[int, ...] = (32, 64, 96, 128),
        hidden: int = 256,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 4
        for wider in width:
            layers += [
                *_convolution(channels, wider, stride=2),
                *_convolution(wider, wider, stride=1),
            ]
            channels = wider
        self.features = nn.Sequential(*layers)
        cells = (image_size_px // 2 ** len(width)) ** 2
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(cells * channels, hidden),
            nn.SiLU(),
            nn.Linear(hidden, len(ELEVATION_BINS_DEG)),
        )

    def forward(self, photo: Tensor) -> Tensor:
        """Logits `(B, bins)` of photos `(B, 4, S, S)`: sRGB on white and mask, 0..1."""
        small = F.interpolate(photo, (self.config.image_size_px,) * 2, mode="area")
        return self.head(self.features(2.0 * small - 1.0))

    @torch.no_grad()
    def estimate(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        """Elevations of photos as in `forward`, and how sure the network is of them.

        Returns:
            `(B,)` expected degrees above the horizon, and `(B,)` the probability that the truth is
            within `SURE_WITHIN_DEG` of that.
        """
        bins_deg = ELEVATION_BINS_DEG.to(self.device)
        probability = self(photo.to(self.dtype)).float().softmax(-1)
        elevation_deg = probability @ bins_deg
        is_near = (bins_deg - elevation_deg[:, None]).abs() <= SURE_WITHIN_DEG
        return elevation_deg, (probability * is_near).sum(-1)


def _convolution(in_channels: int, out_channels: int, *, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1),
        nn.GroupNorm(NUM_GROUPS, out_channels),
        nn.SiLU(),
    ]
