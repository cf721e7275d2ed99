# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the foreground segmenter on composites that are drawn while it trains."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ..pipeline.segmenter import ForegroundSegmenter
from .assets_command import MANIFEST_PATH, PACKAGES_DIR
from .backdrops import Pictures
from .backgrounds import Background, collect_backgrounds
from .composites import draw_composite
from .cutouts import load_cutouts, render_cutouts
from .manifest import Asset, read_manifest
from .picture_scores import silhouette_iou
from .run_folder import RunFolder
from .training_loop import Slot, TrainingLoop, share_of
from .training_options import TrainingOptions, parse_options

BATCH_SIZE = 16
NUM_FRESH = 5
"""Composites drawn anew for each batch; drawing takes longer than a training step."""
POOL_SIZE = 4096
PEAK_LEARNING_RATE = 2e-3
DICE_WEIGHT = 0.5
VALIDATE_EVERY_S = 240.0
NUM_VALIDATION_COMPOSITES = 144
BACKGROUNDS_MANIFEST_PATH = MANIFEST_PATH.with_name("backgrounds.json")


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.training segmenter`."""
    train_segmenter(parse_options("segmenter", __doc__, argv))


def train_segmenter(options: TrainingOptions) -> Path:
    """Prepare what is missing, train, then write the network in diffusers' layout.

    A step's composites come from a pool that the earlier steps filled, so that a resumed run does
    not repeat an uninterrupted one.

    Args:
        options: The run goes to `segmenter` in `data`, cut-outs and backgrounds beside it.

    Returns:
        The folder of the network.
    """
    data_dir = options.data
    backgrounds = read_backgrounds(data_dir)
    run = RunFolder(data_dir / "segmenter")
    model = ForegroundSegmenter().to(memory_format=torch.channels_last)
    loop = TrainingLoop(
        run,
        SegmenterObjective(model),
        torch.optim.AdamW(model.parameters(), weight_decay=0.02),
        options,
        batch_size=BATCH_SIZE,
        peak_rate=PEAK_LEARNING_RATE,
        decay_fraction=0.5,
    )
    size_px = model.config.sample_size
    validation = validation_composites(data_dir, backgrounds, size_px)
    assets = share_of(_assets("train"), options)
    cutouts = _cutouts(assets, data_dir)
    pool = CompositePool(cutouts, Pictures.of_split(backgrounds, is_validation=False), size_px)
    loop.saw(len(assets))
    loop.log(event="start", parameters=model.num_parameters(), cutouts=len(pool.cutouts))

    def log_score() -> None:
        loop.log(iou=validate(model, *validation, run.path))

    loop.every(VALIDATE_EVERY_S, log_score, at_end=True)
    loop.take_steps(pool.draw)
    if loop.is_first:
        model.eval().save_pretrained(run.path / "segmenter")
    return run.path / "segmenter"


def read_backgrounds(data_dir: Path) -> list[Background]:
    """Every picture that composites are drawn over; fetched to `backgrounds` in `data_dir`.

    Raises:
        EnvironmentMissingError: A Debian package is not there and cannot be downloaded.
    """
    return collect_backgrounds(data_dir / "backgrounds", BACKGROUNDS_MANIFEST_PATH)


def validation_composites(
    data_dir: Path, backgrounds: list[Background], size_px: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Unseen objects over unseen backgrounds, always the same: `(N, S, S, 3)`, masks `(N, S, S)`.

    Raises:
        ModelFileError: A library or a model is missing.
    """
    return draw_batch(
        _cutouts(_assets("val"), data_dir),
        Pictures.of_split(backgrounds, is_validation=True),
        (NUM_VALIDATION_COMPOSITES, size_px),
        np.random.default_rng(0),
    )


def _assets(split: str) -> list[Asset]:
    return [asset for asset in read_manifest(MANIFEST_PATH).assets if asset.split == split]


def _cutouts(assets: list[Asset], data_dir: Path) -> list[NDArray[np.uint8]]:
    """Rendered where they are missing."""
    folder = data_dir / "cutouts"
    render_cutouts(assets, read_manifest(MANIFEST_PATH), PACKAGES_DIR, folder)
    return load_cutouts(assets, folder)


class CompositePool:
    """Batches of composites: some drawn anew, the others from those drawn before, mirrored.

    Args:
        cutouts: Objects `(h, w, 4)` uint8.
        pictures: For the backdrops.
        size_px: Side of the composites.
    """

    def __init__(
        self, cutouts: Sequence[NDArray[np.uint8]], pictures: Pictures, size_px: int
    ) -> None:
        self.cutouts = cutouts
        self._pictures = pictures
        self._size_px = size_px
        self.composites: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []

    def draw(self, slots: Sequence[Slot]) -> tuple[Tensor, Tensor]:
        """Pictures `(B, S, S, 3)` and masks `(B, S, S)`, uint8."""
        num_fresh = len(slots) if len(self.composites) < 8 * len(slots) else NUM_FRESH
        for slot in slots[:num_fresh]:
            sample = draw_composite(self.cutouts, self._pictures, self._size_px, slot.rng)
            if len(self.composites) < POOL_SIZE:
                self.composites.append(sample)
            else:
                self.composites[slot.rng.integers(POOL_SIZE)] = sample
        rgb, mask = [], []
        for slot in slots:
            picture, cover = self.composites[slot.rng.integers(len(self.composites))]
            turn = 1 if slot.rng.random() < 0.5 else -1
            rgb.append(picture[:, ::turn])
            mask.append(cover[:, ::turn])
        return torch.from_numpy(np.array(rgb)), torch.from_numpy(np.array(mask))


def draw_batch(
    cutouts: Sequence[NDArray[np.uint8]],
    pictures: Pictures,
    shape: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Pictures `(N, S, S, 3)` and masks `(N, S, S)` for `shape` `(N, S)`."""
    number, size_px = shape
    rgb, masks = zip(
        *(draw_composite(cutouts, pictures, size_px, rng) for _ in range(number)), strict=True
    )
    return np.array(rgb), np.array(masks)


class SegmenterObjective(nn.Module):
    """The mask of a composite's object."""

    def __init__(self, model: ForegroundSegmenter) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """`batch`: `rgb (B, S, S, 3)` and `mask (B, S, S)`, uint8."""
        rgb, mask = batch
        with torch.autocast(rgb.device.type, torch.bfloat16):
            logits = self.model(_images(rgb))[:, 0]
        return {"loss": segmentation_loss(logits.float(), mask / 255.0)}


def segmentation_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross entropy plus `DICE_WEIGHT` times one minus the soft Dice of each picture."""
    probability = logits.sigmoid()
    overlap = 2.0 * (probability * target).sum((1, 2)) + 1.0
    dice = overlap / (probability.sum((1, 2)) + target.sum((1, 2)) + 1.0)
    return binary_cross_entropy_with_logits(logits, target) + DICE_WEIGHT * (1.0 - dice).mean()


@torch.no_grad()
def validate(
    model: ForegroundSegmenter, rgb: NDArray[np.uint8], mask: NDArray[np.uint8], folder: Path
) -> float:
    """Mean IoU on `rgb (N, S, S, 3)`, `mask (N, S, S)`; writes the first 24 to `sheet.png`."""
    model.eval()
    parts = torch.from_numpy(rgb).to(model.device).tensor_split(12)
    predicted = torch.cat([model(_images(part))[:, 0] > 0.0 for part in parts]).cpu()
    found, true = predicted.numpy(), mask > 127
    shown = darkened_outside(rgb[:24], found[:24])
    rows = np.concatenate(
        [rgb[:24].reshape(3, 8, *rgb.shape[1:]), shown.reshape(3, 8, *rgb.shape[1:])]
    )
    Image.fromarray(np.concatenate([np.concatenate(list(row), axis=1) for row in rows])).save(
        folder / "sheet.png"
    )
    return round(float(silhouette_iou(true, found).mean()), 4)


def darkened_outside(rgb: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Pictures `(..., H, W, 3)`, dark where masks `(..., H, W)` are not set."""
    return np.where(mask[..., None], rgb, rgb // 4)


def _images(rgb: Tensor) -> Tensor:
    images = rgb.permute(0, 3, 1, 2).float() / 127.5 - 1.0
    return images.contiguous(memory_format=torch.channels_last)
