# SPDX-License-Identifier: GPL-3.0-or-later
"""The original checkpoint's key layout, from the names and shapes of a small network."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from one2345_blender.contracts.errors import CheckpointError
from one2345_blender.pipeline.zero123.convert_checkpoint import (
    CLIP_PREFIX,
    PROJECTION_PREFIX,
    UNET_PREFIX,
    VAE_PREFIX,
    load_ldm_checkpoint,
)
from one2345_blender.pipeline.zero123.network_configs import ORIGINAL_NETWORKS, build_networks
from one2345_blender.pipeline.zero123.original_names import (
    clip_names,
    projection_names,
    unet_names,
    vae_names,
)

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "zero123_sampler.npz") as tensors:
        return dict(tensors)


@pytest.fixture(scope="module")
def networks() -> dict[str, Any]:
    text = (GOLDEN / "zero123_small_config.json").read_text(encoding="utf-8")
    return build_networks(json.loads(text))


@pytest.fixture
def checkpoint(golden: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Every tensor filled with its own number."""
    lines = [line.split() for line in str(golden["ldm_keys"]).splitlines()]
    return {
        name: torch.full([int(size) for size in shape], float(number))
        for number, (name, *shape) in enumerate(lines)
    }


def test_every_tensor_finds_its_place(
    checkpoint: dict[str, torch.Tensor], networks: dict[str, Any]
) -> None:
    load_ldm_checkpoint(checkpoint, **networks)
    loaded = [value for n in networks.values() for value in n.state_dict().values()]
    numbers = {value.flatten()[0].item() for value in loaded}
    assert all((value == value.flatten()[0]).all() for value in loaded)
    assert numbers == {float(number) for number in range(len(checkpoint))}
    encoder_prefix = "cond_stage_model.model.visual.transformer.resblocks.1"
    expected = checkpoint[f"{encoder_prefix}.mlp.c_fc.bias"]
    state = networks["image_encoder"].state_dict()
    name = next(key for key in state if key.endswith("layers.1.mlp.fc1.bias"))
    assert torch.equal(state[name], expected)


def averaged_unet(checkpoint: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        "model_ema.diffusion_model" + key.removeprefix(UNET_PREFIX).replace(".", ""): value + 0.5
        for key, value in checkpoint.items()
        if key.startswith(UNET_PREFIX)
    }


def test_averaged_unet_is_preferred(
    checkpoint: dict[str, torch.Tensor], networks: dict[str, Any]
) -> None:
    counters = {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(7)}
    load_ldm_checkpoint(checkpoint | averaged_unet(checkpoint) | counters, **networks)
    bias = networks["unet"].state_dict()["conv_out.bias"]
    assert torch.equal(bias, checkpoint[f"{UNET_PREFIX}out.2.bias"] + 0.5)


def test_an_averaged_unet_is_complete_and_no_more(
    checkpoint: dict[str, torch.Tensor], networks: dict[str, Any]
) -> None:
    averaged = averaged_unet(checkpoint)
    surprise = {"model_ema.diffusion_modelsurprise": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"not expected.*diffusion_modelsurprise"):
        load_ldm_checkpoint(checkpoint | averaged | surprise, **networks)
    del averaged["model_ema.diffusion_modelout2bias"]
    with pytest.raises(CheckpointError, match=r"1 missing.*diffusion_modelout2bias"):
        load_ldm_checkpoint(checkpoint | averaged, **networks)


def test_what_only_training_needs_is_left_out(
    checkpoint: dict[str, torch.Tensor], networks: dict[str, Any]
) -> None:
    names = (
        *(
            "betas",
            "alphas_cumprod_prev",
            "sqrt_recip_alphas_cumprod",
            "log_one_minus_alphas_cumprod",
        ),
        *("posterior_variance", "scale_factor", "logvar", "cond_stage_model.mean"),
        "cond_stage_model.model.token_embedding.weight",
        "cond_stage_model.model.logit_scale",
    )
    load_ldm_checkpoint(checkpoint | dict.fromkeys(names, torch.zeros(1)), **networks)


