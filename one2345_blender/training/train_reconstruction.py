# SPDX-License-Identifier: GPL-3.0-or-later
"""Train the embedded reconstruction network: the original's, in a cube around the object.

Where the original learns from rendered rays for days on GPUs, this learns from depth directly: the
truncated signed distance at random points and the true colour at surface points, one rig a step.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..pipeline.lifting.photo_lifter import PhotoLifter
from ..pipeline.reconstruction.geometry_volume import GeometryVolume
from ..pipeline.reconstruction.reconstructor import SparseNeuSReconstructor
from .framing import MAX_OBJECT_RADIUS, VIEW_SIZE_PX
from .reconstruction_data import ReconstructionData, ReconstructionExample
from .run_folder import RunFolder
from .training_loop import TrainingLoop
from .validate_reconstruction import mean_scores, validate
from .view_data import rendered_ids

SURFACE_SEARCH_STRIDE = 4
MODULE_NAME = "reconstructor"
COLOR_WEIGHT = 0.2
INSIDE_WEIGHT = 2.0
"""Of points inside the object: views that contradict each other would carve too much away."""
GRADIENT_NORM_LIMIT = 1.0


def embedded_reconstructor(
    volume_size: int, image_size_px: int = VIEW_SIZE_PX
) -> SparseNeuSReconstructor:
    """The network of the embedded preset; its weights fit any volume and image size."""
    return SparseNeuSReconstructor(
        image_size_px=image_size_px,
        volume_size=volume_size,
        voxel_size=None,
        volume_bounds="sphere",
        volume_radius=MAX_OBJECT_RADIUS,
        takes_guess=True,
        surface_search_stride=SURFACE_SEARCH_STRIDE,
    )


def losses(
    reconstructor: SparseNeuSReconstructor, example: ReconstructionExample
) -> dict[str, Tensor]:
    """`sdf`: weighted mean absolute error in volume units; `color`: mean absolute error."""
    sources = example.sources
    volume = reconstructor.encode(
        sources.rgb, sources.c2w, sources.K, sources.reference_c2w, guess=sources.guess
    )
    frame = volume.frame
    sdf = reconstructor.sdf(volume, frame.to_volume(example.points))
    surface = frame.to_volume(example.surface_points)
    color = reconstructor.color(volume, surface, _normals(reconstructor, volume, surface))
    error = (sdf - example.sdf / frame.radius).abs()
    weight = torch.where(example.sdf < 0, INSIDE_WEIGHT, 1.0)
    return {
        "sdf": (weight * error).mean(),
        "color": F.l1_loss(color, example.surface_rgb),
    }


def _normals(
    reconstructor: SparseNeuSReconstructor, volume: GeometryVolume, points: Tensor
) -> Tensor:
    """Unit gradients of the signed distance (P,3), as constants."""
    _, gradient = reconstructor.sdf_and_gradient(volume, points)
    return F.normalize(gradient.detach(), dim=-1, eps=1e-6)


def main(argv: list[str]) -> None:
    """Train for `--minutes` in all, over as many sittings as it takes."""
    parser = argparse.ArgumentParser(prog="train-reconstruction", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("out/training"))
    parser.add_argument("--run", type=Path, default=Path("out/training/reconstruction"))
    parser.add_argument("--export", type=Path, help="folder for the weights of the best state")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--validate-every-minutes", type=float, default=8.0)
    parser.add_argument("--num-validation-objects", type=int, default=6)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--decay-fraction", type=float, default=0.5)
    parser.add_argument("--volume-size", type=int, default=64, help="voxels per axis in training")
    parser.add_argument("--image-size", type=int, default=VIEW_SIZE_PX, help="px, in training")
    parser.add_argument("--export-volume-size", type=int, default=64)
    parser.add_argument("--num-sources", type=int, nargs=2, default=(8, 16), metavar=("MIN", "MAX"))
    parser.add_argument("--num-points", type=int, default=8192)
    parser.add_argument("--num-surface-points", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args(argv)
    train(options)


def train(options: argparse.Namespace) -> None:
    """The loop: one example a step, validation and export now and then."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    run = RunFolder(options.run)
    reconstructor = embedded_reconstructor(options.volume_size, options.image_size)
    optimizer = torch.optim.Adam(reconstructor.parameters(), betas=(0.9, 0.99))
    loop = TrainingLoop(
        run,
        {MODULE_NAME: reconstructor},
        optimizer,
        minutes=options.minutes,
        resume=options.resume,
        batch_size=1,
        peak_rate=options.learning_rate,
        decay_fraction=options.decay_fraction,
    )
    lifter = PhotoLifter.from_pretrained(options.data / "lifter" / "photo_lifter")
    data = ReconstructionData(
        options.data,
        rendered_ids(options.data, "train"),
        image_size_px=options.image_size,
        num_points=options.num_points,
        num_surface_points=options.num_surface_points,
        lifter=lifter,
        seed=options.seed + loop.progress.step,
    )
    rng = np.random.default_rng(options.seed + loop.progress.step)
    fewest, most = options.num_sources

    def step() -> dict[str, float]:
        example = data.draw(int(rng.integers(fewest, most + 1)))
        step_losses = losses(reconstructor, example)
        loss = step_losses["sdf"] + COLOR_WEIGHT * step_losses["color"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(reconstructor.parameters(), GRADIENT_NORM_LIMIT)
        optimizer.step()
        return {name: value.item() for name, value in step_losses.items()}

    best_iou = 0.0

    def validate_and_export() -> None:
        nonlocal best_iou
        best_iou = _validate_and_export(reconstructor, lifter, options, run, loop, best_iou)

    loop.every(60.0 * options.validate_every_minutes, validate_and_export)
    loop.take_steps(step)
    validate_and_export()


def _validate_and_export(
    reconstructor: SparseNeuSReconstructor,
    lifter: PhotoLifter,
    options: argparse.Namespace,
    run: RunFolder,
    loop: TrainingLoop,
    best_iou: float,
) -> float:
    """Score at the exported volume size; export if the mean IoU is the best of this sitting."""
    exported = embedded_reconstructor(options.export_volume_size)
    exported.load_state_dict(reconstructor.state_dict())
    names = rendered_ids(options.data, "val")[: options.num_validation_objects]
    rows = validate(exported.eval(), options.data, names, run.path / "pictures", lifter)
    scores = mean_scores(rows)
    loop.log(validation=scores)
    iou = scores.get("predicted_iou", scores["true_iou"])
    if iou > best_iou and options.export is not None:
        exported.half().save_pretrained(options.export)
    return max(iou, best_iou)
