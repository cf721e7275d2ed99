# SPDX-License-Identifier: GPL-3.0-or-later
"""Joins the trained networks into the embedded preset: one folder in the diffusers layout.

What was not trained anew is taken from the preset that lies there already.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL

from ..contracts.errors import OptionError
from ..pipeline.lifting.photo_elevation import PhotoElevation
from ..pipeline.lifting.photo_lifter import PhotoLifter
from ..pipeline.model_cache import load_pipeline
from ..pipeline.pipeline_one2345 import One2345Pipeline
from ..pipeline.preset_folders import MODEL_INDEX, packaged_preset
from ..pipeline.reconstruction.reconstructor import SparseNeuSReconstructor
from ..pipeline.segmenter import ForegroundSegmenter
from .model_card import write_model_card
from .run_folder import PROGRESS_NAME
from .sampling_options import add_sampling, drawing_as_asked
from .validate_views import VIEWS_BY_KIND, validate_views
from .view_data import RigReader, read_split
from .view_generator import TRAINED_TOGETHER, ViewGenerator
from .view_recipes import Sampling

TRAINED = {
    "vae": (AutoencoderKL, "decoder/vae"),
    "photo_elevation": (PhotoElevation, "elevation/photo_elevation"),
    "photo_lifter": (PhotoLifter, "lifter/photo_lifter"),
    "reconstruction": (SparseNeuSReconstructor, "reconstruction/export"),
    "segmenter": (ForegroundSegmenter, "segmenter/segmenter"),
}
"""Networks that have a run of their own, and where it leaves them."""
MIN_PART_FRACTION = 0.02
"""Of the largest part's faces; smaller ones are crumbs where the predicted views disagree. With 0.1
a folding chair's legs were dropped, too."""
SMOOTHING_VOXELS = 0.5
"""Takes the terraces away; twice as much makes thin parts thinner."""
GUESS_SHARE = 0.5
"""Of the guess's distance in the mesh's."""


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.training assemble`."""
    parser = argparse.ArgumentParser(prog="assemble", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("out/training"))
    parser.add_argument("--output", type=Path, default=packaged_preset("embedded"))
    parser.add_argument("--grid-resolution", type=int, default=192)
    add_sampling(parser)
    args = parser.parse_args(argv)
    pipeline = _joined(args.data, args.output, args.grid_resolution)
    generator = drawing_as_asked(ViewGenerator.of_pipeline(pipeline), args)
    if generator.is_drawn_otherwise:
        pipeline.register_to_config(**generator.sampling.in_preset())
    unseen = RigReader(args.data, read_split(args.data, "val"), rigs_per_asset=1).read_new()
    view_scores = validate_views(
        generator.zero123,
        generator.guesses(unseen),
        unseen,
        args.data / "sheet_assembled.png",
        generator.sampling,
        VIEWS_BY_KIND,
    )
    pipeline.to(torch.float16).save_pretrained(args.output, safe_serialization=True)
    _forget_paths(args.output)
    write_model_card(args.data, args.output, pipeline.components, view_scores)
    print(f"wrote {args.output}")


def _joined(data_dir: Path, preset_dir: Path, grid_resolution: int) -> One2345Pipeline:
    """The preset with what the runs in `data_dir` trained.

    Raises:
        OptionError: There is no preset yet, and not every network was trained.
    """
    networks: dict[str, Any] = {}
    if (preset_dir / MODEL_INDEX).is_file():
        preset = load_pipeline(preset_dir, torch.device("cpu"))
        networks, sampling = dict(preset.components), Sampling.of_preset(preset.config)
    if (data_dir / "views" / PROGRESS_NAME).is_file():
        generator = ViewGenerator.trained(data_dir)
        networks |= dict(generator.zero123.components)
        sampling = generator.sampling
    for name, (kind, folder) in TRAINED.items():
        network_dir = data_dir / folder
        if (network_dir.parent / PROGRESS_NAME).is_file():
            if not network_dir.is_dir():
                raise OptionError(
                    f"The training in {network_dir.parent} has left no {folder} yet.",
                    hint="Let it come to its end, or move its folder away.",
                )
            networks[name] = kind.from_pretrained(network_dir)
    if missing := sorted({*TRAINED, *TRAINED_TOGETHER} - networks.keys()):
        raise OptionError(
            f"{preset_dir} is no preset yet, and of its networks {', '.join(missing)} were not "
            f"trained in {data_dir}.",
            hint="Run the other trainings first.",
        )
    pipeline = One2345Pipeline(
        **networks,
        **sampling.in_preset(),
        eta=0.0,
        resynthesises_input=False,
        reconstructs_from_input=True,
        carves_input_silhouette=True,
        fills_input_silhouette=True,
        colors_from_input=True,
        elevation_source="photo",
        grid_resolution=grid_resolution,
    )
    pipeline.reconstruction.register_to_config(
        iso_level=0.0,
        guess_share=GUESS_SHARE,
        min_part_fraction=MIN_PART_FRACTION,
        smoothing_voxels=SMOOTHING_VOXELS,
    )
    return pipeline


def _forget_paths(preset_dir: Path) -> None:
    """Drop the folders of this machine that diffusers notes in the configurations it saves."""
    for path in preset_dir.glob("*/config.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        if config.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
