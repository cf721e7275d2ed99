# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures in and out of Zero123: value ranges, the CLIP resize, the autoencoder's latents."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from transformers import CLIPVisionModelWithProjection

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
WHITENED_FROM_LEVEL = 253
"""Darkest level that stage 2 takes for background (One-2-3-45, utils/zero123_utils.py:145)."""


def images_from_rgb(rgb: np.ndarray) -> torch.Tensor:
    """`(B, H, W, 3)` uint8 sRGB to contiguous `(B, 3, H, W)` float32 in [-1, 1]."""
    images = torch.from_numpy(np.ascontiguousarray(rgb)).permute(0, 3, 1, 2).contiguous()
    return images.float() / 255.0 * 2.0 - 1.0


def rgb_from_images(images: torch.Tensor) -> np.ndarray:
    """`(B, 3, H, W)` in [-1, 1] to `(B, H, W, 3)` uint8 sRGB, truncated as in the original."""
    unit = ((images.float() + 1.0) / 2.0).clamp(0.0, 1.0)
    return (unit * 255.0).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def whiten_background(rgb: np.ndarray) -> np.ndarray:
    """Set the values from `WHITENED_FROM_LEVEL` on to 255, as stage 2 does with its input views."""
    return np.where(rgb >= WHITENED_FROM_LEVEL, np.uint8(255), rgb)


def clip_pixels(images: torch.Tensor, size_px: int) -> torch.Tensor:
    """What the image encoder sees: `(B, 3, size_px, size_px)`, normalised with CLIP's statistics.

    Bicubic with aligned corners, without antialiasing, clamping or rounding, as the original does
    it (One-2-3-45, ldm/modules/encoders/modules.py:371); a `CLIPImageProcessor` differs visibly.

    Args:
        images: `(B, 3, H, W)` in [-1, 1].
        size_px: The encoder's image size.
    """
    resized = F.interpolate(images, (size_px, size_px), mode="bicubic", align_corners=True)
    mean = resized.new_tensor(CLIP_MEAN)[:, None, None]
    std = resized.new_tensor(CLIP_STD)[:, None, None]
    return ((resized + 1.0) / 2.0 - mean) / std


def encode_tokens(
    image_encoder: CLIPVisionModelWithProjection, images: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The picture's embedding `(B, E)` and its patch tokens `(B, N, P)`."""
    pixels = clip_pixels(images, image_encoder.config.image_size).to(image_encoder.dtype)
    output = image_encoder(pixels)
    return output.image_embeds, output.last_hidden_state[:, 1:]


def patch_size_px(vae: AutoencoderKL) -> int:
    """Side of the pixel blocks that the autoencoder sees as channels; 1 for plain RGB."""
    return math.isqrt(vae.config.in_channels // 3)


def encode_latents(vae: AutoencoderKL, images: torch.Tensor) -> torch.Tensor:
    """The *unscaled* mode of the latent distribution, `(B, C, h, w)`, of images in [-1, 1]."""
    pixels = F.pixel_unshuffle(images.to(vae.dtype), patch_size_px(vae)).contiguous()
    return vae.encode(pixels).latent_dist.mode()


def decode_latents(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Images `(B, 3, H, W)`, about [-1, 1], from latents in the *scaled* space of the diffusion."""
    pixels = vae.decode((latents / vae.config.scaling_factor).to(vae.dtype)).sample
    return F.pixel_shuffle(pixels, patch_size_px(vae))
