# SPDX-License-Identifier: GPL-3.0-or-later
"""The DDIM loop, with a small untrained UNet, against the formulas written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    UNet2DConditionModel,
)
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from one2345_blender.contracts.errors import Cancelled, OptionError
from one2345_blender.contracts.job import SAMPLERS
from one2345_blender.pipeline.zero123.camera_projection import (
    CLIPCameraProjection,
    camera_condition,
)
from one2345_blender.pipeline.zero123.image_conditioning import images_from_rgb
from one2345_blender.pipeline.zero123.network_configs import ORIGINAL_SCHEDULER
from one2345_blender.pipeline.zero123.pipeline_zero123 import Zero123Pipeline
from one2345_blender.pipeline.zero123.timesteps import fewest_steps, set_timesteps
from one2345_blender.training.view_networks import new_scheduler

SIZE_PX = 16
GUIDANCE_SCALE = 3.0

GOLDEN = Path(__file__).parents[1] / "golden" / "zero123_sampler.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as tensors:
        return dict(tensors)


def small_pipeline(*, eta: float = 1.0, has_camera_labels: bool = False) -> Zero123Pipeline:
    torch.manual_seed(0)
    return Zero123Pipeline(
        vae=AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(8, 16),
            norm_num_groups=4,
        ).eval(),
        image_encoder=CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=16,
                intermediate_size=16,
                projection_dim=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                image_size=SIZE_PX,
                patch_size=8,
            )
        ).eval(),
        unet=UNet2DConditionModel(
            sample_size=SIZE_PX // 2,
            in_channels=8,
            out_channels=4,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=2,
            norm_num_groups=4,
            class_embed_type="projection" if has_camera_labels else None,
            projection_class_embeddings_input_dim=12 if has_camera_labels else None,
        ).eval(),
        clip_camera_projection=CLIPCameraProjection(
            16,
            16,
            patch_token_dim=16 if has_camera_labels else None,
            num_camera_octaves=1 if has_camera_labels else 0,
        ).eval(),
        scheduler=DDIMScheduler(**ORIGINAL_SCHEDULER),
        eta=eta,
    )


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (1, SIZE_PX, SIZE_PX, 3), np.uint8)


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@pytest.mark.parametrize("num_steps", [75, 50, 8])
def test_timesteps_equal_the_original(golden: dict[str, np.ndarray], num_steps: int) -> None:
    scheduler = DDIMScheduler(**ORIGINAL_SCHEDULER)
    set_timesteps(scheduler, num_steps, drops_largest=True)
    assert scheduler.timesteps.tolist() == golden[f"timesteps_{num_steps}"].tolist()


def test_a_step_is_left_when_the_largest_is_dropped() -> None:
    scheduler = DDIMScheduler(**ORIGINAL_SCHEDULER)
    with pytest.raises(OptionError, match=r"at least 2.*got 1") as caught:
        set_timesteps(scheduler, 1, drops_largest=True)
    assert "fast sampler" in caught.value.hint
    for drops_largest in (False, True):
        set_timesteps(
            scheduler, fewest_steps(drops_largest=drops_largest), drops_largest=drops_largest
        )
        assert len(scheduler.timesteps) == 1


def test_all_timesteps_are_the_schedules() -> None:
    scheduler = new_scheduler()
    for num_steps in (1, 4, 122, 206, 999, 1000):
        set_timesteps(scheduler, num_steps, drops_largest=False)
        assert len(scheduler.timesteps) == num_steps
        assert scheduler.timesteps.min() >= 0 and scheduler.timesteps[0] == 999
    with pytest.raises(OptionError, match=r"1000 timesteps.*1001"):
        set_timesteps(scheduler, 1001, drops_largest=False)


def test_step_noise_equals_the_original(golden: dict[str, np.ndarray]) -> None:
    """One draw for each step from one generator, the whole batch at once."""
    generator = torch.Generator().manual_seed(20)
    drawn = torch.stack([torch.randn(2, 4, 32, 32, generator=generator) for _ in range(7)])
    np.testing.assert_array_equal(drawn[:, :, 0, 0, :4].numpy(), golden["noise_seed20_corner"])


@torch.no_grad()
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_loop_follows_the_formulas_of_ddim(eta: float) -> None:
    pipeline = small_pipeline(eta=eta)
    camera = camera_condition(torch.tensor([0.0, 30.0]), torch.tensor([90.0, 210.0]))
    condition = pipeline.encode_condition(
        images_from_rgb(picture()), camera, image_of_view=[0] * len(camera)
    )
    start = torch.randn(2, 4, 8, 8)
    latents = pipeline.denoise(
        start,
        condition,
        generator=torch.Generator().manual_seed(3),
        num_inference_steps=8,
        guidance_scale=GUIDANCE_SCALE,
    )
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alphas = torch.cumprod(1.0 - betas, 0)
    noise_generator = torch.Generator().manual_seed(3)
    expected = start.clone()
    for timestep in range(751, 0, -125):
        alpha = alphas[timestep]
        alpha_next = alphas[timestep - 125] if timestep > 125 else alphas[0]
        conditional, unconditional = (
            pipeline.unet(
                torch.cat([expected, kept * condition.latents], dim=1),
                timestep,
                kept * condition.context,
            ).sample
            for kept in (1.0, 0.0)
        )
        eps = unconditional + GUIDANCE_SCALE * (conditional - unconditional)
        sigma = eta * ((1 - alpha_next) / (1 - alpha) * (1 - alpha / alpha_next)).sqrt()
        clean = (expected - (1 - alpha).sqrt() * eps) / alpha.sqrt()
        expected = alpha_next.sqrt() * clean + (1 - alpha_next - sigma**2).sqrt() * eps
        expected = expected + sigma * torch.randn(start.shape, generator=noise_generator)
        expected = expected.float()
    torch.testing.assert_close(latents, expected, atol=1e-4, rtol=1e-4)


def test_same_seed_gives_the_same_view_in_any_batch() -> None:
    pipeline = small_pipeline()
    options = {"num_inference_steps": 3, "guidance_scale": 2.0}
    together = pipeline(picture(), [0.0, 30.0], [90.0, 30.0], generator=generators(1, 2), **options)
    alone = pipeline(picture(), [30.0], [30.0], generator=generators(2), **options)
    assert np.abs(together[1].astype(int) - alone[0]).max() <= 1
    again = pipeline(picture(), [0.0, 30.0], [90.0, 30.0], generator=generators(1, 2), **options)
    np.testing.assert_array_equal(together, again)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_networks_alone_compute_in_half_precision(
    monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    """Latents, noise and steps of the scheduler stay float32, as under the original's autocast."""
    pipeline = small_pipeline(has_camera_labels=True)
    for network in (pipeline.unet, pipeline.vae, pipeline.image_encoder):
        nn.Module.to(network, torch.bfloat16)
    nn.Module.to(pipeline.clip_camera_projection, torch.bfloat16)
    in_unet, in_steps = set(), set()
    pipeline.unet.register_forward_pre_hook(lambda _, inputs: in_unet.add(inputs[0].dtype))
    for scheduler in (DDIMScheduler, DPMSolverMultistepScheduler):
        step = scheduler.step

        def observed(self, prediction, timestep, latents, step=step, **options):
            noise = options.get("variance_noise", latents)
            in_steps.update({prediction.dtype, latents.dtype, noise.dtype})
            return step(self, prediction, timestep, latents, **options)

        monkeypatch.setattr(scheduler, "step", observed)
    options = {"num_inference_steps": 4, "guidance_scale": 2.0, "sampler": sampler}
    views = pipeline(picture(), [30.0], [30.0], generator=generators(1), **options)
    assert views.shape == (1, SIZE_PX, SIZE_PX, 3)
    assert in_unet == {torch.bfloat16} and in_steps == {torch.float32}


