# SPDX-License-Identifier: GPL-3.0-or-later
"""Every second evaluation by the outermost level alone: exact where nothing below it changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel

from benchmarks.view_evaluations import (
    SMALL_NETWORKS,
    VIEW_SIZE_PX,
    count_evaluations,
    evaluations_counted,
    flop_of_outermost_level,
    flop_per_evaluation,
    small_pipeline,
)
from one2345_blender.contracts.job import FAST_SAMPLER, REFERENCE_SAMPLER
from one2345_blender.pipeline.pipeline_one2345 import One2345Pipeline
from one2345_blender.pipeline.zero123.feature_reuse import FeatureReuse
from one2345_blender.pipeline.zero123.network_configs import (
    ORIGINAL_NETWORKS,
    ORIGINAL_SCHEDULER,
    build_networks,
)
from one2345_blender.pipeline.zero123.offloading import offload_networks
from one2345_blender.pipeline.zero123.pipeline_zero123 import Zero123Pipeline

SIZE = 16
UNETS: dict[str, dict[str, Any]] = {
    "attention outside, as published": {
        **ORIGINAL_NETWORKS["unet"],
        "block_out_channels": (32, 32, 32, 32),
    },
    "attention below, camera labels": {
        **SMALL_NETWORKS["unet"],
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": 12,
    },
}


def unet_and_inputs(name: str, num_views: int) -> tuple[UNet2DConditionModel, list[torch.Tensor]]:
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**UNETS[name]).eval()
    inputs = [
        torch.randn(num_views, 8, SIZE, SIZE),
        torch.tensor(500),
        torch.randn(num_views, 1, unet.config.cross_attention_dim),
    ]
    if unet.config.class_embed_type is not None:
        inputs.append(torch.randn(num_views, 12))
    return unet, inputs


@pytest.mark.parametrize("name", UNETS)
@torch.no_grad()
def test_the_outermost_level_gives_the_whole_with_its_own_features(name: str) -> None:
    unet, inputs = unet_and_inputs(name, 4)
    whole = unet(*inputs).sample
    reusing = FeatureReuse(unet)
    with evaluations_counted(unet) as counted:
        assert torch.equal(reusing(*inputs).sample, whole)
        torch.testing.assert_close(reusing(*inputs).sample, whole)
    assert (counted.whole, counted.outermost) == (4, 4)


@torch.no_grad()
def test_calls_are_whole_and_outermost_in_turn() -> None:
    unet, inputs = unet_and_inputs("attention outside, as published", 2)
    sample, timestep, context = inputs
    reusing = FeatureReuse(unet)
    reusing(*inputs)
    other = -sample
    second = reusing(other, timestep, context).sample
    whole = unet(other, timestep, context).sample
    assert not torch.allclose(second, whole, atol=1e-3), "features of the call before"
    assert torch.equal(reusing(other, timestep, context).sample, whole)


@torch.no_grad()
def test_after_guidance_the_conditional_half_goes_on() -> None:
    unet, inputs = unet_and_inputs("attention below, camera labels", 4)
    reusing = FeatureReuse(unet)
    whole = reusing(*inputs).sample
    conditional = [tensor if tensor.ndim == 0 else tensor[2:] for tensor in inputs]
    torch.testing.assert_close(reusing(*conditional).sample, whole[2:])


def sampled(pipeline: Zero123Pipeline, sampler: str, steps: int) -> np.ndarray:
    photo = np.random.default_rng(0).integers(0, 256, (1, VIEW_SIZE_PX, VIEW_SIZE_PX, 3), np.uint8)
    return pipeline(
        photo,
        [0.0, 30.0],
        [90.0, 210.0],
        generator=torch.Generator().manual_seed(1),
        num_inference_steps=steps,
        sampler=sampler,
    )


def four_level_zero123(**options: Any) -> Zero123Pipeline:
    torch.manual_seed(0)
    unet = UNETS["attention outside, as published"] | {"cross_attention_dim": 16}
    return Zero123Pipeline(
        **build_networks(SMALL_NETWORKS | {"unet": unet}),
        scheduler=DDIMScheduler(**ORIGINAL_SCHEDULER),
        **options,
    )


def test_views_are_the_same_where_the_levels_below_say_always_the_same() -> None:
    pipeline = four_level_zero123(fast_reuses_features=True, fast_guided_share=0.6)
    torch.nn.init.zeros_(pipeline.unet.up_blocks[-2].upsamplers[0].conv.weight)
    with evaluations_counted(pipeline.unet) as counted:
        reused = sampled(pipeline, FAST_SAMPLER, 5)
    assert (counted.whole, counted.outermost) == (4 + 4 + 2, 4 + 2)
    pipeline.register_to_config(fast_reuses_features=False)
    with evaluations_counted(pipeline.unet) as counted:
        computed = sampled(pipeline, FAST_SAMPLER, 5)
    assert (counted.whole, counted.outermost) == (4 + 4 + 4 + 2 + 2, 0)
    assert np.abs(reused.astype(int) - computed).max() <= 1


def test_the_reference_sampler_computes_all_features() -> None:
    pipeline = four_level_zero123(fast_reuses_features=True)
    with evaluations_counted(pipeline.unet) as counted:
        sampled(pipeline, REFERENCE_SAMPLER, 5)
    assert counted.outermost == 0


def test_offloaded_networks_reuse_features_too() -> None:
    pipeline = four_level_zero123(fast_reuses_features=True)
    views = sampled(pipeline, FAST_SAMPLER, 4)
    offload_networks(pipeline, torch.device("cpu"))
    np.testing.assert_array_equal(sampled(pipeline, FAST_SAMPLER, 4), views)


def test_a_preset_s_setting_reaches_the_sampler(tmp_path) -> None:
    pipeline = small_pipeline()
    computed = count_evaluations(pipeline, FAST_SAMPLER)
    pipeline.register_to_config(fast_reuses_features=True)
    pipeline.save_pretrained(tmp_path)
    reusing = count_evaluations(One2345Pipeline.from_pretrained(tmp_path), FAST_SAMPLER)
    assert reusing.whole + reusing.outermost == computed.whole
    assert reusing.outermost > 0.4 * computed.whole


def test_the_outermost_level_has_a_third_of_the_operations() -> None:
    assert 0.25 < flop_of_outermost_level() / flop_per_evaluation(is_folded=True) < 0.35
