# SPDX-License-Identifier: GPL-3.0-or-later
"""The fast sampler: the reference's views in the limit, in a fifth of the evaluations."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler
from diffusers.models.attention_processor import AttnProcessor2_0

from benchmarks.solver_error import known_distribution, median_error, solve
from benchmarks.view_evaluations import VIEW_SIZE_PX, count_evaluations, flop_per_evaluation
from benchmarks.view_evaluations import small_pipeline as published_settings
from one2345_blender.contracts.job import FAST_SAMPLER, REFERENCE_SAMPLER
from one2345_blender.pipeline.pipeline_one2345 import One2345Pipeline
from one2345_blender.pipeline.zero123.camera_projection import camera_condition
from one2345_blender.pipeline.zero123.fast_solver import fast_solver
from one2345_blender.pipeline.zero123.folded_attention import OneTokenAttention
from one2345_blender.pipeline.zero123.network_configs import ORIGINAL_SCHEDULER
from one2345_blender.pipeline.zero123.pipeline_zero123 import Zero123Pipeline

ORIGINAL_EVALUATIONS = 4352
LARGEST_FAST_EVALUATIONS = 900
ORIGINAL_GFLOP = 176
LATENT_SIZE = VIEW_SIZE_PX // 2


@pytest.fixture(scope="module")
def published() -> One2345Pipeline:
    """Small untrained networks with the published preset's settings."""
    torch.manual_seed(0)
    return published_settings()


def denoised(pipeline: Zero123Pipeline, sampler: str, steps: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(1, 3, VIEW_SIZE_PX, VIEW_SIZE_PX, generator=generator) * 2.0 - 1.0
    camera = camera_condition(torch.tensor([0.0, 30.0]), torch.tensor([90.0, 210.0]))
    with torch.no_grad():
        return pipeline.denoise(
            torch.randn(2, 4, LATENT_SIZE, LATENT_SIZE, generator=generator),
            pipeline.encode_condition(images, camera, image_of_view=[0] * len(camera)),
            generator=generator,
            num_inference_steps=steps,
            guidance_scale=3.0,
            sampler=sampler,
        )


@torch.no_grad()
def test_folded_attention_is_exact(published: One2345Pipeline) -> None:
    zero123 = published.zero123
    unet, generator = published.unet, torch.Generator().manual_seed(0)
    inputs = (
        torch.randn(3, 8, LATENT_SIZE, LATENT_SIZE, generator=generator),
        torch.tensor([1, 500, 976]),
        torch.randn(3, 1, unet.config.cross_attention_dim, generator=generator),
    )
    folded = unet(*inputs).sample
    processors = zero123.unet.attn_processors
    assert sum(isinstance(p, OneTokenAttention) for p in processors.values()) * 2 == len(processors)
    unet.set_attn_processor(AttnProcessor2_0())
    try:
        torch.testing.assert_close(folded, unet(*inputs).sample, atol=1e-5, rtol=1e-5)
    finally:
        unet.set_attn_processor(processors)


def test_attention_to_several_tokens_is_left_alone(published: One2345Pipeline) -> None:
    unet = published.unet
    patched = type(published.clip_camera_projection)(
        published.image_encoder.config.projection_dim,
        unet.config.cross_attention_dim,
        patch_token_dim=published.image_encoder.config.hidden_size,
    )
    parts = published.zero123.components | {"clip_camera_projection": patched}
    unet.set_attn_processor(AttnProcessor2_0())
    Zero123Pipeline(**parts)
    assert all(isinstance(p, AttnProcessor2_0) for p in unet.attn_processors.values())


def test_more_steps_come_nearer_to_the_reference(published: One2345Pipeline) -> None:
    """DDIM without noise goes the same way: with many steps it is the truth for both."""
    pipeline = published.zero123
    pipeline.register_to_config(eta=0.0, fast_guided_share=1.0, drops_largest_timestep=False)
    truth = denoised(pipeline, REFERENCE_SAMPLER, 250)
    errors = [
        (denoised(pipeline, FAST_SAMPLER, steps) - truth).square().mean().sqrt().item()
        for steps in (4, 16, 64)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.05 * truth.std().item()
    reference = (denoised(pipeline, REFERENCE_SAMPLER, 16) - truth).square().mean().sqrt().item()
    assert errors[1] < reference


def test_twelve_steps_end_nearer_to_a_known_solution_than_the_originals_seventy_five() -> None:
    pipeline = known_distribution()
    truth = solve(pipeline, REFERENCE_SAMPLER, 250, 1.0)
    fast = solve(pipeline, FAST_SAMPLER, 12, 0.65)
    reference = solve(pipeline, REFERENCE_SAMPLER, 75, 1.0)
    assert median_error(fast, truth) < median_error(reference, truth) < 0.02


def test_a_schedule_that_ends_in_noise_has_steps_of_equal_length() -> None:
    schedule = DDIMScheduler(beta_schedule="squaredcos_cap_v2", rescale_betas_zero_snr=True)
    assert fast_solver(schedule, 4).timesteps.tolist() == [999, 749, 499, 249]
    published = fast_solver(DDIMScheduler(**ORIGINAL_SCHEDULER), 4).timesteps.tolist()
    assert published == sorted(published, reverse=True)
    assert published[0] == 999 and published[-1] < 10


def test_guidance_ends_where_the_share_says(published: One2345Pipeline) -> None:
    pipeline = published.zero123
    batches: list[int] = []
    handle = pipeline.unet.register_forward_pre_hook(lambda _, x: batches.append(len(x[0])))
    pipeline.register_to_config(fast_guided_share=0.5)
    denoised(pipeline, FAST_SAMPLER, 5)
    handle.remove()
    assert batches == [4, 4, 4, 2, 2]


def test_fast_evaluations_stay_within_the_budget(published: One2345Pipeline) -> None:
    counted = count_evaluations(published, FAST_SAMPLER)
    assert 0 < counted.whole <= LARGEST_FAST_EVALUATIONS and counted.outermost == 0


def test_evaluations_of_the_original(published: One2345Pipeline) -> None:
    assert count_evaluations(published, REFERENCE_SAMPLER).whole == ORIGINAL_EVALUATIONS


def test_operations_of_the_published_unet() -> None:
    flop = flop_per_evaluation(is_folded=False)
    assert round(flop / 1e9) == ORIGINAL_GFLOP
    assert flop_per_evaluation(is_folded=True) < flop
