# SPDX-License-Identifier: GPL-3.0-or-later
"""A small U-Net that tells the object in front from everything else."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate

from .mask_refinement import refine_alpha


class ForegroundSegmenter(ModelMixin, ConfigMixin):
    """RGB to the logit of belonging to the object.

    An encoder of `len(block_out_channels)` levels, each half the size of the one before (the first
    half the input's), the mean over the picture joined in at the coarsest, and a decoder with
    skips. Sides must be multiples of `2 ** len(block_out_channels)`.

    Args:
        block_out_channels: Channels per level, finest first.
        sample_size: Pictures are shown to the network at about this side in pixels.
    """

    @register_to_config
    def __init__(
        self,
        block_out_channels: tuple[int, ...] = (16, 32, 64, 128, 192),
        sample_size: int = 160,
    ) -> None:
        super().__init__()
        channels = list(block_out_channels)
        self.encoder = nn.ModuleList(
            nn.Sequential(_conv(entering, leaving, stride=2), _conv(leaving, leaving))
            for entering, leaving in zip([3, *channels], channels, strict=False)
        )
        self.context = _conv(2 * channels[-1], channels[-1], kernel_size=1)
        self.decoder = nn.ModuleList(
            _conv(coarse + fine, fine) for coarse, fine in zip(channels[1:], channels, strict=False)
        )
        self.last = nn.Conv2d(channels[0], 4, kernel_size=3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(B, 1, H, W)` for sRGB `images (B, 3, H, W)` in -1..1."""
        features = images
        skips = []
        for level in self.encoder:
            features = level(features)
            skips.append(features)
        mean = features.mean(dim=(2, 3), keepdim=True).expand_as(features)
        features = self.context(torch.cat([features, mean], dim=1))
        for skip, level in zip(skips[-2::-1], reversed(self.decoder), strict=True):
            larger = interpolate(features, size=skip.shape[2:], mode="bilinear")
            features = level(torch.cat([larger, skip], dim=1))
        return nn.functional.pixel_shuffle(self.last(features), 2)

    @torch.no_grad()
    def predict_alpha(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Coverage `(H, W)`, 0..255, of the object in front in `rgb (H, W, 3)` sRGB.

        The mean over the picture and its mirror image, carried to the picture's own resolution
        along the edges that the picture shows.
        """
        picture = Image.fromarray(rgb).resize(
            _network_size(rgb.shape[0], rgb.shape[1], self.config.sample_size, len(self.encoder)),
            Image.Resampling.LANCZOS,
        )
        parameter = next(self.parameters())
        image = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
        image = image.to(parameter.device, parameter.dtype) / 127.5 - 1.0
        logits = self(torch.stack([image, image.flip(-1)]))[:, 0]
        probability = ((logits[0] + logits[1].flip(-1)) / 2.0).sigmoid()
        return refine_alpha(rgb, probability.float().cpu().numpy())


def _conv(entering: int, leaving: int, *, stride: int = 1, kernel_size: int = 3) -> nn.Sequential:
    padding = kernel_size // 2
    return nn.Sequential(
        nn.Conv2d(entering, leaving, kernel_size, stride=stride, padding=padding, bias=False),
        nn.BatchNorm2d(leaving),
        nn.SiLU(),
    )


def _network_size(
    height_px: int, width_px: int, sample_size: int, num_levels: int
) -> tuple[int, int]:
    """`(width, height)` of about `sample_size` squared pixels with nearly the picture's shape."""
    multiple = 2**num_levels
    scale = sample_size / (height_px * width_px) ** 0.5
    width, height = (
        min(2 * sample_size, max(multiple, round(side * scale / multiple) * multiple))
        for side in (width_px, height_px)
    )
    return width, height