def test_offsets_are_grouped_by_picture() -> None:
    pipeline = small_pipeline(eta=0.0, has_camera_labels=True)
    pictures = np.concatenate([picture(0), picture(1)])
    options = {"num_inference_steps": 3, "guidance_scale": 2.0}
    both = pipeline(
        pictures, [0.0] * 4, [0.0, 90.0] * 2, generator=generators(1, 2, 3, 4), **options
    )
    second = pipeline(picture(1), [0.0] * 2, [0.0, 90.0], generator=generators(3, 4), **options)
    assert both.shape == (4, SIZE_PX, SIZE_PX, 3)
    assert np.abs(both[2:].astype(int) - second).max() <= 1


def test_camera_changes_the_view() -> None:
    pipeline = small_pipeline(has_camera_labels=True)
    views = [
        pipeline(
            picture(),
            [0.0],
            [azimuth_deg],
            generator=generators(5),
            num_inference_steps=2,
            guidance_scale=1.0,
        )
        for azimuth_deg in (0.0, 180.0)
    ]
    assert (views[0] != views[1]).any()


def test_cancelling_stops_the_loop() -> None:
    steps_seen = []

    def cancel_after_two(step: int, steps: int) -> None:
        steps_seen.append((step, steps))
        if step == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        small_pipeline()(
            picture(),
            [0.0],
            [0.0],
            generator=generators(0),
            num_inference_steps=8,
            on_step=cancel_after_two,
        )
    assert steps_seen == [(1, 7), (2, 7)]


@pytest.mark.parametrize(
    ("image_rgb", "polar", "azimuth", "seeds"),
    [
        (picture()[0], [0.0], [0.0], (1,)),
        (picture().astype(np.float32), [0.0], [0.0], (1,)),
        (np.repeat(picture(), 2, axis=0), [0.0] * 3, [0.0] * 3, (1, 2, 3)),
        (picture(), [0.0, 0.0], [0.0], (1, 2)),
        (picture(), [0.0, 0.0], [0.0, 0.0], (1,)),
        (picture(), [], [], ()),
        (picture()[:0], [0.0], [0.0], (1,)),
    ],
)
def test_counts_that_do_not_fit_are_refused(
    image_rgb: np.ndarray, polar: list[float], azimuth: list[float], seeds: tuple[int, ...]
) -> None:
    with pytest.raises(OptionError):
        small_pipeline()(image_rgb, polar, azimuth, generator=generators(*seeds))


def test_without_initial_noise_a_view_is_drawn_in_one_step_whatever_the_seed() -> None:
    pipeline = small_pipeline(eta=0.0)
    pipeline.register_to_config(initial_noise_scale=0.0, drops_largest_timestep=False)
    options = {"num_inference_steps": 1, "guidance_scale": 1.0}
    views = [
        pipeline(picture(), [30.0], [30.0], generator=generators(s), **options) for s in (1, 2)
    ]
    np.testing.assert_array_equal(*views)
    with pytest.raises(OptionError, match="one step"):
        pipeline(picture(), [30.0], [30.0], generator=generators(1), num_inference_steps=3)
