# SPDX-License-Identifier: GPL-3.0-or-later
"""Joins the trained networks into the embedded preset: one folder in the diffusers layout.

The reconstruction and the segmenter lie there already: their trainings export their best states.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from ..pipeline.pipeline_one2345 import One2345Pipeline
from ..pipeline.preset_folders import packaged_preset
from ..pipeline.reconstruction.reconstructor import SparseNeuSReconstructor
from ..pipeline.segmenter import ForegroundSegmenter
from ..pipeline.zero123.pipeline_zero123 import Zero123Pipeline
from .model_card import write_model_card


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.training assemble`."""
    parser = argparse.ArgumentParser(prog="assemble", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("out/training"))
    parser.add_argument("--output", type=Path, default=packaged_preset("embedded"))
    parser.add_argument("--steps-stage1", type=int, default=16)
    parser.add_argument("--steps-stage2", type=int, default=10)
    parser.add_argument("--guidance-scale", type=float, default=2.0)
    parser.add_argument("--grid-resolution", type=int, default=128)
    args = parser.parse_args(argv)
    views = Zero123Pipeline.from_pretrained(args.data / "views" / "pipeline")
    pipeline = One2345Pipeline(
        **views.components,
        reconstruction=SparseNeuSReconstructor.from_pretrained(args.output / "reconstruction"),
        segmenter=ForegroundSegmenter.from_pretrained(args.output / "segmenter"),
        eta=views.config.eta,
        drops_largest_timestep=views.config.drops_largest_timestep,
        initial_noise_scale=views.config.initial_noise_scale,
        num_inference_steps_stage1=args.steps_stage1,
        num_inference_steps_stage2=args.steps_stage2,
        guidance_scale=args.guidance_scale,
        resynthesises_input=False,
        grid_resolution=args.grid_resolution,
    )
    pipeline.to(torch.float16).save_pretrained(args.output, safe_serialization=True)
    write_model_card(args.data, args.output, pipeline.components)
    print(f"wrote {args.output}")
