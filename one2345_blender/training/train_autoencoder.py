# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the small autoencoder in whose latents the embedded preset's diffusion works."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import nn

from ..pipeline.zero123.image_conditioning import (
    decode_latents,
    encode_latents,
    images_from_rgb,
    rgb_from_images,
)
from .picture_scores import psnr_db
from .run_folder import RunFolder
from .training_loop import Slot, TrainingLoop, share_of
from .training_options import TrainingOptions, parse_options
from .view_data import RigReader, RigViews, join_rigs, read_split, view_size_px
from .view_networks import (
    LATENT_CHANNELS,
    PIXELS_PER_LATENT,
    new_autoencoder,
    normalise_latents,
)

BATCH_SIZE = 8
PEAK_LEARNING_RATE = 1.5e-3
LATENT_NOISE = 0.05
GRADIENT_WEIGHT = 0.5
CHROMA_WEIGHT = 10.0
SATURATION_RANGE = (0.5, 4.0)
"""Most objects are nearly grey: without strong colours thousands of steps learn luminance alone."""
NORM_WEIGHT = 1e-3
VALIDATE_EVERY_S = 120.0
NUM_STATISTICS_VIEWS = 2048
NUM_VALIDATION_OBJECTS = 32


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.training autoencoder`."""
    train_autoencoder(parse_options("autoencoder", __doc__, argv))


def train_autoencoder(options: TrainingOptions) -> Path:
    """Train, then write the normalised autoencoder in diffusers' layout.

    Args:
        options: `data` holds `renders` and `split.json`; the run goes to `autoencoder` in it. New
            renders join in.

    Returns:
        The folder of the autoencoder.
    """
    run = RunFolder(options.data / "autoencoder")
    reader = train_reader(options)
    rigs = reader.read_first()
    vae = new_autoencoder(view_size_px(options.data)).to(memory_format=torch.channels_last)
    loop = TrainingLoop(
        run,
        AutoencoderObjective(vae),
        torch.optim.AdamW(vae.parameters(), betas=(0.9, 0.98), weight_decay=0.01),
        options,
        batch_size=BATCH_SIZE,
        peak_rate=PEAK_LEARNING_RATE,
        decay_fraction=0.5,
    )
    loop.saw(len(set(rigs.asset_ids)))
    loop.log(event="start", rigs=len(rigs.rgb), parameters=vae.num_parameters())

    def log_score() -> None:
        loop.log(rigs=len(rigs.rgb), psnr_db=validate_autoencoder(vae, options.data, run.path))

    def read_new() -> None:
        nonlocal rigs
        rigs = join_rigs([rigs, reader.read_new()])
        loop.saw(len(set(rigs.asset_ids)))

    loop.every(VALIDATE_EVERY_S, log_score)
    loop.every(VALIDATE_EVERY_S, read_new, everywhere=True)
    loop.take_steps(lambda slots: draw_images(rigs, slots, SATURATION_RANGE, LATENT_NOISE))
    if loop.is_first:
        rng = np.random.default_rng(options.seed)
        _normalise(vae, random_views(rigs, [rng] * NUM_STATISTICS_VIEWS))
        log_score()
        vae.save_pretrained(run.path / "vae")
    return run.path / "vae"


@dataclass(frozen=True, kw_only=True)
class DisturbedViews:
    """A batch to encode and decode."""

    images: torch.Tensor
    """`(B, 3, H, W)` in [-1, 1]."""
    latent_noise: torch.Tensor
    """`(B, C, h, w)` that is added to their latents."""


class AutoencoderObjective(nn.Module):
    """Views that survive their latents, even a little disturbed."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, views: DisturbedViews) -> dict[str, torch.Tensor]:
        """The loss of the batch."""
        with torch.autocast(views.images.device.type, torch.bfloat16):
            latents = encode_latents(self.vae, views.images)
            decoded = decode_latents(self.vae, latents + views.latent_noise)
        norm = (latents.float().square() - 1.0).clamp(min=0.0).mean()
        return {"loss": decoding_loss(decoded.float(), views.images) + NORM_WEIGHT * norm}


def decoding_loss(decoded: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Distance of values, edges and colours between `(B, 3, H, W)` images in [-1, 1]."""
    error = decoded - images
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    chroma = (error - error.mean(dim=1, keepdim=True)).square().mean()
    return error.abs().mean() + GRADIENT_WEIGHT * edges + CHROMA_WEIGHT * chroma


def train_reader(options: TrainingOptions) -> RigReader:
    """The reader of this process's training objects, each turned, mirrored and recoloured."""
    names = share_of(read_split(options.data, "train"), options)
    return RigReader(options.data, names, rigs_per_asset=options.rigs_per_asset, seed=options.seed)


def draw_images(
    rigs: RigViews,
    slots: Sequence[Slot],
    saturation_range: tuple[float, float],
    latent_noise: float,
) -> DisturbedViews:
    """Random views, one for each slot, in other colours; noise so strong for their latents."""
    images = images_from_rgb(random_views(rigs, [slot.rng for slot in slots]))
    recoloured = [
        recolored(image, saturation_range, slot.rng)
        for image, slot in zip(images, slots, strict=True)
    ]
    shape = (LATENT_CHANNELS, *(side // PIXELS_PER_LATENT for side in images.shape[2:]))
    noise = np.stack([slot.rng.standard_normal(shape, np.float32) for slot in slots])
    return DisturbedViews(
        images=torch.stack(recoloured), latent_noise=latent_noise * torch.from_numpy(noise)
    )


def recolored(
    image: torch.Tensor, saturation_range: tuple[float, float], rng: np.random.Generator
) -> torch.Tensor:
    """An image `(3, H, W)` with another saturation and its channels shuffled; white stays white."""
    grey = image.mean(dim=0, keepdim=True)
    strong = (grey + rng.uniform(*saturation_range) * (image - grey)).clamp(-1.0, 1.0)
    return strong[torch.from_numpy(rng.permutation(3))]


@torch.no_grad()
def _normalise(vae: AutoencoderKL, rgb: np.ndarray) -> None:
    latents = torch.cat(
        [
            encode_latents(vae, images_from_rgb(batch).to(vae.device))
            for batch in np.array_split(rgb, 64)
        ]
    )
    normalise_latents(vae, latents.mean((0, 2, 3)), latents.std((0, 2, 3)))


def random_views(rigs: RigViews, rngs: Sequence[np.random.Generator]) -> np.ndarray:
    """`(B, H, W, 3)` random views of random rigs, one for each generator."""
    num_rigs, num_views = rigs.rgb.shape[:2]
    return np.stack([rigs.rgb[rng.integers(num_rigs), rng.integers(num_views)] for rng in rngs])


@torch.no_grad()
def validate_autoencoder(vae: AutoencoderKL, data_dir: Path, folder: Path) -> float | None:
    """Mean PSNR in dB over two views of each unseen object rendered so far; writes `sheet.png`."""
    names = read_split(data_dir, "val")[:NUM_VALIDATION_OBJECTS]
    rigs = RigReader(data_dir, names, rigs_per_asset=1).read_new()
    if not len(rigs.rgb):
        return None
    rgb = np.concatenate([rigs.rgb[:, 0], rigs.rgb[:, 4]])
    images = images_from_rgb(rgb).to(vae.device)
    decoded = rgb_from_images(decode_latents(vae, encode_latents(vae, images)))
    shown = np.concatenate([rgb[:12], decoded[:12]]).reshape(2, -1, *rgb.shape[1:])
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in shown], axis=0)
    Image.fromarray(sheet).save(folder / "sheet.png")
    return float(psnr_db(rgb, decoded).mean())
