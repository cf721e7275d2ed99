# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the photo lifter: which places behind a photo's pixels are inside, and what colour is."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from ..pipeline.lifting.photo_lifter import PhotoLifter
from ..pipeline.lifting.radiance import subsampled_intrinsics
from .lifting_data import (
    NUM_DEPTHS,
    OTHER_VIEW_SIZE_PX,
    LiftingBatch,
    PhotoReader,
    draw_batch,
    join_photos,
)
from .run_folder import RunFolder, run_options
from .training_loop import TrainingLoop, average_weights
from .validate_lifter import validate_lifter

BATCH_SIZE = 16
PEAK_LEARNING_RATE = 1e-3
COLOR_WEIGHT = 5.0
VIEW_WEIGHT = 10.0
NUM_RAY_SAMPLES = 32
READ_EVERY_S = 240.0
VALIDATE_EVERY_S = 600.0


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.training lifter`."""
    args = run_options("lifter", __doc__).parse_args(argv)
    torch.set_num_threads(args.threads)
    train_lifter(
        args.data, minutes=args.minutes, resume=args.resume, rigs_per_asset=args.rigs_per_asset
    )


def train_lifter(data_dir: Path, *, minutes: float, resume: bool, rigs_per_asset: int) -> Path:
    """Train, then write the averaged network in diffusers' layout.

    Args:
        data_dir: Holds `renders` and `split.json`; the run goes to `lifter` in it, its examples
            to `lifting`.
        minutes: Time of the whole run, sittings before a resumption included.
        resume: Go on from the saved state.
        rigs_per_asset: At most so many rigs of each object are read.

    Returns:
        The folder of the network.
    """
    run = RunFolder(data_dir / "lifter")
    rng = np.random.default_rng()
    reader = PhotoReader(data_dir, "train", rigs_per_asset)
    data = join_photos(reader.read_new())
    network = PhotoLifter(num_depths=NUM_DEPTHS)
    network.to(memory_format=torch.channels_last)
    averaged = copy.deepcopy(network).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(
        network.parameters(), betas=(0.9, 0.99), weight_decay=0.01, fused=True
    )
    run.log(event="start", photos=len(data.photo), parameters=network.num_parameters())
    loop = TrainingLoop(
        run,
        {"network": network, "averaged": averaged},
        optimizer,
        minutes=minutes,
        resume=resume,
        batch_size=BATCH_SIZE,
        peak_rate=PEAK_LEARNING_RATE,
        decay_fraction=0.5,
    )

    def step() -> dict[str, float]:
        losses = train_step(network, optimizer, draw_batch(data, BATCH_SIZE, rng))
        average_weights(averaged, network, loop.progress.step)
        return losses

    def read_new() -> None:
        nonlocal data
        data = join_photos([data, *reader.read_new()])

    def export_and_score() -> None:
        averaged.save_pretrained(run.path / "photo_lifter")
        sheet_path = run.path / f"sheet_{loop.progress.step}.png"
        loop.log(photos=len(data.photo), scores=validate_lifter(averaged, data_dir, sheet_path))

    loop.every(READ_EVERY_S, read_new)
    loop.every(VALIDATE_EVERY_S, export_and_score)
    loop.take_steps(step)
    export_and_score()
    return run.path / "photo_lifter"


def train_step(
    network: PhotoLifter, optimizer: torch.optim.Optimizer, batch: LiftingBatch
) -> dict[str, float]:
    """One step; returns the losses.

    Cross-entropy counts where the photo shows the object, squared colour errors on its surface and
    in another view of it.
    """
    with torch.autocast("cpu", torch.bfloat16):
        lifted = network(batch.photo)
    logit = lifted.logit[:, 0]
    cover = F.max_pool2d(lifted.cover, lifted.cover.shape[-1] // logit.shape[-1]).expand_as(logit)
    inside_loss = F.binary_cross_entropy_with_logits(logit, batch.is_inside, weight=cover)
    inside_loss = inside_loss * cover.numel() / cover.sum()
    _, rgb = lifted.at(batch.surface_points)
    color_loss = F.mse_loss(rgb, batch.surface_rgb)
    K = subsampled_intrinsics(OTHER_VIEW_SIZE_PX, batch.photo.shape[-1] // OTHER_VIEW_SIZE_PX)
    view = lifted.render(batch.photo_from_view, K, OTHER_VIEW_SIZE_PX, NUM_RAY_SAMPLES)
    view_loss = F.mse_loss(view, batch.view)
    loss = inside_loss + COLOR_WEIGHT * color_loss + VIEW_WEIGHT * view_loss
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return {
        "inside": inside_loss.item(),
        "color": color_loss.item(),
        "view": view_loss.item(),
    }
