# SPDX-License-Identifier: GPL-3.0-or-later
"""Zero123's networks from the folders in which others published them in the diffusers layout.

Those folders (`bennyguo/zero123-xl-diffusers`, `ashawkey/zero123-xl-diffusers`, `kxic/zero123-xl`)
name pipelines of their own, whose code is not run: their networks are read one by one.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from ...contracts.bounded_file import read_bounded
from ...contracts.errors import CheckpointError
from ..checkpoint_file import read_checkpoint_file
from .camera_projection import CAMERA_DIM, CLIPCameraProjection
from .convert_checkpoint import StateDict, fill_network, tower_prefix

PROJECTION_FOLDERS = ("clip_camera_projection", "cc_projection")
_HINT = "Download the folder again, with its config.json files and weights."
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""How diffusers' autoencoder called its attention layers before 0.14."""


def read_published_folder(folder: Path) -> dict[str, nn.Module]:
    """The networks by their names in the pipeline, in the number format of the files.

    Where a folder has averaged weights beside plain ones, the averaged are read, as the original
    samples with them.

    Raises:
        CheckpointError: A part is missing or damaged, or its tensors do not fit its config.
    """
    projection = next((n for n in PROJECTION_FOLDERS if (folder / n).is_dir()), None)
    if projection is None:
        raise CheckpointError(
            f"{folder} has none of the folders {', '.join(PROJECTION_FOLDERS)}.", hint=_HINT
        )
    tensors = {
        "unet": _read_tensors(folder / "unet"),
        "vae": _renamed_attention(_read_tensors(folder / "vae")),
        "image_encoder": _read_tensors(folder / "image_encoder"),
        "clip_camera_projection": _renamed_projection(_read_tensors(folder / projection)),
    }
    with torch.device("meta"):
        image_encoder = CLIPVisionModelWithProjection(
            CLIPVisionConfig.from_dict(_read_config(folder / "image_encoder"))
        )
        width, joined = _projection_sizes(folder / projection, tensors["clip_camera_projection"])
        networks: dict[str, nn.Module] = {
            "unet": UNet2DConditionModel.from_config(_read_config(folder / "unet")),
            "vae": AutoencoderKL.from_config(_read_config(folder / "vae")),
            "image_encoder": image_encoder,
            "clip_camera_projection": CLIPCameraProjection(joined - CAMERA_DIM, width),
        }
    tensors["image_encoder"] = _renamed_tower(tensors["image_encoder"], tower_prefix(image_encoder))
    for name, network in networks.items():
        nn.Module.to(network, next(iter(tensors[name].values())).dtype)
        fill_network(name, network, tensors[name])
    return networks


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(read_bounded(folder / "config.json")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{folder / 'config.json'}: {error}", hint=_HINT) from error


def _read_tensors(folder: Path) -> StateDict:
    """Averaged weights rather than plain ones, safetensors rather than PyTorch's own files."""

    def unwanted(path: Path) -> tuple[bool, bool, str]:
        is_averaged = "ema" in path.name and "non_ema" not in path.name
        return not is_averaged, path.suffix != ".safetensors", path.name

    files = [path for ending in ("safetensors", "bin") for path in folder.glob(f"*.{ending}")]
    if not files:
        raise CheckpointError(f"{folder} holds no weights, safetensors or .bin.", hint=_HINT)
    tensors = read_checkpoint_file(min(files, key=unwanted), hint=_HINT)
    return {key: tensor for key, tensor in tensors.items() if not key.endswith(".position_ids")}


def _renamed_attention(tensors: StateDict) -> StateDict:
    def rename(key: str) -> str:
        return re.sub(
            r"(\.attentions\.\d+)\.(query|key|value|proj_attn)\.",
            lambda match: f"{match[1]}.{_OLD_ATTENTION[match[2]]}.",
            key,
        )

    return {rename(key): tensor for key, tensor in tensors.items()}


def _renamed_projection(tensors: StateDict) -> StateDict:
    return {re.sub(r"^projection\.", "proj.", key): tensor for key, tensor in tensors.items()}


def _renamed_tower(tensors: StateDict, prefix: str) -> StateDict:
    return {
        key.replace("vision_model.", prefix, 1) if key.startswith("vision_model.") else key: tensor
        for key, tensor in tensors.items()
    }


def _projection_sizes(folder: Path, tensors: StateDict) -> tuple[int, int]:
    """Width of the context, and of the embedding joined with the camera."""
    if "proj.weight" not in tensors or tensors["proj.weight"].ndim != 2:
        raise CheckpointError(
            f"{folder}: expected the matrix proj.weight or projection.weight, "
            f"found {', '.join(sorted(tensors))}.",
            hint=_HINT,
        )
    width, joined = tensors["proj.weight"].shape
    return width, joined
