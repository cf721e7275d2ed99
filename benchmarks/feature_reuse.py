# SPDX-License-Identifier: GPL-3.0-or-later
"""Do the views lose less if steps reuse features of the step before than if there are fewer?

The fast sampler on the demo's photo, with reused features (`FeatureReuse`) and with fewer whole
steps. The truth is the same sampler with many whole steps. Operations are the published UNet's.

    python -m benchmarks.feature_reuse --preset embedded
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.view_evaluations import (
    Evaluations,
    evaluations_counted,
    flop_of_outermost_level,
    flop_per_evaluation,
)
from one2345_blender.contracts.job import FAST_SAMPLER
from one2345_blender.pipeline.model_cache import ModelCache
from one2345_blender.pipeline.pipeline_one2345 import One2345Pipeline
from one2345_blender.pipeline.source_image import read_source_image
from one2345_blender.training.picture_scores import psnr_db

PHOTO = Path(__file__).parents[1] / "docs" / "demo" / "coffee.jpg"
ELEVATION_DEG = 45.0
TRUE_STEPS = (48, 36)
SETTINGS = (
    ((16, 12), False),
    ((13, 10), False),
    ((11, 8), False),
    ((16, 12), True),
    ((18, 14), True),
    ((20, 15), True),
    ((24, 18), True),
)
"""Steps of the 8 views and of the near views, whether every second reuses features; the first is
the default, which the others' operations are shares of."""


def main(argv: list[str]) -> None:
    """Print what reuse and fewer steps save, and how far the views end from many steps'."""
    parser = argparse.ArgumentParser(prog="benchmarks.feature_reuse", description=__doc__)
    parser.add_argument("--preset", default="embedded", help="name or folder")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args(argv)
    whole, outermost = flop_per_evaluation(is_folded=True), flop_of_outermost_level()
    print(f"the outermost level has {outermost / whole:.0%} of the operations\n")
    pipeline = ModelCache().get(args.preset, args.device)
    pipeline.register_to_config(initial_noise_scale=1.0, strength=1.0)
    truth, _ = views(pipeline, TRUE_STEPS)
    print("| steps | features | operations | PSNR to the views of many steps, dB |")
    print("|---|---|---|---|")
    default_flop = None
    for steps, reuses_features in SETTINGS:
        rgb, counted = views(pipeline, steps, reuses_features=reuses_features)
        flop = counted.operations(whole, outermost)
        default_flop = default_flop or flop
        features = "reused in every second step" if reuses_features else "computed"
        psnr = psnr_db(truth, rgb).mean()
        print(
            f"| {steps[0]} and {steps[1]} | {features} | {flop / default_flop:.2f} | {psnr:.2f} |"
        )


@torch.no_grad()
def views(
    pipeline: One2345Pipeline, steps: tuple[int, int], *, reuses_features: bool = False
) -> tuple[NDArray[np.uint8], Evaluations]:
    """The synthesised views `(39, S, S, 3)` of the photo by the fast sampler, and its work."""
    pipeline.register_to_config(fast_reuses_features=reuses_features)
    photo = pipeline.prepare(read_source_image(PHOTO))
    two_stages = pipeline.two_stages(
        photo,
        seed=0,
        elevation_deg=ELEVATION_DEG,
        sampler=FAST_SAMPLER,
        steps_stage1=steps[0],
        steps_stage2=steps[1],
    )
    with evaluations_counted(pipeline.unet) as counted:
        synthesised, _ = pipeline.synthesise(two_stages, ELEVATION_DEG)
    return synthesised.rgb[1:], counted  # the first view is the photo itself


if __name__ == "__main__":
    main(sys.argv[1:])
