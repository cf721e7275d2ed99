# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the network that guesses the elevation, on rendered views cropped like photos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..pipeline.foreground import OBJECT_FRACTION
from ..pipeline.lifting.photo_elevation import (
    ELEVATION_BINS_DEG,
    SURE_WITHIN_DEG,
    PhotoElevation,
)
from ..pipeline.view_schedule import method_viewpoints
from .lifting_data import random_colours
from .renders import load_rigs
from .run_folder import RunFolder, run_options
from .training_loop import TrainingLoop
from .view_data import rendered_ids

BATCH_SIZE = 64
PEAK_LEARNING_RATE = 2e-3
BIN_SPREAD_DEG = 4.0
VIEWS_PER_RIG = 14
PHOTO_ELEVATIONS_DEG = (-20.0, 75.0)
SIZE_JITTER = 0.06
SHIFT_JITTER = 0.03
VALIDATE_EVERY_S = 120.0


@dataclass(frozen=True, kw_only=True)
class PosedViews:
    """Rendered views whose elevation a photo could have."""

    rgba: NDArray[np.uint8]
    """`(N, 128, 128, 4)` sRGB on white and mask."""
    elevation_deg: NDArray[np.float32]
    """`(N,)`."""


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.training elevation`."""
    args = run_options("elevation", __doc__).parse_args(argv)
    torch.set_num_threads(args.threads)
    train_elevation(
        args.data, minutes=args.minutes, resume=args.resume, rigs_per_asset=args.rigs_per_asset
    )


def train_elevation(data_dir: Path, *, minutes: float, resume: bool, rigs_per_asset: int) -> Path:
    """Train, then write the network in diffusers' layout.

    Args:
        data_dir: Holds `renders` and `split.json`; the run goes to `elevation` in it.
        minutes: Time of the whole run, sittings before a resumption included.
        resume: Go on from the saved state.
        rigs_per_asset: At most so many rigs of each object are read.

    Returns:
        The folder of the network.
    """
    run = RunFolder(data_dir / "elevation")
    rng = np.random.default_rng()
    data = read_posed_views(data_dir, "train", rigs_per_asset=rigs_per_asset)
    validation = read_posed_views(data_dir, "val", rigs_per_asset=1, photos_only=True)
    network = PhotoElevation()
    modules: dict[str, nn.Module] = {"network": network}
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.05, fused=True)
    run.log(event="start", views=len(data.rgba), parameters=network.num_parameters())
    loop = TrainingLoop(
        run,
        modules,
        optimizer,
        minutes=minutes,
        resume=resume,
        batch_size=BATCH_SIZE,
        peak_rate=PEAK_LEARNING_RATE,
        decay_fraction=0.6,
    )

    def log_scores() -> None:
        loop.log(scores=validate(network, validation))

    loop.every(VALIDATE_EVERY_S, log_scores)
    loop.take_steps(
        lambda: {"loss": train_step(network, optimizer, *draw_photos(data, BATCH_SIZE, rng))}
    )
    log_scores()
    network.eval().save_pretrained(run.path / "photo_elevation")
    return run.path / "photo_elevation"


def read_posed_views(
    data_dir: Path, part: str, *, rigs_per_asset: int, photos_only: bool = False
) -> PosedViews:
    """The usable views of one part of the split, at most `rigs_per_asset` rigs of each object."""
    rgba, elevation_deg = [], []
    low, high = PHOTO_ELEVATIONS_DEG
    for asset_id in rendered_ids(data_dir, part):
        rigs = load_rigs(data_dir / "renders" / f"{asset_id}.npz")
        for rig in range(min(rigs_per_asset, len(rigs.rgb))):
            viewpoints = method_viewpoints(float(rigs.elevation_deg[rig]))
            seen_deg = np.array([v.elevation_deg for v in viewpoints], np.float32)
            usable = np.flatnonzero((seen_deg >= low) & (seen_deg <= high))
            usable = usable[:1] if photos_only else _spread(usable, VIEWS_PER_RIG)
            rgba.append(np.concatenate([rigs.rgb[rig], rigs.mask[rig, ..., None]], -1)[usable])
            elevation_deg.append(seen_deg[usable])
    return PosedViews(rgba=np.concatenate(rgba), elevation_deg=np.concatenate(elevation_deg))


def _spread(values: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most so many of the values, evenly taken."""
    return values[:: -(-len(values) // count)]


def train_step(
    network: PhotoElevation, optimizer: torch.optim.Optimizer, photos: Tensor, elevation_deg: Tensor
) -> float:
    """One step of classification into blurred bins; returns the loss."""
    distance = elevation_deg[:, None] - ELEVATION_BINS_DEG
    bins = torch.softmax(-0.5 * (distance / BIN_SPREAD_DEG) ** 2, dim=-1)
    network.train()
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(photos)
    loss = F.cross_entropy(logits.float(), bins)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def validate(network: PhotoElevation, photos: PosedViews) -> dict[str, float]:
    """Errors for the photos of unseen objects, degrees."""
    network.eval()
    images = torch.from_numpy(photos.rgba).permute(0, 3, 1, 2).float() / 255.0
    elevation_deg, probability = network.estimate(images)
    error_deg = np.abs(elevation_deg.numpy() - photos.elevation_deg)
    return {
        "median_deg": round(float(np.median(error_deg)), 1),
        "mean_deg": round(float(error_deg.mean()), 1),
        "within_10": round(float((error_deg <= SURE_WITHIN_DEG).mean()), 3),
        "believed_within_10": round(float(probability.mean()), 3),
    }


def draw_photos(views: PosedViews, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Random views, cropped around the object as photos are, and their elevations.

    Returns:
        `(B, 4, S, S)` sRGB on white and mask, 0..1, and `(B,)` degrees.
    """
    chosen = rng.integers(len(views.rgba), size=count)
    pictures = []
    for rgba in views.rgba[chosen]:
        mask = rgba[..., 3]
        recoloured = np.dstack([random_colours(rng)(rgba[..., :3], mask), mask])
        pictures.append(recoloured[:, ::-1] if rng.random() < 0.5 else recoloured)
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255.0
    theta = torch.from_numpy(np.stack([_photo_crop(image[3].numpy(), rng) for image in images]))
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    # white outside the picture, empty in the mask
    ground = torch.tensor([1.0, 1.0, 1.0, 0.0])[:, None, None]
    photos = ground + F.grid_sample(images - ground, grid, align_corners=False)
    return photos, torch.from_numpy(views.elevation_deg[chosen])


def _photo_crop(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The `(2, 3)` affine map that puts the object's box where a photo's is, about."""
    rows, columns = np.nonzero(mask > 0.5)
    if not len(rows):
        return np.eye(2, 3, dtype=np.float32)
    low = np.array([columns.min(), rows.min()])
    high = np.array([columns.max(), rows.max()]) + 1
    size_px = len(mask)
    fraction = OBJECT_FRACTION + rng.uniform(-SIZE_JITTER, SIZE_JITTER)
    scale = (high - low).max() / (fraction * size_px)
    middle = (low + high) / size_px - 1.0 + rng.uniform(-SHIFT_JITTER, SHIFT_JITTER, 2)
    return np.array([[scale, 0.0, middle[0]], [0.0, scale, middle[1]]], np.float32)
