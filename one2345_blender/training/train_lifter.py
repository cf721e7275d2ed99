# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the photo lifter: where a photo's object is, what lies behind that, and its colours.

A new one, or the one of a preset's folder further.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor
from torch import Tensor, nn
from torch.nn import functional as F

from ..contracts.errors import OptionError
from ..pipeline.lifting.photo_lifter import PhotoLifter
from ..pipeline.lifting.radiance import subsampled_intrinsics
from ..pipeline.model_cache import load_pipeline
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
from .training_options import TrainingOptions, add_start_from, options_from, options_parser
from .validate_lifter import validate_lifter
from .view_data import drawing_chances, read_split, require_rendered_size, view_size_px

BATCH_SIZE = 16
PEAK_LEARNING_RATE = 1e-3
FURTHER_LEARNING_RATE = 5e-4
"""For a network that was trained before."""
RELIEF_WEIGHT = 3.0
COLOR_WEIGHT = 5.0
VIEW_WEIGHT = 3.0
"""More makes fog of what is uncertain: it scores well, and hides the surface."""
NUM_RAY_SAMPLES = 32
READ_EVERY_S = 240.0
VALIDATE_EVERY_S = 600.0


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.training lifter`."""
    parser = options_parser("lifter", __doc__)
    add_start_from(parser, "train the network of this preset's folder further")
    args = parser.parse_args(argv)
    train_lifter(options_from(args), args.start_from)


def train_lifter(options: TrainingOptions, start_from: Path | None = None) -> Path:
    """Train, then write the averaged network in diffusers' layout.

    Args:
        options: `data` holds `renders` and `split.json`; the run goes to `lifter` in it, its
            examples to `lifting`.
        start_from: The folder of a preset whose network is trained further.

    Returns:
        The folder of the network.
    """
    run = RunFolder(options.data / "lifter")
    reader = PhotoReader(
        options.data, share_of(read_split(options.data, "train"), options), options.rigs_per_asset
    )
    first = reader.read_first()
    data, num_objects = join_photos(first), len(first)
    chances = drawing_chances(reader.asset_ids)
    objective = LiftingObjective(_network(options.data, start_from))
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
        peak_rate=PEAK_LEARNING_RATE if start_from is None else FURTHER_LEARNING_RATE,
        decay_fraction=0.5,
        averaged=averaged,
    )
    loop.saw(num_objects)
    loop.log(
        event="start",
        photos=len(data.photo),
        parameters=averaged.network.num_parameters(),
        started_from=start_from and str(start_from),
    )

    def read_new() -> None:
        nonlocal data, num_objects, chances
        if new := reader.read_new():
            data, num_objects = join_photos([data, *new]), num_objects + len(new)
            chances = drawing_chances(reader.asset_ids)
        loop.saw(num_objects)

    def export_and_score() -> None:
        averaged.network.save_pretrained(run.path / "photo_lifter")
        sheet_path = run.path / f"sheet_{loop.progress.step}.png"
        scores = validate_lifter(averaged.network, options.data, sheet_path)
        loop.log(photos=len(data.photo), scores=scores)

    loop.every(READ_EVERY_S, read_new, everywhere=True)
    loop.every(VALIDATE_EVERY_S, export_and_score, at_end=True)
    loop.take_steps(lambda slots: draw_batch(data, slots, chances))
    return run.path / "photo_lifter"


def _network(data_dir: Path, preset_dir: Path | None) -> PhotoLifter:
    """A new one for the renders' size, or the preset's; with the attention that trains faster.

    Raises:
        CheckpointError: The folder is no preset, or not whole.
        OptionError: The preset has no lifter, or one of another size or number of bins.
    """
    if preset_dir is None:
        network = PhotoLifter(view_size_px(data_dir), num_depths=NUM_DEPTHS)
    else:
        preset = load_pipeline(preset_dir, torch.device("cpu"), needs_reconstruction=False)
        if preset.photo_lifter is None:
            raise OptionError(
                f"The preset {preset_dir} draws its views without guesses: it has no lifter.",
                hint="Train one without --start-from.",
            )
        network = preset.photo_lifter.train().requires_grad_(True)
        require_rendered_size(data_dir, preset_dir, network.config.image_size_px)
        if network.config.num_depths != NUM_DEPTHS:
            raise OptionError(
                f"The lifter of {preset_dir} has {network.config.num_depths} depth bins, the "
                f"examples have {NUM_DEPTHS}.",
                hint="Train one without --start-from.",
            )
    for part in network.modules():
        if isinstance(part, Attention):
            part.set_processor(AttnProcessor())
    return network


class LiftingObjective(nn.Module):
    """What the lifter learns: absolute errors of the visible surface's depth, cross-entropy behind
    it, squared colour errors on the surface and in another view of the object.

    How far away the whole object is remains doubtful; errors of the depth count more once what
    they have in common is taken away.
    """

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
        is_front = batch.front_depth > 0
        front, relief = _depth_errors(lifted.front_depth - batch.front_depth, is_front)
        _, rgb = lifted.at(batch.surface_points)
        color = F.mse_loss(rgb, batch.surface_rgb)
        K = subsampled_intrinsics(OTHER_VIEW_SIZE_PX, batch.photo.shape[-1] // OTHER_VIEW_SIZE_PX)
        shown = lifted.render(
            batch.photo_from_view, K.to(logit.device), OTHER_VIEW_SIZE_PX, NUM_RAY_SAMPLES
        )
        view = F.mse_loss(shown, batch.view)
        loss = front + RELIEF_WEIGHT * relief + inside + COLOR_WEIGHT * color + VIEW_WEIGHT * view
        return {
            "loss": loss,
            "front": front,
            "relief": relief,
            "inside": inside,
            "color": color,
            "view": view,
        }


def _depth_errors(error: Tensor, is_front: Tensor) -> tuple[Tensor, Tensor]:
    """Mean absolute error of depths, and of their differences from each photo's mean error.

    Args:
        error: `(B, 1, h, w)`.
        is_front: Where it counts.
    """
    share = is_front / is_front.sum((1, 2, 3), keepdim=True).clamp_min(1.0)
    common = (share * error).sum((1, 2, 3), keepdim=True)
    front, relief = ((share * e.abs()).sum() / len(e) for e in (error, error - common))
    return front, relief
