# SPDX-License-Identifier: GPL-3.0-or-later
"""Joins the trained networks into the embedded preset: one folder in the diffusers layout.

The segmenter lies there already: its training exports to it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from ..pipeline.pipeline_one2345 import One2345Pipeline
from ..pipeline.preset_folders import packaged_preset
from ..pipeline.reconstruction.reconstructor import SparseNeuSReconstructor
from ..pipeline.segmenter import ForegroundSegmenter
from .model_card import write_model_card
from .validate_views import validate_views
from .view_data import RigReader, read_split
from .view_generator import ViewGenerator

MIN_PART_FRACTION = 0.1
"""Of the largest part's faces; smaller ones are crumbs where the predicted views disagree."""
SMOOTHING_VOXELS = 0.5
"""Takes the terraces away; twice as much makes thin parts thinner."""


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.training assemble`."""
    parser = argparse.ArgumentParser(prog="assemble", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("out/training"))
    parser.add_argument("--output", type=Path, default=packaged_preset("embedded"))
    parser.add_argument("--steps-stage1", type=int, default=8)
    parser.add_argument("--steps-stage2", type=int, default=8)
    parser.add_argument("--guidance-scale", type=float, default=2.0)
    parser.add_argument("--grid-resolution", type=int, default=192)
    args = parser.parse_args(argv)
    generator = ViewGenerator.trained(args.data)
    views, encoders = generator.zero123, generator.encoders
    pipeline = One2345Pipeline(
        **views.components,
        reconstruction=SparseNeuSReconstructor.from_pretrained(
            args.data / "reconstruction" / "export"
        ),
        segmenter=ForegroundSegmenter.from_pretrained(args.output / "segmenter"),
        photo_lifter=encoders.lifter,
        photo_elevation=encoders.elevation,
        eta=views.config.eta,
        drops_largest_timestep=views.config.drops_largest_timestep,
        initial_noise_scale=views.config.initial_noise_scale,
        num_inference_steps_stage1=args.steps_stage1,
        num_inference_steps_stage2=args.steps_stage2,
        guidance_scale=args.guidance_scale,
        resynthesises_input=False,
        reconstructs_from_input=True,
        carves_input_silhouette=True,
        fills_input_silhouette=True,
        colors_from_input=True,
        elevation_source="photo",
        grid_resolution=args.grid_resolution,
    )
    pipeline.reconstruction.register_to_config(
        min_part_fraction=MIN_PART_FRACTION, smoothing_voxels=SMOOTHING_VOXELS
    )
    unseen = RigReader(args.data, read_split(args.data, "val"), rigs_per_asset=1).read_new()
    view_scores = validate_views(
        pipeline.zero123,
        encoders.guesses(unseen),
        unseen,
        args.data / "views" / "sheet_assembled.png",
        num_inference_steps=args.steps_stage1,
        guidance_scale=args.guidance_scale,
    )
    pipeline.to(torch.float16).save_pretrained(args.output, safe_serialization=True)
    _forget_paths(args.output)
    write_model_card(args.data, args.output, pipeline.components, view_scores)
    print(f"wrote {args.output}")


def _forget_paths(preset_dir: Path) -> None:
    """Drop the folders of this machine that diffusers notes in the configurations it saves."""
    for path in preset_dir.glob("*/config.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        if config.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
