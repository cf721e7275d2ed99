# SPDX-License-Identifier: GPL-3.0-or-later
"""How far both samplers end from the true solution, where that is known.

The published noise schedule and the package's sampling loop, but in place of the UNet the exact
denoiser of a distribution that is written down: small pictures of one object, each with a little
noise. Conditional are the near views of one side, unconditional all of them. The truth is DDIM
without noise in 500 steps. So the error is the solver's alone, no network's.

    python -m benchmarks.solver_error
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.view_evaluations import small_pipeline
from one2345_blender.contracts.job import FAST_SAMPLER, REFERENCE_SAMPLER
from one2345_blender.evaluation.parity import read_excerpt_scene
from one2345_blender.pipeline.view_schedule import NUM_NEAR_VIEWS
from one2345_blender.pipeline.zero123.pipeline_zero123 import ViewCondition, Zero123Pipeline

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
SIZE_PX = 16
DATA_DEVIATION = 0.1
"""Of the noise on each picture, whose own values have a deviation of 1."""
TRUE_STEPS = 500
GUIDANCE_SCALE = 3.0
NUM_STARTS = 32
SETTINGS = (
    (REFERENCE_SAMPLER, 16, 1.0),
    (REFERENCE_SAMPLER, 50, 1.0),
    (REFERENCE_SAMPLER, 75, 1.0),
    (FAST_SAMPLER, 8, 1.0),
    (FAST_SAMPLER, 12, 1.0),
    (FAST_SAMPLER, 12, 0.65),
    (FAST_SAMPLER, 12, 0.5),
    (FAST_SAMPLER, 16, 0.65),
)
"""Sampler, steps, guided share of them."""


class KnownDistribution(Zero123Pipeline):
    """Predicts the noise exactly; the context's only number is a side's index, 0 for all sides."""

    pictures: Tensor
    """`(N, C, h, w)`, `NUM_NEAR_VIEWS` of each side one after the other."""

    def predict(self, latents: Tensor, timestep: Tensor, condition: ViewCondition) -> Tensor:
        """The expected noise `(B, C, h, w)` in `latents`."""
        alpha = self.scheduler.alphas_cumprod[timestep]
        variance = alpha * DATA_DEVIATION**2 + 1.0 - alpha
        noisy, pictures = latents.flatten(1), self.pictures.flatten(1)
        distance = torch.cdist(noisy, alpha.sqrt() * pictures)
        side = condition.context[:, 0].round().long()
        sides = 1 + torch.arange(len(pictures)) // NUM_NEAR_VIEWS
        distance = distance.masked_fill((side > 0) & (side != sides), torch.inf)
        picture = torch.softmax(-distance.square() / (2.0 * variance), dim=1) @ pictures
        shift = alpha.sqrt() * DATA_DEVIATION**2 / variance * (noisy - alpha.sqrt() * picture)
        noise = (noisy - alpha.sqrt() * (picture + shift)) / (1.0 - alpha).sqrt()
        return noise.view_as(latents)


def known_distribution() -> KnownDistribution:
    """Of the 32 near views of the golden scene."""
    images, _, _ = read_excerpt_scene(GOLDEN)
    small = F.interpolate(torch.from_numpy(images).double() / 255.0, (SIZE_PX,) * 2, mode="area")
    pipeline = KnownDistribution(**small_pipeline().zero123.components, eta=0.0)
    pipeline.pictures = (small - small.mean()) / small.std()
    return pipeline


def solve(pipeline: KnownDistribution, sampler: str, steps: int, guided_share: float) -> Tensor:
    """Where a sampler goes from `NUM_STARTS` fixed starts, `(B, C, h, w)`."""
    pipeline.register_to_config(fast_guided_share=guided_share)
    generator = torch.Generator().manual_seed(0)
    channels, *size = pipeline.pictures.shape[1:]
    start = torch.randn(NUM_STARTS, channels, *size, generator=generator, dtype=torch.float64)
    num_sides = len(pipeline.pictures) // NUM_NEAR_VIEWS
    side = 1.0 + torch.arange(NUM_STARTS) % num_sides
    return pipeline.denoise(
        start,
        ViewCondition(latents=start, context=side[:, None, None], class_labels=None),
        generator=generator,
        num_inference_steps=steps,
        guidance_scale=GUIDANCE_SCALE,
        sampler=sampler,
    )


def median_error(solution: Tensor, truth: Tensor) -> float:
    """Over the starts, of the root mean square difference."""
    return float((solution - truth).square().mean(dim=(1, 2, 3)).sqrt().median())


def main() -> None:
    """Print a table of errors."""
    pipeline = known_distribution()
    truth = solve(pipeline, REFERENCE_SAMPLER, TRUE_STEPS, 1.0)
    print(f"deviation of the true solutions: {truth.std():.2f}\n")
    print("| sampler | steps asked for | guided | median error |\n|---|---|---|---|")
    for sampler, steps, share in SETTINGS:
        error = median_error(solve(pipeline, sampler, steps, share), truth)
        print(f"| {sampler} | {steps} | {share:.0%} | {error:.4f} |")


if __name__ == "__main__":
    main()
