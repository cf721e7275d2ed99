# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes and settings of the original's networks, which its checkpoint does not tell.

Sources: One-2-3-45, configs/sd-objaverse-finetune-c_concat-256.yaml, and OpenAI's CLIP ViT-L/14.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from ...contracts.errors import OptionError
from .camera_projection import CLIPCameraProjection

ORIGINAL_SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}

ORIGINAL_NETWORKS: dict[str, dict[str, Any]] = {
    "unet": {
        "sample_size": 32,
        "in_channels": 8,
        "out_channels": 4,
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        "block_out_channels": (320, 640, 1280, 1280),
        "layers_per_block": 2,
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
    },
    "vae": {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (128, 256, 512, 512),
        "layers_per_block": 2,
        "sample_size": 256,
        "scaling_factor": 0.18215,
    },
    "clip": {"width": 1024, "layers": 24, "heads": 16, "patch": 14, "res": 224, "out": 768},
}
"""What `build_networks` takes; the published models have these sizes."""


def build_networks(config: Mapping[str, Any]) -> dict[str, Any]:
    """The untrained networks by their names in the pipeline.

    Args:
        config: The arguments of `unet` and `vae`, and as `clip` the image tower's `width`,
            `layers`, `heads`, `patch` and `res` (pixels) and the size `out` of its embedding.

    Raises:
        OptionError: A part is missing, or a network cannot be built of it.
    """
    try:
        clip = config["clip"]
        return {
            "unet": UNet2DConditionModel(**config["unet"]).eval(),
            "vae": AutoencoderKL(**config["vae"]).eval(),
            "image_encoder": CLIPVisionModelWithProjection(
                CLIPVisionConfig(
                    hidden_size=clip["width"],
                    intermediate_size=4 * clip["width"],
                    projection_dim=clip["out"],
                    num_hidden_layers=clip["layers"],
                    num_attention_heads=clip["heads"],
                    image_size=clip["res"],
                    patch_size=clip["patch"],
                    hidden_act="quick_gelu",
                )
            ).eval(),
            "clip_camera_projection": CLIPCameraProjection(
                clip["out"], config["unet"]["cross_attention_dim"]
            ).eval(),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise OptionError(
            f"The sizes of the networks are not complete or do not fit together: {error!r}.",
            hint="Expected the parts unet, vae (arguments of diffusers' classes) and clip.",
        ) from error
