# SPDX-License-Identifier: GPL-3.0-or-later
"""Would the views lose less if steps reused features of the step before than if there were fewer?

DeepCache (arXiv 2312.00858) computes only the UNet's outermost level in some steps and takes what
comes up from below from the step before. Here every second step of the fast sampler does so, on
the demo's photo, and is compared with fewer whole steps. The truth is the same sampler with many
steps. What is reused is computed all the same, so the seconds say nothing; what a step would save
is counted on the published UNet.

    python -m benchmarks.feature_reuse --preset embedded
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.view_evaluations import published_inputs, published_unet
from one2345_blender.contracts.job import FAST_SAMPLER
from one2345_blender.evaluation.samplers import mean_psnr_db
from one2345_blender.pipeline.model_cache import ModelCache
from one2345_blender.pipeline.pipeline_one2345 import One2345Pipeline
from one2345_blender.pipeline.source_image import read_source_image
from one2345_blender.pipeline.zero123.folded_attention import fold_one_token_attention

PHOTO = Path(__file__).parents[1] / "docs" / "demo" / "coffee.jpg"
ELEVATION_DEG = 45.0
TRUE_STEPS = (48, 36)
SETTINGS = (
    ((16, 12), False),
    ((13, 10), False),
    ((11, 8), False),
    ((16, 12), True),
    ((24, 18), True),
)
"""Steps of the 8 views and of the near views, whether every second reuses features; the first is
the default, which the others' operations are shares of."""
OUTERMOST = ("conv_in", "down_blocks.0", "up_blocks.3", "conv_out")
"""Parts of the published UNet that a step with reused features would run."""


class FeatureReuse:
    """While attached, every second step gives its last level what came from below in the step
    before; counts the views that the UNet evaluates."""

    def __init__(self, unet: torch.nn.Module, *, is_on: bool) -> None:
        self.num_whole = self.num_reusing = 0
        self._is_on = is_on
        self._is_reusing = False
        self._timestep = -1
        self._features = torch.empty(0)
        self._handles = (
            unet.register_forward_pre_hook(self._begin_step),
            unet.up_blocks[-2].register_forward_hook(self._reuse),
        )

    def detach(self) -> None:
        """Let the UNet compute everything again."""
        for handle in self._handles:
            handle.remove()

    def _begin_step(self, _: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        latents, timestep = inputs[:2]
        goes_on = int(timestep) < self._timestep
        self._is_reusing = self._is_on and goes_on and not self._is_reusing
        self._timestep = int(timestep)
        if self._is_reusing:
            self.num_reusing += len(latents)
        else:
            self.num_whole += len(latents)

    def _reuse(self, _: torch.nn.Module, __: object, features: torch.Tensor) -> torch.Tensor:
        if not self._is_reusing:
            self._features = features
        return self._features[-len(features) :]  # the conditional half where guidance has ended


def main(argv: list[str]) -> None:
    """Print what reuse and fewer steps save, and how far the views end from many steps'."""
    parser = argparse.ArgumentParser(prog="benchmarks.feature_reuse", description=__doc__)
    parser.add_argument("--preset", default="embedded", help="name or folder")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args(argv)
    share = outermost_share()
    print(f"a step that reuses features would take {share:.0%} of a whole one's operations\n")
    pipeline = ModelCache().get(args.preset, args.device)
    pipeline.register_to_config(initial_noise_scale=1.0)
    truth, _ = views(pipeline, TRUE_STEPS)
    print("| steps | features | operations | PSNR to the views of many steps, dB |")
    print("|---|---|---|---|")
    whole_cost = None
    for steps, is_on in SETTINGS:
        rgb, reuse = views(pipeline, steps, reuses_features=is_on)
        cost = reuse.num_whole + share * reuse.num_reusing
        whole_cost = whole_cost or cost
        features = "reused in every second step" if is_on else "computed"
        psnr = mean_psnr_db(truth, rgb)
        print(f"| {steps[0]} and {steps[1]} | {features} | {cost / whole_cost:.2f} | {psnr:.2f} |")


@torch.no_grad()
def views(
    pipeline: One2345Pipeline, steps: tuple[int, int], *, reuses_features: bool = False
) -> tuple[NDArray[np.uint8], FeatureReuse]:
    """The synthesised views `(39, S, S, 3)` of the photo by the fast sampler, and the counts."""
    photo = pipeline.prepare(read_source_image(PHOTO))
    two_stages = pipeline.two_stages(
        photo,
        seed=0,
        elevation_deg=ELEVATION_DEG,
        sampler=FAST_SAMPLER,
        steps_stage1=steps[0],
        steps_stage2=steps[1],
    )
    reuse = FeatureReuse(pipeline.unet, is_on=reuses_features)
    try:
        synthesised, _ = pipeline.synthesise(two_stages, ELEVATION_DEG)
    finally:
        reuse.detach()
    return synthesised.rgb[1:], reuse  # the first view is the photo itself


def outermost_share() -> float:
    """The share of the published UNet's operations in its outermost level."""
    with torch.device("meta"):
        unet = published_unet()
        inputs = published_inputs(unet, "meta")
    fold_one_token_attention(unet)
    with FlopCounterMode(display=False, depth=2) as counter, torch.no_grad():
        unet(*inputs)
    flop = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    name = type(unet).__name__
    return sum(flop[f"{name}.{part}"] for part in OUTERMOST) / flop[name]


if __name__ == "__main__":
    main(sys.argv[1:])
