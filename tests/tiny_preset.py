# SPDX-License-Identifier: GPL-3.0-or-later
"""A preset of tiny untrained networks: the whole method in seconds, through the real code."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from one2345_blender.pipeline.lifting.photo_elevation import PhotoElevation
from one2345_blender.pipeline.lifting.photo_lifter import PhotoLifter
from one2345_blender.pipeline.pipeline_one2345 import One2345Pipeline
from one2345_blender.pipeline.reconstruction.reconstructor import SparseNeuSReconstructor
from one2345_blender.pipeline.reconstruction.sdf_network import SdfNetwork
from one2345_blender.pipeline.segmenter import ForegroundSegmenter
from one2345_blender.pipeline.zero123.camera_projection import CLIPCameraProjection

VIEW_SIZE_PX = 32
WIDTH = 16


def save_tiny_preset(folder: Path, *, lifts_photo: bool = False) -> Path:
    """Write the preset; the same weights every time.

    Args:
        lifts_photo: With the networks that guess the object, the UNet's and the reconstruction's
            channels for it, and the photo among the reconstructed views, as in the embedded preset.
    """
    torch.manual_seed(0)
    reconstruction = SparseNeuSReconstructor(
        image_size_px=VIEW_SIZE_PX,
        volume_size=24,
        voxel_size=None,
        volume_bounds="sphere",
        takes_guess=lifts_photo,
    )
    _weaken_latents(reconstruction.sdf_network)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, WIDTH),
        norm_num_groups=4,
        sample_size=VIEW_SIZE_PX,
        mid_block_add_attention=False,
    )
    unet = UNet2DConditionModel(
        sample_size=VIEW_SIZE_PX // 2,
        in_channels=12 if lifts_photo else 8,
        out_channels=4,
        block_out_channels=(8, WIDTH),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    image_encoder = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=WIDTH,
            intermediate_size=WIDTH,
            projection_dim=WIDTH,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=VIEW_SIZE_PX,
            patch_size=8,
        )
    )
    pipeline = One2345Pipeline(
        unet=unet,
        vae=vae,
        image_encoder=image_encoder,
        clip_camera_projection=CLIPCameraProjection(WIDTH, WIDTH),
        scheduler=DDIMScheduler(clip_sample=False),
        reconstruction=reconstruction,
        segmenter=ForegroundSegmenter(block_out_channels=(4, 8, 8), sample_size=32),
        photo_lifter=_tiny_lifter() if lifts_photo else None,
        photo_elevation=PhotoElevation(32, width=(8, 8), hidden=8) if lifts_photo else None,
        resynthesises_input=not lifts_photo,
        reconstructs_from_input=lifts_photo,
        elevation_source="photo" if lifts_photo else "near_views",
        num_inference_steps_stage1=2,
        num_inference_steps_stage2=2,
        grid_resolution=24,
    )
    pipeline.save_pretrained(folder)
    return folder


def _tiny_lifter() -> PhotoLifter:
    return PhotoLifter(
        VIEW_SIZE_PX, num_depths=8, block_out_channels=(16, 16, 32), attention_head_dim=8
    )


@torch.no_grad()
def _weaken_latents(sdf_network: SdfNetwork) -> None:
    """Untrained latents drown the sphere that the network starts as: scale them down."""
    for layer in (sdf_network.lin1, sdf_network.lin2):
        weight = layer.weight()
        weight[:, sdf_network.lin0.bias.numel() :] *= 0.01
        layer.weight_v.copy_(weight)
        layer.weight_g.copy_(weight.norm(dim=1, keepdim=True))
