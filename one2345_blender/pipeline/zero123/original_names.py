# SPDX-License-Identifier: GPL-3.0-or-later
"""What the original's code calls the tensors of diffusers' and transformers' modules.

Sources: One-2-3-45, ldm/modules/diffusionmodules/openaimodel.py and model.py, and OpenAI's CLIP.
"""

from __future__ import annotations

import re

from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPVisionModelWithProjection

from .camera_projection import CLIPCameraProjection

Rules = tuple[tuple[str, str], ...]

_UNET_OUTSIDE_LEVELS: Rules = (
    (r"time_embedding\.linear_1\.", "time_embed.0."),
    (r"time_embedding\.linear_2\.", "time_embed.2."),
    (r"conv_in\.", "input_blocks.0.0."),
    (r"conv_norm_out\.", "out.0."),
    (r"conv_out\.", "out.2."),
    (r"mid_block\.resnets\.0\.", "middle_block.0."),
    (r"mid_block\.attentions\.0\.", "middle_block.1."),
    (r"mid_block\.resnets\.1\.", "middle_block.2."),
)
_UNET_RESNET: Rules = (
    (r"\.norm1\.", ".in_layers.0."),
    (r"\.conv1\.", ".in_layers.2."),
    (r"\.time_emb_proj\.", ".emb_layers.1."),
    (r"\.norm2\.", ".out_layers.0."),
    (r"\.conv2\.", ".out_layers.3."),
    (r"\.conv_shortcut\.", ".skip_connection."),
)
_UNET_LEVEL = re.compile(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)")
_VAE: Rules = (
    (r"\bdown_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample."),
    (r"\bup_blocks\.(\d+)\.upsamplers\.0\.", r"up.\1.upsample."),
    (r"\b(down|up)_blocks\.(\d+)\.resnets\.(\d+)\.", r"\1.\2.block.\3."),
    (r"\bmid_block\.resnets\.0\.", "mid.block_1."),
    (r"\bmid_block\.resnets\.1\.", "mid.block_2."),
    (r"\bmid_block\.attentions\.0\.", "mid.attn_1."),
    (r"\.conv_shortcut\.", ".nin_shortcut."),
    (r"\.conv_norm_out\.", ".norm_out."),
    (r"\.group_norm\.", ".norm."),
    (r"\.to_([qkv])\.", r".\1."),
    (r"\.to_out\.0\.", ".proj_out."),
)
_CLIP: Rules = (
    (r"^vision_model\.", ""),
    (r"^visual_projection\.weight$", "proj"),
    (r"^embeddings\.class_embedding$", "class_embedding"),
    (r"^embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^embeddings\.patch_embedding\.", "conv1."),
    (r"^pre_layrnorm\.", "ln_pre."),
    (r"^post_layernorm\.", "ln_post."),
    (r"^encoder\.layers\.", "transformer.resblocks."),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
    (r"\.self_attn\.[qkv]_proj\.", ".attn.in_proj_"),
    (r"\.self_attn\.out_proj\.", ".attn.out_proj."),
)


def unet_names(unet: UNet2DConditionModel) -> dict[str, str]:
    """The original's name of each of the UNet's tensors, without prefix.

    The original counts the blocks of all levels through, those that halve the maps included, while
    those that double them are the last part of a block.
    """
    layers = unet.config.layers_per_block
    keys = list(unet.state_dict())
    attentive = {key.split(".")[1] for key in keys if re.match(r"up_blocks\.\d+\.attentions", key)}

    def name(key: str) -> str:
        level = _UNET_LEVEL.fullmatch(key)
        if level is None:
            return _renamed(key, _UNET_OUTSIDE_LEVELS)
        way, number, kind, place, rest = level.groups()
        if kind == "downsamplers":
            return f"input_blocks.{(layers + 1) * (int(number) + 1)}.0.op.{rest.split('.')[-1]}"
        row, first = ("input_blocks", 1) if way == "down" else ("output_blocks", 0)
        block = (layers + 1) * int(number) + int(place) + first
        if kind == "upsamplers":
            return f"{row}.{block + layers}.{2 if number in attentive else 1}.{rest}"
        return f"{row}.{block}.{1 if kind == 'attentions' else 0}.{rest}"

    return {
        key: _renamed(name(key), _UNET_RESNET) if ".resnets." in key else name(key) for key in keys
    }


def vae_names(vae: AutoencoderKL) -> dict[str, str]:
    """The original's name of each of the autoencoder's tensors, without prefix.

    The original counts the decoder's levels from the finest one.
    """
    last = len(vae.config.block_out_channels) - 1

    def name(key: str) -> str:
        from_finest = re.sub(
            r"\bup_blocks\.(\d+)", lambda match: f"up_blocks.{last - int(match[1])}", key
        )
        return _renamed(from_finest, _VAE)

    return {key: name(key) for key in vae.state_dict()}


def clip_names(image_encoder: CLIPVisionModelWithProjection) -> dict[str, str]:
    """OpenAI's name of each of the image tower's tensors; queries, keys and values share one."""
    return {key: _renamed(key, _CLIP) for key in image_encoder.state_dict()}


def projection_names(clip_camera_projection: CLIPCameraProjection) -> dict[str, str]:
    """The original's name of each of the projection's tensors, without prefix."""
    return {key: key.removeprefix("proj.") for key in clip_camera_projection.state_dict()}


def _renamed(key: str, rules: Rules) -> str:
    for ours, theirs in rules:
        key = re.sub(ours, theirs, key)
    return key
