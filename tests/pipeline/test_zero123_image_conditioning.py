# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures on their way into Zero123's networks, and out of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from one2345_blender.pipeline.zero123.camera_projection import (
    CLIPCameraProjection,
    camera_condition,
)
from one2345_blender.pipeline.zero123.image_conditioning import (
    clip_pixels,
    decode_latents,
    encode_latents,
    images_from_rgb,
    rgb_from_images,
    whiten_background,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "zero123_sampler.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as tensors:
        return dict(tensors)


def small_autoencoder(patch_size_px: int) -> AutoencoderKL:
    channels = 3 * patch_size_px**2
    return AutoencoderKL(
        in_channels=channels,
        out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        mid_block_add_attention=False,
    ).eval()


def test_clip_pixels_equal_the_original(golden: dict[str, np.ndarray]) -> None:
    pixels = clip_pixels(images_from_rgb(golden["input_image_u8"][None]), 224)
    np.testing.assert_allclose(
        pixels[0, :, ::16, ::16].numpy(), golden["clip_pixels_every16"], atol=1e-5
    )


def test_camera_condition_equals_the_original(golden: dict[str, np.ndarray]) -> None:
    d_polar_deg, d_azimuth_deg = torch.from_numpy(golden["deltas_deg"]).T
    condition = camera_condition(d_polar_deg, d_azimuth_deg)
    np.testing.assert_allclose(condition.numpy(), golden["camera"], atol=1e-6)


def test_rgb_survives_the_way_in_and_out() -> None:
    """Truncation loses nothing as long as the network adds nothing."""
    rgb = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    returned = rgb_from_images(images_from_rgb(rgb) + 1e-4)
    np.testing.assert_array_equal(returned, rgb)


def test_images_are_contiguous() -> None:
    """A permuted array would send the convolutions another way and change their sums."""
    assert images_from_rgb(np.zeros((2, 8, 8, 3), np.uint8)).is_contiguous()


def test_whiten_background_keeps_the_object() -> None:
    rgb = np.array([[252, 253, 255]], np.uint8)
    np.testing.assert_array_equal(whiten_background(rgb), [[252, 255, 255]])


@pytest.mark.parametrize(("patch_size_px", "latent_size"), [(1, 16), (2, 8), (4, 4)])
def test_autoencoder_may_work_on_pixel_blocks(patch_size_px: int, latent_size: int) -> None:
    vae = small_autoencoder(patch_size_px)
    images = torch.rand(2, 3, 32, 32) * 2.0 - 1.0
    with torch.no_grad():
        latents = encode_latents(vae, images)
        assert latents.shape == (2, 4, latent_size, latent_size)
        assert decode_latents(vae, latents).shape == images.shape


def test_condition_latents_are_the_unscaled_mode() -> None:
    vae = small_autoencoder(1)
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        expected = vae.encode(images).latent_dist.mean
        torch.testing.assert_close(encode_latents(vae, images), expected)


def test_projection_reads_embedding_first_then_camera() -> None:
    projection = CLIPCameraProjection(image_embed_dim=3, cross_attention_dim=7)
    with torch.no_grad():
        projection.proj.weight.copy_(torch.eye(7))
        projection.proj.bias.zero_()
    context = projection(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[4.0, 5.0, 6.0, 0.0]]))
    assert context.tolist() == [[[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0]]]


def test_projection_appends_patch_tokens_and_camera_octaves() -> None:
    projection = CLIPCameraProjection(8, 16, patch_token_dim=12, num_camera_octaves=2)
    camera = camera_condition(torch.tensor([10.0]), torch.tensor([-90.0]))
    context = projection(torch.rand(1, 8), camera, torch.rand(1, 9, 12))
    assert context.shape == (1, 10, 16)
    features = projection.camera_features(camera)
    assert features.shape == (1, 20)
    torch.testing.assert_close(features[:, 12:16], torch.sin(2.0 * camera))