def test_a_checkpoint_of_averaged_weights_alone_will_do(
    checkpoint: dict[str, torch.Tensor], networks: dict[str, Any]
) -> None:
    rest = {key: value for key, value in checkpoint.items() if not key.startswith(UNET_PREFIX)}
    load_ldm_checkpoint(rest | averaged_unet(checkpoint), **networks)
    bias = networks["unet"].state_dict()["conv_out.bias"]
    assert torch.equal(bias, checkpoint[f"{UNET_PREFIX}out.2.bias"] + 0.5)


def test_every_missing_tensor_is_named(
    checkpoint: dict[str, torch.Tensor], networks: dict[str, Any]
) -> None:
    """Each of the checkpoint's tensors in turn, by its name in the checkpoint."""
    for key in checkpoint:
        rest = {name: value for name, value in checkpoint.items() if name != key}
        with pytest.raises(CheckpointError) as caught:
            load_ldm_checkpoint(rest, **networks)
        assert f"1 missing ({key})" in caught.value.message


def published_keys() -> Iterator[tuple[str, str, str, tuple[int, ...] | None]]:
    """The original's name, network, its key there (one of three for CLIP's joined), shape."""
    with np.load(GOLDEN / "zero123_published_keys.npz") as golden:
        for line in str(golden["keys"]).splitlines():
            name, network, key, *shape = line.split()
            yield name, network, key, tuple(map(int, shape)) or None


def test_names_of_the_published_networks() -> None:
    """Every tensor of the networks at their published size has the name that the original has."""
    with torch.device("meta"):
        networks = build_networks(ORIGINAL_NETWORKS)
    ours = {
        (component, key.removeprefix("vision_model.")): prefix + name
        for component, names, prefix in (
            ("unet", unet_names, UNET_PREFIX),
            ("vae", vae_names, VAE_PREFIX),
            ("image_encoder", clip_names, CLIP_PREFIX),
            ("clip_camera_projection", projection_names, PROJECTION_PREFIX),
        )
        for key, name in names(networks[component]).items()
    }
    theirs = {(network, key): name for name, network, key, _ in published_keys()}
    assert ours == theirs


def test_a_published_checkpoint_fits_the_networks() -> None:
    with torch.device("meta"):
        networks = build_networks(ORIGINAL_NETWORKS)
        checkpoint = {
            name: torch.empty(shape) for name, _, _, shape in published_keys() if shape is not None
        }
    load_ldm_checkpoint(checkpoint, **networks)
    load_ldm_checkpoint(checkpoint | averaged_unet(checkpoint), **networks)


@pytest.mark.parametrize(
    "key",
    [
        "model.diffusion_model.surprise",
        "model.diffusion_model.input_blocks.12.0.op.weight",
        "model.diffusion_model.output_blocks.12.1.conv.bias",
        "first_stage_model.surprise",
        "first_stage_model.encoder.down.3.downsample.conv.bias",
        "first_stage_model.decoder.up.0.upsample.conv.bias",
        "cond_stage_model.model.visual.surprise",
        "cc_projection.surprise",
        "cond_stage_model.model.surprise",
        "surprise",
    ],
)
def test_surplus_tensor_is_named(
    checkpoint: dict[str, torch.Tensor], networks: dict[str, Any], key: str
) -> None:
    checkpoint[key] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=rf"1 not expected \({re.escape(key)}\)"):
        load_ldm_checkpoint(checkpoint, **networks)


def test_wrong_shape_is_named(
    checkpoint: dict[str, torch.Tensor], networks: dict[str, Any]
) -> None:
    right = checkpoint["cc_projection.weight"]
    checkpoint["cc_projection.weight"] = torch.zeros(768, 768)
    with pytest.raises(CheckpointError, match=r"\(768, 768\), expected \(768, 772\)"):
        load_ldm_checkpoint(checkpoint, **networks)
    joined = "cond_stage_model.model.visual.transformer.resblocks.0.attn.in_proj_weight"
    with pytest.raises(CheckpointError, match=r"in_proj_weight.*\(2, 64\), expected \(192, 64\)"):
        load_ldm_checkpoint(
            checkpoint | {"cc_projection.weight": right, joined: torch.zeros(2, 64)}, **networks
        )
