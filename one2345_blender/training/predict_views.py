# SPDX-License-Identifier: GPL-3.0-or-later
"""Predicts the near views of training objects, for the reconstruction network to learn from.

Several processes share the objects out.

The network meets such views, with all their flaws, when it is used (paper section 3.3: rendered and
predicted views are mixed).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from ..contracts.job_folder import atomic_write
from ..pipeline.two_stage_views import view_generator
from ..pipeline.view_schedule import (
    LEVEL_OFFSETS,
    NEAR_OFFSETS,
    NUM_STAGE1_VIEWS,
    tilted_offsets,
)
from ..pipeline.zero123.image_conditioning import whiten_background
from .sampling_options import add_sampling, drawing_as_asked
from .training_loop import own_share
from .view_data import RigReader, RigViews, drawing_chances, read_split
from .view_generator import ViewGenerator

OBJECTS_PER_BATCH = 4
NUM_VALIDATION_OBJECTS = 8


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.training predict`."""
    parser = argparse.ArgumentParser(prog="predict", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("out/training"), help="training data")
    parser.add_argument(
        "--preset", type=Path, help="its Zero123 in place of the one that was trained in the data"
    )
    parser.add_argument("--minutes", type=float, required=True, help="stop after so long")
    add_sampling(parser)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    generator = (
        ViewGenerator.of_preset(args.preset, args.data)
        if args.preset
        else ViewGenerator.trained(args.data)
    )
    generator = drawing_as_asked(generator, args)
    output_dir = args.data / "predicted"
    output_dir.mkdir(exist_ok=True)
    deadline = time.monotonic() + 60.0 * args.minutes
    count = 0
    for rigs in _unpredicted_rigs(args.data, output_dir):
        if time.monotonic() > deadline:
            break
        near_rgb = predict_near_views(generator, rigs)
        for asset_id, rgb in zip(rigs.asset_ids, near_rgb, strict=True):
            with atomic_write(output_dir / f"{asset_id}.npz") as file:
                np.savez(file, rgb=rgb[None])
        count += len(near_rgb)
        print(f"{count} objects, last {rigs.asset_ids[-1]}", flush=True)


def predict_near_views(generator: ViewGenerator, rigs: RigViews) -> np.ndarray:
    """The 32 near views of several objects, through both stages as the method does it.

    Their cameras are the true ones, where an estimate would turn the guesses away from them. In use
    views, guess and mesh stand by the same estimate, however wrong.

    Args:
        generator: Trained.
        rigs: View 0 of each is the photo; their other views are not looked at.

    Returns:
        `(R, 32, H, W, 3)` uint8, view by view.
    """

    guesses = generator.guesses(rigs, knows_elevation=True)

    def synthesise(rgb: np.ndarray, views: slice, offsets: list, stage: str) -> np.ndarray:
        guess_rgb = None if guesses is None else guesses[:, views].reshape(-1, *rgb.shape[1:])
        with torch.autocast(generator.zero123.device.type, torch.bfloat16):
            return generator.zero123(
                rgb,
                [o.d_polar_deg for o in offsets],
                [o.d_azimuth_deg for o in offsets],
                guess_rgb=guess_rgb,
                generator=[view_generator(0, f"{stage}{i}") for i in range(len(offsets))],
                num_inference_steps=generator.sampling.num_inference_steps,
                guidance_scale=generator.sampling.guidance_scale,
            )

    photos = rigs.rgb[:, 0]
    around = [
        o
        for elevation_deg in rigs.photo_elevation_deg
        for o in (*LEVEL_OFFSETS, *tilted_offsets(float(elevation_deg)))
    ]
    stage1_rgb = synthesise(photos, np.s_[:NUM_STAGE1_VIEWS], around, "stage1")
    if not generator.resynthesises_input:
        stage1_rgb[::NUM_STAGE1_VIEWS] = photos
    near = list(NEAR_OFFSETS) * len(stage1_rgb)
    near_rgb = synthesise(whiten_background(stage1_rgb), np.s_[NUM_STAGE1_VIEWS:], near, "near")
    return near_rgb.reshape(len(photos), -1, *photos.shape[1:])


def _unpredicted_rigs(data_dir: Path, output_dir: Path) -> Iterator[RigViews]:
    """The first rigs of objects that have no predictions yet, some at a time.

    Some validation objects come first: the best state of the reconstruction is chosen by them. The
    others follow in an order that mixes the libraries as the trainings do: the time may end before
    all are done.
    """
    names = read_split(data_dir, "train")
    waiting = np.random.default_rng(0).exponential(size=len(names)) / drawing_chances(names)
    parts = (
        own_share(read_split(data_dir, "val")[:NUM_VALIDATION_OBJECTS]),
        own_share([names[index] for index in waiting.argsort()]),
    )
    for part in parts:
        missing = [name for name in part if not (output_dir / f"{name}.npz").is_file()]
        reader = RigReader(data_dir, missing, rigs_per_asset=1)
        while (rigs := reader.read_new(max_assets=OBJECTS_PER_BATCH)).asset_ids:
            yield rigs
