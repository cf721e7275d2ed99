# SPDX-License-Identifier: GPL-3.0-or-later
"""The original Zero123 checkpoint's tensors, put into diffusers' and transformers' modules."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
)
from torch import nn
from transformers import CLIPVisionModelWithProjection

from ...contracts.errors import CheckpointError
from .camera_projection import CLIPCameraProjection

StateDict = dict[str, torch.Tensor]

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
CLIP_PREFIX = "cond_stage_model.model.visual."
PROJECTION_PREFIX = "cc_projection."
EMA_PREFIX = "model_ema."
_UNUSED = re.compile(
    r"(betas|alphas_cumprod|sqrt_|log_one_minus|posterior_|scale_factor$|logvar$"
    r"|model_ema\.(decay|num_updates)$"
    r"|cond_stage_model\.(mean|std)$"
    r"|cond_stage_model\.model\.(transformer|token_embedding|ln_final)\."
    r"|cond_stage_model\.model\.(positional_embedding|text_projection|logit_scale)$)"
)
"""The noise schedule, how the average was made, and CLIP's text tower: no network has them."""

_CLIP_NAMES = (
    (r"class_embedding", "embeddings.class_embedding"),
    (r"positional_embedding", "embeddings.position_embedding.weight"),
    (r"conv1\.weight", "embeddings.patch_embedding.weight"),
    (r"ln_pre\.(\w+)", r"pre_layrnorm.\1"),
    (r"ln_post\.(\w+)", r"post_layernorm.\1"),
    (r"transformer\.resblocks\.(\d+)\.ln_([12])\.(\w+)", r"encoder.layers.\1.layer_norm\2.\3"),
    (r"transformer\.resblocks\.(\d+)\.mlp\.c_fc\.(\w+)", r"encoder.layers.\1.mlp.fc1.\2"),
    (r"transformer\.resblocks\.(\d+)\.mlp\.c_proj\.(\w+)", r"encoder.layers.\1.mlp.fc2.\2"),
    (
        r"transformer\.resblocks\.(\d+)\.attn\.out_proj\.(\w+)",
        r"encoder.layers.\1.self_attn.out_proj.\2",
    ),
)
_CLIP_JOINED_ATTENTION = re.compile(r"transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)")


def load_ldm_checkpoint(
    checkpoint: Mapping[str, torch.Tensor],
    *,
    unet: UNet2DConditionModel,
    vae: AutoencoderKL,
    image_encoder: CLIPVisionModelWithProjection,
    clip_camera_projection: CLIPCameraProjection,
) -> None:
    """Fill the modules from a checkpoint in the original's key layout.

    The UNet's averaged copy is used where the checkpoint has one, as the original samples with it
    (One-2-3-45, utils/zero123_utils.py:63).

    Args:
        checkpoint: The state dict; the noise schedule and CLIP's text tower are ignored.
        unet: Filled in place, as are the others.
        vae: See `unet`.
        image_encoder: See `unet`.
        clip_camera_projection: See `unet`.

    Raises:
        CheckpointError: A key is missing or has no place, or a shape is not the module's.
    """
    unet_config, vae_config = dict(unet.config), dict(vae.config)
    networks = (UNET_PREFIX, EMA_PREFIX, VAE_PREFIX, CLIP_PREFIX, PROJECTION_PREFIX)
    unknown = [key for key in checkpoint if not key.startswith(networks) and not _UNUSED.match(key)]
    if unknown:
        raise _mismatch("checkpoint", missing=[], surplus=sorted(unknown))
    fill_network(
        "unet",
        unet,
        _converted(
            _unet_tensors(checkpoint),
            UNET_PREFIX,
            lambda probes: convert_ldm_unet_checkpoint(probes, unet_config),
        ),
    )
    fill_network(
        "vae",
        vae,
        _converted(
            _with_prefix(checkpoint, VAE_PREFIX),
            VAE_PREFIX,
            lambda probes: convert_ldm_vae_checkpoint(probes, vae_config),
        ),
    )
    fill_network("image_encoder", image_encoder, _clip_tensors(checkpoint, image_encoder))
    projection = _with_prefix(checkpoint, PROJECTION_PREFIX)
    fill_network(
        "clip_camera_projection",
        clip_camera_projection,
        {f"proj.{name}": tensor for name, tensor in projection.items()},
    )


def _with_prefix(checkpoint: Mapping[str, torch.Tensor], prefix: str) -> StateDict:
    return {
        key.removeprefix(prefix): tensor
        for key, tensor in checkpoint.items()
        if key.startswith(prefix)
    }


