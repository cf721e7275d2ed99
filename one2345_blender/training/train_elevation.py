# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the network that guesses the elevation, on rendered views cropped like photos."""

from __future__ import annotations

from collections.abc import Sequence
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
from .recolouring import random_blur, random_colours
from .renders import load_rigs
from .run_folder import RunFolder
from .training_loop import Slot, TrainingLoop, share_of
from .training_options import TrainingOptions, parse_options
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
    """`(N, S, S, 4)` sRGB on white and mask."""
    elevation_deg: NDArray[np.float32]
    """`(N,)`."""


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.training elevation`."""
    train_elevation(parse_options("elevation", __doc__, argv))


def train_elevation(options: TrainingOptions) -> Path:
    """Train, then write the network in diffusers' layout.

    Args:
        options: `data` holds `renders` and `split.json`; the run goes to `elevation` in it.

    Returns:
        The folder of the network.
    """
    run = RunFolder(options.data / "elevation")
    names = share_of(rendered_ids(options.data, "train"), options)
    data = read_posed_views(options.data, names, rigs_per_asset=options.rigs_per_asset)
    validation = read_posed_views(
        options.data, rendered_ids(options.data, "val"), rigs_per_asset=1, photos_only=True
    )
    network = PhotoElevation()
    loop = TrainingLoop(
        run,
        ElevationObjective(network),
        torch.optim.AdamW(network.parameters(), weight_decay=0.05, fused=True),
        options,
        batch_size=BATCH_SIZE,
        peak_rate=PEAK_LEARNING_RATE,
        decay_fraction=0.6,
    )
    loop.saw(len(names))
    loop.log(event="start", views=len(data.rgba), parameters=network.num_parameters())

    def export_and_score() -> None:
        network.save_pretrained(run.path / "photo_elevation")
        loop.log(scores=validate(network, validation))

    loop.every(VALIDATE_EVERY_S, export_and_score, at_end=True)
    loop.take_steps(lambda slots: draw_photos(data, slots))
    return run.path / "photo_elevation"


def read_posed_views(
    data_dir: Path, asset_ids: list[str], *, rigs_per_asset: int, photos_only: bool = False
) -> PosedViews:
    """Some usable views of at most `rigs_per_asset` rigs of each object, or only their photos."""
    rgba, elevation_deg = [], []
    low, high = PHOTO_ELEVATIONS_DEG
    for asset_id in asset_ids:
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


class ElevationObjective(nn.Module):
    """Classification of photos into blurred bins of their elevations."""

    def __init__(self, network: PhotoElevation) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """`batch`: photos `(B, 4, S, S)` and their elevations `(B,)` in degrees."""
        photos, elevation_deg = batch
        distance = elevation_deg[:, None] - ELEVATION_BINS_DEG.to(elevation_deg)
        bins = torch.softmax(-0.5 * (distance / BIN_SPREAD_DEG) ** 2, dim=-1)
        with torch.autocast(photos.device.type, torch.bfloat16):
            logits = self.network(photos)
        return {"loss": F.cross_entropy(logits.float(), bins)}


def validate(network: PhotoElevation, photos: PosedViews) -> dict[str, float]:
    """Errors for the photos of unseen objects, degrees."""
    network.eval()
    images = torch.from_numpy(photos.rgba).permute(0, 3, 1, 2).float() / 255.0
    elevation_deg, probability = network.estimate(images.to(network.device))
    error_deg = np.abs(elevation_deg.cpu().numpy() - photos.elevation_deg)
    return {
        "median_deg": round(float(np.median(error_deg)), 1),
        "mean_deg": round(float(error_deg.mean()), 1),
        "within_10": round(float((error_deg <= SURE_WITHIN_DEG).mean()), 3),
        "believed_within_10": round(float(probability.mean()), 3),
    }


def draw_photos(views: PosedViews, slots: Sequence[Slot]) -> tuple[Tensor, Tensor]:
    """Random views, one for each slot, cropped around the object as photos are.

    Returns:
        `(B, 4, S, S)` sRGB on white and mask, 0..1, and `(B,)` elevations in degrees.
    """
    chosen = [slot.rng.integers(len(views.rgba)) for slot in slots]
    pictures = []
    for slot, rgba in zip(slots, views.rgba[chosen], strict=True):
        mask = rgba[..., 3]
        recoloured = np.dstack([random_colours(slot.rng)(rgba[..., :3], mask), mask])
        photo = random_blur(slot.rng, recoloured)
        pictures.append(photo[:, ::-1] if slot.rng.random() < 0.5 else photo)
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255.0
    crops = [_photo_crop(i[3].numpy(), s.rng) for i, s in zip(images, slots, strict=True)]
    theta = torch.from_numpy(np.stack(crops))
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
