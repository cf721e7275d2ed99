# SPDX-License-Identifier: GPL-3.0-or-later
"""Joins the picture's CLIP embedding with the wanted camera (Zero123's `cc_projection`)."""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

CAMERA_DIM = 4


class CLIPCameraProjection(ModelMixin, ConfigMixin):
    """Makes the UNet's cross-attention context from a picture and a camera offset.

    The published weights use the first token alone. A small network trained from scratch needs two
    more ways in, since attention over one single key is a constant: the encoder's patch tokens, and
    the camera as class labels that `UNet2DConditionModel` adds to its time embedding.

    Args:
        image_embed_dim: Width of the encoder's projected embedding.
        cross_attention_dim: Width of the UNet's context.
        patch_token_dim: Width of the encoder's patch tokens; `None` leaves them out.
        num_camera_octaves: Octaves of sines and cosines in `camera_features`.
    """

    @register_to_config
    def __init__(
        self,
        image_embed_dim: int = 768,
        cross_attention_dim: int = 768,
        patch_token_dim: int | None = None,
        num_camera_octaves: int = 0,
    ) -> None:
        super().__init__()
        self.proj = nn.Linear(image_embed_dim + CAMERA_DIM, cross_attention_dim)
        self.patch_proj = (
            nn.Linear(patch_token_dim, cross_attention_dim) if patch_token_dim else None
        )

    def forward(
        self,
        image_embeds: torch.Tensor,
        camera: torch.Tensor,
        patch_tokens: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The context `(B, 1 + N, D)`; `N` is 0 without patch tokens.

        Args:
            image_embeds: `(B, E)` projected, not normalised embedding of the picture.
            camera: `(B, 4)` from `camera_condition`.
            patch_tokens: `(B, N, P)`, only where the config asks for them.
        """
        context = self.proj(torch.cat([image_embeds, camera.to(image_embeds.dtype)], dim=-1))[
            :, None
        ]
        if self.patch_proj is None:
            return context
        return torch.cat([context, self.patch_proj(patch_tokens)], dim=1)

    def camera_features(self, camera: torch.Tensor) -> torch.Tensor:
        """`(B, 4 + 8 * octaves)` class labels: the condition, then its sines and cosines."""
        scaled = [camera * 2.0**octave for octave in range(self.config.num_camera_octaves)]
        return torch.cat([camera, *(f(x) for x in scaled for f in (torch.sin, torch.cos))], dim=-1)


def camera_condition(d_polar_deg: torch.Tensor, d_azimuth_deg: torch.Tensor) -> torch.Tensor:
    """Zero123's pose vector `(B, 4)`: polar offset in radians, sine and cosine of the azimuth's, 0.

    The last entry is the radius offset, which the method never uses (One-2-3-45,
    utils/zero123_utils.py:65).

    Args:
        d_polar_deg: `(B,)` positive moves the camera down.
        d_azimuth_deg: `(B,)` positive moves it counter-clockwise seen from above.
    """
    d_polar_rad = torch.deg2rad(d_polar_deg)
    d_azimuth_rad = torch.deg2rad(d_azimuth_deg)
    return torch.stack(
        [
            d_polar_rad,
            torch.sin(d_azimuth_rad),
            torch.cos(d_azimuth_rad),
            torch.zeros_like(d_polar_rad),
        ],
        dim=-1,
    )