def _unet_tensors(checkpoint: Mapping[str, torch.Tensor]) -> StateDict:
    """The UNet's tensors, averaged where possible, under the names of the plain ones."""
    plain = _with_prefix(checkpoint, UNET_PREFIX)
    averaged = {
        key: tensor
        for key, tensor in _with_prefix(checkpoint, EMA_PREFIX).items()
        if not _UNUSED.match(EMA_PREFIX + key)
    }
    if not averaged:
        return plain
    names = {name: f"diffusion_model{name.replace('.', '')}" for name in plain}
    missing, surplus = set(names.values()) - averaged.keys(), averaged.keys() - names.values()
    if missing or surplus:
        raise _mismatch(
            "averaged unet",
            missing=sorted(EMA_PREFIX + flat for flat in missing),
            surplus=sorted(EMA_PREFIX + flat for flat in surplus),
        )
    return {name: averaged[flat] for name, flat in names.items()}


def _converted(
    tensors: StateDict, prefix: str, convert: Callable[[StateDict], StateDict]
) -> StateDict:
    """Rename with one of diffusers' converters, which would drop keys it does not know.

    The converter gets numbered one-element tensors, so that what it returns tells where each
    original tensor went.

    Raises:
        CheckpointError: A tensor went nowhere.
    """
    names = list(tensors)
    probes = {
        prefix + name: torch.full([1] * tensors[name].ndim, float(number))
        for number, name in enumerate(names)
    }
    origins = {key: (names[int(p.flatten()[0])], p.ndim) for key, p in convert(probes).items()}
    surplus = sorted(set(names) - {name for name, _ in origins.values()})
    if surplus:
        raise _mismatch(prefix.rstrip("."), missing=[], surplus=surplus)
    return {
        key: tensors[name].flatten(1) if ndim < tensors[name].ndim else tensors[name]
        for key, (name, ndim) in origins.items()
    }


def _clip_tensors(
    checkpoint: Mapping[str, torch.Tensor], image_encoder: CLIPVisionModelWithProjection
) -> StateDict:
    """OpenAI's image tower under transformers' names; its joined projections taken apart."""
    outer = tower_prefix(image_encoder)
    converted: StateDict = {}
    surplus = []
    for key, tensor in _with_prefix(checkpoint, CLIP_PREFIX).items():
        joined = _CLIP_JOINED_ATTENTION.fullmatch(key)
        if key == "proj":
            converted["visual_projection.weight"] = tensor.T
        elif joined:
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                attention = f"{outer}encoder.layers.{joined[1]}.self_attn"
                converted[f"{attention}.{letter}_proj.{joined[2]}"] = part
        else:
            name = _renamed_clip_key(key)
            if name is None:
                surplus.append(key)
            else:
                converted[outer + name] = tensor
    if surplus:
        raise _mismatch("image_encoder", missing=[], surplus=surplus)
    return converted


def tower_prefix(image_encoder: CLIPVisionModelWithProjection) -> str:
    """What the keys of the image tower begin with, which differs between transformers' releases."""
    return "vision_model." if hasattr(image_encoder, "vision_model") else ""


def _renamed_clip_key(key: str) -> str | None:
    for pattern, name in _CLIP_NAMES:
        match = re.fullmatch(pattern, key)
        if match:
            return match.expand(name)
    return None


def fill_network(component: str, module: nn.Module, tensors: StateDict) -> None:
    """Put `tensors` into `module`, which takes them over: it may be on the meta device.

    Raises:
        CheckpointError: A key is missing or has no place, or a shape is not the module's.
    """
    expected = module.state_dict()
    missing, surplus = sorted(expected.keys() - tensors), sorted(tensors.keys() - expected)
    if missing or surplus:
        raise _mismatch(component, missing=missing, surplus=surplus)
    for key, tensor in tensors.items():
        if tensor.shape != expected[key].shape:
            raise CheckpointError(
                f"{component}: {key} has the shape {tuple(tensor.shape)}, expected "
                f"{tuple(expected[key].shape)}.",
                hint="The checkpoint belongs to a model of another size.",
            )
    fitting = {key: tensor.to(expected[key].dtype) for key, tensor in tensors.items()}
    module.load_state_dict(fitting, assign=True)


def _mismatch(component: str, *, missing: list[str], surplus: list[str]) -> CheckpointError:
    parts = [
        f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for keys, what in ((missing, "missing"), (surplus, "not expected"))
        if keys
    ]
    return CheckpointError(
        f"{component}: tensors {' and '.join(parts)}.",
        hint="Use the complete checkpoint of a Zero123 model.",
    )
