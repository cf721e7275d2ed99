# SPDX-License-Identifier: GPL-3.0-or-later
"""The untrained networks of the small Zero123: at 128 px views, 16x16 latents."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from ..pipeline.zero123.camera_projection import CAMERA_DIM, CLIPCameraProjection
from .view_recipes import SHIPPED, ViewRecipe

LATENT_CHANNELS = 8
PATCH_SIZE_PX = 4
PIXELS_PER_LATENT = 2 * PATCH_SIZE_PX
CONTEXT_DIM = 256
NUM_CAMERA_OCTAVES = 3
ENCODER_WIDTH = 128


def new_autoencoder(size_px: int) -> AutoencoderKL:
    """4x4 pixel blocks, then one halving: `(3, S, S)` to latents `(8, S / 8, S / 8)`."""
    block_channels = 3 * PATCH_SIZE_PX**2
    block_out_channels = (64, 128)
    return AutoencoderKL(
        in_channels=block_channels,
        out_channels=block_channels,
        down_block_types=("DownEncoderBlock2D",) * len(block_out_channels),
        up_block_types=("UpDecoderBlock2D",) * len(block_out_channels),
        block_out_channels=block_out_channels,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=size_px // PATCH_SIZE_PX,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


def new_view_networks(size_px: int, recipe: ViewRecipe = SHIPPED) -> nn.ModuleDict:
    """The three networks that are trained together, under their names in the pipeline."""
    camera_dim = CAMERA_DIM * (1 + 2 * NUM_CAMERA_OCTAVES)
    networks = nn.ModuleDict(
        {
            "unet": UNet2DConditionModel(
                sample_size=size_px // PIXELS_PER_LATENT,
                in_channels=(3 if recipe.takes_guess else 2) * LATENT_CHANNELS,
                out_channels=LATENT_CHANNELS,
                block_out_channels=(64, 128, 192),
                layers_per_block=1,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                cross_attention_dim=CONTEXT_DIM,
                attention_head_dim=4,
                norm_num_groups=16,
                time_embedding_dim=512,
                class_embed_type="projection" if recipe.camera_at_every_level else None,
                projection_class_embeddings_input_dim=camera_dim,
            ),
            "image_encoder": CLIPVisionModelWithProjection(
                CLIPVisionConfig(
                    hidden_size=ENCODER_WIDTH,
                    intermediate_size=2 * ENCODER_WIDTH,
                    projection_dim=CONTEXT_DIM,
                    num_hidden_layers=2,
                    num_attention_heads=4,
                    image_size=size_px,
                    patch_size=size_px // 8,
                )
            ),
            "clip_camera_projection": CLIPCameraProjection(
                image_embed_dim=CONTEXT_DIM,
                cross_attention_dim=CONTEXT_DIM,
                patch_token_dim=ENCODER_WIDTH if recipe.sees_patches else None,
                num_camera_octaves=NUM_CAMERA_OCTAVES,
            ),
        }
    )
    attend_step_by_step(networks)
    return networks


def attend_step_by_step(networks: nn.ModuleDict) -> None:
    """At these sizes the fused kernel's backward pass takes several times as long on a CPU."""
    networks["unet"].set_attn_processor(AttnProcessor())  # type: ignore[operator]
    networks["image_encoder"].set_attn_implementation("eager")  # type: ignore[operator]


def new_scheduler(recipe: ViewRecipe = SHIPPED) -> DDIMScheduler:
    """Cosine schedule that ends in pure noise, from which no noise could be predicted."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type=recipe.predicts,
        rescale_betas_zero_snr=recipe.predicts != "epsilon",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
    )


def normalise_latents(
    vae: AutoencoderKL, channel_mean: torch.Tensor, channel_std: torch.Tensor
) -> None:
    """Fold a per-channel normalisation of the latents into the 1x1 convolutions around them.

    Afterwards the encoder's mode has zero mean and unit deviation in every channel, so that
    `scaling_factor` can be 1.

    Args:
        vae: Changed in place.
        channel_mean: `(C,)` of the latents so far.
        channel_std: `(C,)` of the latents so far.
    """
    channels = len(channel_mean)
    with torch.no_grad():
        post = vae.post_quant_conv
        weight = post.weight[:, :, 0, 0]
        post.bias += weight @ channel_mean
        post.weight *= channel_std[None, :, None, None]
        quant = vae.quant_conv
        quant.weight[:channels] /= channel_std[:, None, None, None]
        quant.bias[:channels] = (quant.bias[:channels] - channel_mean) / channel_std
