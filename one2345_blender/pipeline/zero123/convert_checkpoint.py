# SPDX-License-Identifier: GPL-3.0-or-later
"""The original Zero123 checkpoint's tensors, put into diffusers' and transformers' modules."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPVisionModelWithProjection

from ...contracts.errors import CheckpointError
from .camera_projection import CLIPCameraProjection
from .original_names import clip_names, projection_names, unet_names, vae_names

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

_JOINED = re.compile(r"\.([qkv])_proj\.\w+$")
"""Keys of the image tower whose tensors are a third each of one of the original's."""


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
    networks = (UNET_PREFIX, EMA_PREFIX, VAE_PREFIX, CLIP_PREFIX, PROJECTION_PREFIX)
    unknown = [key for key in checkpoint if not key.startswith(networks) and not _UNUSED.match(key)]
    if unknown:
        raise _mismatch("checkpoint", missing=[], surplus=sorted(unknown))
    plain = unet_names(unet)
    parts: list[tuple[str, nn.Module, str, dict[str, str]]] = [
        ("unet", unet, UNET_PREFIX, plain),
        ("vae", vae, VAE_PREFIX, vae_names(vae)),
        ("image_encoder", image_encoder, CLIP_PREFIX, clip_names(image_encoder)),
        (
            "clip_camera_projection",
            clip_camera_projection,
            PROJECTION_PREFIX,
            projection_names(clip_camera_projection),
        ),
    ]
    if _names_with_prefix(checkpoint, EMA_PREFIX):
        averaged = {key: f"diffusion_model{name.replace('.', '')}" for key, name in plain.items()}
        if _names_with_prefix(checkpoint, UNET_PREFIX):
            _check_names("unet", checkpoint, UNET_PREFIX, plain)
        parts[0] = ("averaged unet", unet, EMA_PREFIX, averaged)
    for component, _, prefix, names in parts:
        _check_names(component, checkpoint, prefix, names)
    for component, module, prefix, names in parts:
        fill_network(
            component,
            module,
            {
                key: _in_module_layout(key, tensor, checkpoint[prefix + names[key]], names[key])
                for key, tensor in module.state_dict().items()
            },
        )


def _names_with_prefix(checkpoint: Mapping[str, torch.Tensor], prefix: str) -> set[str]:
    return {
        key.removeprefix(prefix)
        for key in checkpoint
        if key.startswith(prefix) and not _UNUSED.match(key)
    }


def _check_names(
    component: str, checkpoint: Mapping[str, torch.Tensor], prefix: str, names: Mapping[str, str]
) -> None:
    """The checkpoint has exactly the tensors `names`, by the module's keys, behind the prefix.

    Raises:
        CheckpointError: One is missing or has no place.
    """
    expected, found = set(names.values()), _names_with_prefix(checkpoint, prefix)
    if expected != found:
        raise _mismatch(
            component,
            missing=sorted(prefix + name for name in expected - found),
            surplus=sorted(prefix + name for name in found - expected),
        )


def _in_module_layout(
    key: str, expected: torch.Tensor, original: torch.Tensor, name: str
) -> torch.Tensor:
    """The original's tensor as the module has it; what does not fit `fill_network` finds.

    CLIP joins queries, keys and values, and multiplies by its last matrix from the other side; the
    autoencoder's attention has 1x1 convolutions for matrices.
    """
    if joined := _JOINED.search(key):
        size = (3 * len(expected), *expected.shape[1:])
        if original.shape != size:
            raise _wrong_shape("image_encoder", name, original.shape, size)
        return original.chunk(3)["qkv".index(joined[1])]
    if key == "visual_projection.weight" and original.ndim == 2:
        return original.T
    if original.shape == (*expected.shape, 1, 1):
        return original.flatten(1)
    return original


def tower_prefix(image_encoder: CLIPVisionModelWithProjection) -> str:
    """What the keys of the image tower begin with, which differs between transformers' releases."""
    return "vision_model." if hasattr(image_encoder, "vision_model") else ""


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
            raise _wrong_shape(component, key, tensor.shape, expected[key].shape)
    fitting = {key: tensor.to(expected[key].dtype) for key, tensor in tensors.items()}
    module.load_state_dict(fitting, assign=True)


def _wrong_shape(
    component: str, key: str, found: Sequence[int], expected: Sequence[int]
) -> CheckpointError:
    return CheckpointError(
        f"{component}: {key} has the shape {tuple(found)}, expected {tuple(expected)}.",
        hint="The checkpoint belongs to a model of another size.",
    )


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
