# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the photo lifter: which places behind a photo's pixels are inside, and what colour is."""

from __future__ import annotations

import copy
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..pipeline.lifting.photo_lifter import PhotoLifter
from .lifting_data import (
    NUM_DEPTHS,
    LiftingBatch,
    cached_photos,
    draw_batch,
    join_photos,
    load_photos,
)
from .run_folder import RunFolder, RunProgress, learning_rate, run_options
from .validate_lifter import validate_lifter
from .view_data import read_split

BATCH_SIZE = 16
PEAK_LEARNING_RATE = 1e-3
COLOR_WEIGHT = 5.0
MAX_EMA_DECAY = 0.998
LOG_EVERY_STEPS = 50
SAVE_EVERY_S = 300.0
VALIDATE_EVERY_S = 600.0


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.training lifter`."""
    args = run_options("lifter", __doc__).parse_args(argv)
    torch.set_num_threads(args.threads)
    train_lifter(args.data, minutes=args.minutes, resume=args.resume)


def train_lifter(data_dir: Path, *, minutes: float, resume: bool) -> Path:
    """Train, then write the averaged network in diffusers' layout.

    Args:
        data_dir: Holds `renders`, `split.json` and the trained `elevation/photo_elevation`; the
            run goes to `lifter` in it, its examples to `lifting`.
        minutes: Time of the whole run, sittings before a resumption included.
        resume: Go on from the saved state.

    Returns:
        The folder of the network.
    """
    run = RunFolder(data_dir / "lifter")
    rng = np.random.default_rng()
    data = join_photos(
        [load_photos(cached_photos(data_dir, name)) for name in read_split(data_dir, "train")]
    )
    network = PhotoLifter(num_depths=NUM_DEPTHS)
    network.to(memory_format=torch.channels_last)
    averaged = copy.deepcopy(network).eval().requires_grad_(False)
    modules: dict[str, nn.Module] = {"network": network, "averaged": averaged}
    optimizer = torch.optim.AdamW(
        network.parameters(), betas=(0.9, 0.99), weight_decay=0.01, fused=True
    )
    progress = run.restore(modules, optimizer) if resume else RunProgress()
    run.log(event="start", photos=len(data.photo), parameters=network.num_parameters())
    total_s = 60.0 * minutes
    saved_at_s = validated_at_s = progress.seconds
    recent: list[dict[str, float]] = []
    while progress.seconds < total_s:
        started = time.monotonic()
        rate = learning_rate(PEAK_LEARNING_RATE, progress, total_s, decay_fraction=0.5)
        for group in optimizer.param_groups:
            group["lr"] = rate
        recent.append(train_step(network, optimizer, draw_batch(data, BATCH_SIZE, rng)))
        decay = min(MAX_EMA_DECAY, (progress.step + 1) / (progress.step + 10))
        torch._foreach_lerp_(
            [p.data for p in averaged.parameters()],
            [p.data for p in network.parameters()],
            weight=1.0 - decay,
        )
        progress.step += 1
        progress.images += BATCH_SIZE
        progress.seconds += time.monotonic() - started
        if progress.step % LOG_EVERY_STEPS == 0:
            run.log(
                step=progress.step,
                images=progress.images,
                seconds=round(progress.seconds),
                **{k: round(float(np.mean([r[k] for r in recent])), 4) for k in recent[0]},
                learning_rate=rate,
            )
            recent.clear()
        if progress.seconds - saved_at_s > SAVE_EVERY_S:
            run.save(progress, modules, optimizer)
            averaged.save_pretrained(run.path / "photo_lifter")
            saved_at_s = progress.seconds
        if progress.seconds - validated_at_s > VALIDATE_EVERY_S:
            validated_at_s = progress.seconds
            scores = validate_lifter(averaged, data_dir, run.path / f"sheet_{progress.step}.png")
            run.log(event="validation", step=progress.step, scores=scores)
    run.save(progress, modules, optimizer)
    averaged.save_pretrained(run.path / "photo_lifter")
    scores = validate_lifter(averaged, data_dir, run.path / "sheet.png")
    run.log(event="end", step=progress.step, images=progress.images, scores=scores)
    return run.path / "photo_lifter"


def train_step(
    network: PhotoLifter, optimizer: torch.optim.Optimizer, batch: LiftingBatch
) -> dict[str, float]:
    """One step; returns the losses.

    Cross-entropy counts where the photo shows the object, squared colour errors on its surface.
    """
    with torch.autocast("cpu", torch.bfloat16):
        lifted = network(batch.photo)
    logit = lifted.logit[:, 0]
    cover = F.max_pool2d(lifted.cover, lifted.cover.shape[-1] // logit.shape[-1]).expand_as(logit)
    inside_loss = F.binary_cross_entropy_with_logits(logit, batch.is_inside, weight=cover)
    inside_loss = inside_loss * cover.numel() / cover.sum()
    _, rgb = lifted.at(batch.surface_points)
    color_loss = F.mse_loss(rgb, batch.surface_rgb)
    loss = inside_loss + COLOR_WEIGHT * color_loss
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return {"inside": inside_loss.item(), "color": color_loss.item()}
