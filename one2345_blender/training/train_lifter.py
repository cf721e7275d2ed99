# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the photo lifter: which places behind a photo's pixels are inside, and what colour is."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn
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
from .run_folder import RunFolder
from .training_loop import TrainingLoop, share_of
from .training_options import TrainingOptions, parse_options
from .validate_lifter import validate_lifter
from .view_data import read_split, view_size_px

BATCH_SIZE = 16
PEAK_LEARNING_RATE = 1e-3
COLOR_WEIGHT = 5.0
VIEW_WEIGHT = 3.0
"""More makes fog of what is uncertain: it scores well, and hides the surface."""
NUM_RAY_SAMPLES = 32
READ_EVERY_S = 240.0
VALIDATE_EVERY_S = 600.0


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.training lifter`."""
    train_lifter(parse_options("lifter", __doc__, argv))


def train_lifter(options: TrainingOptions) -> Path:
    """Train, then write the averaged network in diffusers' layout.

    Args:
        options: `data` holds `renders` and `split.json`; the run goes to `lifter` in it, its
            examples to `lifting`.

    Returns:
        The folder of the network.
    """
    run = RunFolder(options.data / "lifter")
    reader = PhotoReader(
        options.data, share_of(read_split(options.data, "train"), options), options.rigs_per_asset
    )
    first = reader.read_new()
    data, num_objects = join_photos(first), len(first)
    objective = LiftingObjective(PhotoLifter(view_size_px(options.data), num_depths=NUM_DEPTHS))
    objective.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = copy.deepcopy(objective).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(
        objective.parameters(), betas=(0.9, 0.99), weight_decay=0.01, fused=True
    )
    loop = TrainingLoop(
        run,
        objective,
        optimizer,
        options,
        batch_size=BATCH_SIZE,
        peak_rate=PEAK_LEARNING_RATE,
        decay_fraction=0.5,
        averaged=averaged,
    )
    loop.saw(num_objects)
    loop.log(event="start", photos=len(data.photo), parameters=averaged.network.num_parameters())

    def read_new() -> None:
        nonlocal data, num_objects
        new = reader.read_new()
        data, num_objects = join_photos([data, *new]), num_objects + len(new)
        loop.saw(num_objects)

    def export_and_score() -> None:
        averaged.network.save_pretrained(run.path / "photo_lifter")
        sheet_path = run.path / f"sheet_{loop.progress.step}.png"
        scores = validate_lifter(averaged.network, options.data, sheet_path)
        loop.log(photos=len(data.photo), scores=scores)

    loop.every(READ_EVERY_S, read_new, everywhere=True)
    loop.every(VALIDATE_EVERY_S, export_and_score, at_end=True)
    loop.take_steps(lambda slots: draw_batch(data, slots))
    return run.path / "photo_lifter"


class LiftingObjective(nn.Module):
    """What the lifter learns: cross-entropy where the photo shows the object, squared colour errors
    on its surface and in another view of it."""

    def __init__(self, network: PhotoLifter) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: LiftingBatch) -> dict[str, Tensor]:
        """Losses, every example counting the same."""
        with torch.autocast(batch.photo.device.type, torch.bfloat16):
            lifted = self.network(batch.photo)
        logit = lifted.logit[:, 0]
        block = lifted.cover.shape[-1] // logit.shape[-1]
        cover = F.max_pool2d(lifted.cover, block).expand_as(logit)
        errors = F.binary_cross_entropy_with_logits(
            logit, batch.is_inside, weight=cover, reduction="none"
        )
        inside = (errors.sum((1, 2, 3)) / cover.sum((1, 2, 3)).clamp_min(1.0)).mean()
        _, rgb = lifted.at(batch.surface_points)
        color = F.mse_loss(rgb, batch.surface_rgb)
        K = subsampled_intrinsics(OTHER_VIEW_SIZE_PX, batch.photo.shape[-1] // OTHER_VIEW_SIZE_PX)
        shown = lifted.render(
            batch.photo_from_view, K.to(logit.device), OTHER_VIEW_SIZE_PX, NUM_RAY_SAMPLES
        )
        view = F.mse_loss(shown, batch.view)
        loss = inside + COLOR_WEIGHT * color + VIEW_WEIGHT * view
        return {"loss": loss, "inside": inside, "color": color, "view": view}
